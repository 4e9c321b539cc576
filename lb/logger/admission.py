"""Who may send tunnelled messages where: known brokers only, and with a policy file nothing that no rule permits.

Rules are those of the server's policy file, an action for each prefix of addresses (docs/protocol.md). Whoever has no
certificate sends nowhere, whatever a rule says: every message names its sender (P7).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from lb.broker.destination import SCHEME, Address, read_destination
from lb.logger.limits import TunnelLimits
from lb.model.errors import LBError, forbidden, invalid, missing
from lb.security.identity import Identity
from lb.security.policy import Rule, read_file, read_rules

_RESOURCE: Final = "TUNNEL"
#: Decisions kept, and addresses read; producers send to the same ones again and again.
_REMEMBERED: Final = 4096
#: What makes several destinations of one name for some broker: a policy sees one.
_SEVERAL = re.compile(r"[,*>?]")


class TunnelPolicy:
    """Rules by prefix of addresses; a value that is never changed."""

    def __init__(self, rules: Mapping[str, tuple[Rule, ...]] | None = None) -> None:
        """Without rules every authenticated producer may send everywhere."""
        self._rules = None if rules is None else dict(rules)
        self._decide = lru_cache(_REMEMBERED)(self._decided)

    def allows(self, address: str, peer: Identity) -> bool:
        """Whether a rule permits `peer` to send to an address ``x-msg://BROKER/DESTINATION``."""
        return self._decide(address, peer)

    def _decided(self, address: str, peer: Identity) -> bool:
        if peer.name is None or self._rules is None:
            return peer.name is not None
        return any(
            address.startswith(prefix) and any(rule.matches(peer) for rule in rules)
            for prefix, rules in self._rules.items()
        )


def read_policy(path: Path) -> TunnelPolicy:
    """Read a policy file; raises PolicyError."""
    return TunnelPolicy(read_rules(read_file(path), str(path), _RESOURCE, _prefix))


def _prefix(text: str) -> str:
    if not text.startswith(SCHEME):
        raise ValueError(f"the action '{text}' is no prefix of addresses, which begin with {SCHEME}")
    return text


class Admission:
    """Decides on each message of a producer."""

    def __init__(
        self,
        brokers: Collection[str],
        policy: TunnelPolicy = TunnelPolicy(),  # noqa: B008  # immutable
        limits: TunnelLimits = TunnelLimits(),  # noqa: B008  # immutable
        present: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """`brokers`: names of those that are configured; `present`: addresses for which messages are kept already."""
        self._brokers = frozenset(brokers)
        self._policy = policy
        self._limits = limits
        self._present = present
        self._read = lru_cache(_REMEMBERED)(self._address)

    def admit(self, address: str, peer: Identity) -> str:
        """The address in its only spelling, which names its queue; raises EINVAL, ENOENT, EPERM or ENOSPC."""
        spelled = self._read(address)
        if not self._policy.allows(spelled, peer):
            raise forbidden(f"{peer.name or 'whoever has no certificate'} may not send to {spelled}")
        present = self._present()
        if spelled not in present and len(present) >= self._limits.destinations:
            raise LBError(errno.ENOSPC, f"no room for {spelled}: there are messages for {len(present)} destinations")
        return spelled

    def _address(self, text: str) -> str:
        broker, slash, path = text.removeprefix(SCHEME).partition("/")
        if not text.startswith(SCHEME) or not slash or not path:
            raise invalid(f"address {text[:255]!r} is not of the form {SCHEME}BROKER/DESTINATION")
        if broker not in self._brokers:
            raise missing(f"address {text[:255]!r}: no broker of that name is configured")
        destination = read_destination(path)
        if _SEVERAL.search(f"{destination.name}{destination.key}"):
            raise invalid(f"address {text[:255]!r} may stand for several destinations")
        return str(Address(broker, destination))
