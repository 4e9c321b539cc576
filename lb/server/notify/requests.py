"""The five requests on registrations (spec: wire-notification.md §1.3, §1.4): who may ask, what becomes of it.

Runs in the writing thread. A request that is refused changes nothing, except that an expired registration goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from lb.model.errors import forbidden, invalid, missing
from lb.model.query import Attribute, Group
from lb.model.registration import Registration
from lb.model.subject import normalise, same_person
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.access import Access, of_everybody
from lb.server.conditions import check_effort
from lb.server.notify.limits import NotifyLimits
from lb.server.notify.registration import kept_flags, split_jobs
from lb.server.notify.registry import Registry
from lb.wire.lbxml.registrations import ChangeOp, Function, Request


class Outcome(NamedTuple):
    """What a request did: the validity for the answer, and the registration as it is now, None when it is gone."""

    validity: int | None
    number: int
    registration: Registration | None


class Requests:
    """Carries out requests on a `Registry`."""

    def __init__(
        self,
        registry: Registry,
        policy: Callable[[], Policy],
        now: Callable[[], float],
        limits: NotifyLimits = NotifyLimits(),  # noqa: B008  # immutable
    ) -> None:
        """`now`: seconds since the epoch."""
        self._registry = registry
        self._policy = policy
        self._now = now
        self._limits = limits

    def perform(self, peer: Identity, asked: Request) -> Outcome:
        """Carry out a request, whose address is complete; raises `LBError` in the words of the protocol."""
        if peer.name is None:
            raise forbidden("Annonymous access not allowed")
        return _FUNCTIONS[asked.function](self, peer, peer.name, asked)

    def _new(self, peer: Identity, name: str, asked: Request) -> Outcome:
        self._check(peer, name, asked.groups)
        jobs, groups = split_jobs(asked.groups)
        registration = self._registry.add(
            Registration(
                0,
                asked.notifid,
                normalise(name),
                asked.address or "",
                self.validity(peer, asked.validity),
                jobs,
                groups,
                kept_flags(asked.flags),
            )
        )
        return Outcome(registration.valid, registration.number, registration)

    def _bind(self, peer: Identity, name: str, asked: Request) -> Outcome:
        registration = self._valid(self._own(name, asked))
        return self._changed(
            _replaced(registration, destination=asked.address, valid=self.validity(peer, asked.validity))
        )

    def _refresh(self, peer: Identity, name: str, asked: Request) -> Outcome:
        registration = self._valid(self._own(name, asked))
        return self._changed(_replaced(registration, valid=self.validity(peer, asked.validity)))

    def _change(self, peer: Identity, name: str, asked: Request) -> Outcome:
        registration = self._own(name, asked)
        if asked.change is not ChangeOp.REPLACE:
            return Outcome(None, registration.number, registration)
        self._check(peer, name, asked.groups)
        jobs, groups = split_jobs(asked.groups)
        return self._changed(_replaced(registration, jobs=jobs or registration.jobs, groups=groups))._replace(
            validity=None
        )

    def _drop(self, peer: Identity, name: str, asked: Request) -> Outcome:
        registration = self._find(asked)
        if not same_person(registration.owner, name) and not self._policy().allows(Action.ADMIN_ACCESS, peer):
            raise forbidden(_NOT_OWNER)
        self._registry.drop([registration])
        return Outcome(None, registration.number, None)

    def _changed(self, registration: Registration) -> Outcome:
        self._registry.change(registration)
        return Outcome(registration.valid, registration.number, registration)

    # What requests have in common

    def _find(self, asked: Request) -> Registration:
        registration = self._registry.find(asked.notifid.notification)
        if registration is None:
            raise missing("Unknown notification ID")
        return registration

    def _own(self, name: str, asked: Request) -> Registration:
        registration = self._find(asked)
        if not same_person(registration.owner, name):
            raise forbidden(_NOT_OWNER)
        return registration

    def _valid(self, registration: Registration) -> Registration:
        if registration.valid < self._now():
            self._registry.drop([registration])
            raise invalid("Notification expired.")
        return registration

    def _check(self, peer: Identity, name: str, groups: tuple[Group, ...]) -> None:
        """Who reads names only as hashes must not find them out by asking for them; nor may anybody ask too much."""
        check_effort(groups)
        if of_everybody(self._policy(), peer) is not Access.ANONYMISED:
            return
        asked_for = (one.value for group in groups for one in group if one.attribute is Attribute.OWNER)
        if any(isinstance(owner, str) and not same_person(owner, name) for owner in asked_for):
            raise forbidden(_HIDDEN_OWNER)

    def validity(self, peer: Identity, asked: int | None) -> int:
        """When a registration ends, in seconds since the epoch: asked for, or the default, within the limits."""
        now = int(self._now())
        wanted = now + self._limits.validity if asked is None else asked
        ends = [wanted, now + self._limits.longest_validity]
        if peer.expires is not None:
            ends.append(peer.expires)
        return min(ends)


def _replaced(registration: Registration, **fields: object) -> Registration:
    return msgspec.structs.replace(registration, **fields)


_NOT_OWNER: Final = "Only owner could access the notification"
_HIDDEN_OWNER: Final = "Forbidden subject. You are only authorized to register for anonymized notifications."

_FUNCTIONS: Final[dict[Function, Callable[[Requests, Identity, str, Request], Outcome]]] = {
    Function.NEW: Requests._new,
    Function.BIND: Requests._bind,
    Function.CHANGE: Requests._change,
    Function.REFRESH: Requests._refresh,
    Function.DROP: Requests._drop,
}
