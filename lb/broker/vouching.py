"""Who senders of messages are to us: names that brokers vouch for, mapped to subjects as the site says.

Nothing else makes an identity: neither a header, nor a body, nor a name that is mapped to nobody (P7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from lb.model.errors import forbidden, invalid
from lb.security.identity import Identity

#: The broker's name ends at the first colon; a user's name may hold colons and equal signs, a subject begins with "/".
_MAPPED: Final = re.compile(r"([A-Za-z0-9._-]+):(.+?)=(/.+)", re.DOTALL)
#: Between the subject and VOMS attributes of whom it stands for.
_FQAN: Final = re.compile(r"\s+FQAN:(?=/)")


class Vouching:
    """The users of brokers whom we know."""

    def __init__(self, users: Mapping[tuple[str, str], Identity] | None = None) -> None:
        """`users`: by the name of the broker, and the name of the user there."""
        self._users = dict(users or {})

    def knows_some(self, broker: str) -> bool:
        """Whether any user of a broker is known."""
        return any(name == broker for name, _ in self._users)

    def identity(self, broker: str, user: str | None) -> Identity:
        """Who a sender is; `user`: as the broker vouches, None when it does not. Raises EPERM."""
        if user is None:
            raise forbidden(f"broker {broker} does not vouch for its sender")
        known = self._users.get((broker, user))
        if known is None:
            raise forbidden(f"user {user[:255]!r} of broker {broker} is nobody whom we know")
        return known


def read_vouching(texts: Iterable[str]) -> Vouching:
    """Read ``BROKER:USER=SUBJECT``, the subject in slash form, then any number of `` FQAN:/vo/Role=role``; EINVAL."""
    users: dict[tuple[str, str], Identity] = {}
    for text in texts:
        found = _MAPPED.fullmatch(text.strip())
        if found is None:
            raise invalid(f"{text[:255]!r} is not BROKER:USER=/SUBJECT, with FQAN:/GROUP behind it where wanted")
        subject, *fqans = _FQAN.split(found[3])
        key = found[1], found[2].strip()
        if key in users:
            raise invalid(f"{text[:255]!r}: this user is mapped already")
        users[key] = Identity(subject.strip(), tuple(fqan.strip() for fqan in fqans))
    return Vouching(users)
