"""Registrations for notifications as documents: what was registered, by whom, until when."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Final, Protocol

from lb.model.errors import LBError, invalid
from lb.model.query import FORMS, NO_FLAGS, Condition, Flag, Operator, Value
from lb.model.registration import Registration
from lb.model.status import STATE_NAMES
from lb.security.identity import Identity
from lb.web.api.messages import Answer, Asked, answer
from lb.web.api.parameters import SCOPE, read
from lb.wire.documents import clean, iso_time

#: What is asked for → whether the peer's own are listed, whether those of others are, which only administrators get.
SCOPES: Final = {"own": (True, False), "all": (True, True), "foreign": (False, True)}
_SECOND: Final = 1_000_000


class Registrations(Protocol):
    """What may be asked; raises `LBError`."""

    def listed(self, peer: Identity, *, own: bool = True, others: bool = False) -> Sequence[Registration]:
        """The peer's, by unique part; those of others only when the peer is an administrator."""

    def one(self, peer: Identity, unique: str) -> Registration:
        """One by its unique part, for its owner or an administrator; ENOENT, EPERM."""


class RegistrationDocuments:
    """Answers with documents of registrations."""

    def __init__(self, registrations: Registrations | None) -> None:
        """None: the server has no notifications."""
        self._registrations = registrations

    async def list(self, asked: Asked) -> Answer:
        """The peer's registrations, or as many as an administrator asks for."""
        scope = read(asked.query, SCOPE).named.get(SCOPE.name, "own")
        if scope not in SCOPES:
            raise invalid(f"{SCOPE.name}: give {', '.join(SCOPES)}")
        own, others = SCOPES[scope]
        found = self._all.listed(asked.peer, own=own, others=others)
        return answer({"registrations": [registration_document(one) for one in found]})

    async def one(self, asked: Asked, unique: str) -> Answer:
        """One registration."""
        read(asked.query)
        return answer(registration_document(self._all.one(asked.peer, unique)))

    @property
    def _all(self) -> Registrations:
        if self._registrations is None:
            raise LBError(errno.ENOSYS, "this server has no notifications")
        return self._registrations


def registration_document(one: Registration) -> dict[str, Any]:
    """A registration; of `conditions` all groups must hold, of each group one condition."""
    return {
        "id": clean(str(one.id)),
        "owner": clean(one.owner),
        "destination": clean(one.destination),
        "valid": iso_time(one.valid * _SECOND),
        "flags": _flags(one.flags),
        "jobs": [clean(str(job)) for job in one.jobs],
        "conditions": [[_condition(condition) for condition in group] for group in one.groups],
    }


def _flags(flags: Flag) -> Sequence[str]:
    return [str(flag.name).lower() for flag in Flag if flag in flags] if flags != NO_FLAGS else []


def _condition(condition: Condition) -> dict[str, Any]:
    found = {
        "attribute": FORMS[condition.attribute].element,
        "name": None if condition.name is None else clean(condition.name),
        "state": None if condition.state is None else STATE_NAMES[condition.state],
        "operator": Operator(condition.operator).name.lower(),
        "value": _value(condition, condition.value),
        "value2": _value(condition, condition.value2),
    }
    return {name: value for name, value in found.items() if value is not None}


def _value(condition: Condition, value: Value | None) -> str | int | None:
    if isinstance(value, int):
        return FORMS[condition.attribute].names.get(value, value)
    return None if value is None else clean(str(value))
