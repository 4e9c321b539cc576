"""What clients ask the registration agent, and what it answers: JSON objects (docs/protocol.md).

Who asks is never part of a request; unknown members are refused, so that no mistake is passed over.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lb.model import notifid
from lb.model.errors import LBError, invalid
from lb.model.grammar import read_conditions
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Group, Operator, read_flags
from lb.wire.documents import clean, iso_time

CONTENT_TYPE: Final = "application/json"
#: Only when the state is another one than before.
_ON_CHANGE: Final[Group] = (Condition(Attribute.STATUS, Operator.CHANGED, None),)


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="request", tag=str.lower):
    """What all requests have: nothing but their name."""


class _Known(_Request, frozen=True, kw_only=True):
    notifId: str

    @property
    def id(self) -> JobId:
        """The registration that is meant; raises EINVAL."""
        return notifid.parse(self.notifId)


#: Conditions as in addresses of pages: one text, or one for each group, whose values may then hold any ``&``.
Conditions = str | list[str]


def _groups(conditions: Conditions, changes: bool, now: int) -> tuple[Group, ...]:
    texts = conditions.split("&") if isinstance(conditions, str) else conditions
    texts = [text for text in texts if text]
    groups = read_conditions(texts, now).jobs if texts else ()
    return (*groups, _ON_CHANGE) if changes else groups


class New(_Request, frozen=True, kw_only=True):
    """Make a registration. `listener`: the queue by which the agent can tell that somebody is there."""

    destination: str
    conditions: Conditions = ""
    changes: bool = False  #: only when the state is another one than before
    flags: str = ""
    validity: float | None = None  #: seconds
    listener: str | None = None

    def groups(self, now: int) -> tuple[Group, ...]:
        """The conditions; `now`: seconds since the epoch. Raises EINVAL, ENOSYS."""
        return _groups(self.conditions, self.changes, now)

    def flag_set(self) -> Flag:
        """The flags; names that nobody knows are passed over, as everywhere."""
        return read_flags(self.flags)


class Change(_Known, frozen=True, kw_only=True):
    """Replace the conditions; without a job id among them the former jobs stay."""

    conditions: Conditions = ""
    changes: bool = False

    def groups(self, now: int) -> tuple[Group, ...]:
        """As of a new one."""
        return _groups(self.conditions, self.changes, now)


class Refresh(_Known, frozen=True, kw_only=True):
    """Extend the validity."""

    validity: float | None = None  #: seconds


class Drop(_Known, frozen=True, kw_only=True):
    """End a registration."""


class List(_Request, frozen=True):
    """What registrations there are."""


Request = New | Refresh | Change | Drop | List
_decoder: Final = msgspec.json.Decoder(Request)
#: Longest validity that can be asked for: a year, in seconds.
_LONGEST: Final = 366 * 86_400


def read_request(body: bytes) -> Request:
    """Read a request; raises EINVAL with what is wrong."""
    try:
        request: Request = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(f"the request cannot be read: {error}") from None
    validity = getattr(request, "validity", None)
    if validity is not None and not 0 < validity <= _LONGEST:
        raise invalid(f"a validity of {validity} seconds; give more than 0, and {_LONGEST} at most")
    return request


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registration as answers show it. `valid`: until when."""

    notifId: str
    destination: str | None = None
    valid: str | None = None
    #: Whether somebody listens, as far as the broker tells: then the agent keeps it valid.
    listening: bool | None = None


def told(notifid: str, valid: int | None = None, destination: str | None = None, listening: bool | None = None) -> Told:
    """A registration for an answer; `valid`: seconds since the epoch."""
    return Told(notifid, destination, None if valid is None else iso_time(valid * 1_000_000), listening)


def success(answer: Told | Sequence[Told]) -> bytes:
    """The answer to a request that was carried out."""
    if isinstance(answer, Told):
        return msgspec.json.encode({"status": "ok", **_members(answer)})
    return msgspec.json.encode({"status": "ok", "registrations": answer})


def _members(answer: Told) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(answer)
    return members


def failure(error: LBError) -> bytes:
    """The answer to one that was not: the protocol's number, its name, and the reason."""
    return msgspec.json.encode(
        {
            "status": "error",
            "code": error.code,
            "error": errno.errorcode.get(error.code, str(error.code)),
            "description": clean(error.description),
        }
    )
