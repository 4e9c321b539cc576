"""Requests on registrations as the ports ask them: from a connection to the writing thread, and on to the notifier.

Knows no wire format. A request is answered when what it asked for is on stable storage.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from twisted.logger import Logger

from lb.model.errors import LBError, forbidden, missing
from lb.model.jobid import parse_cached
from lb.model.query import Flag, Group, Query
from lb.model.registration import Registration
from lb.model.status import JobStatus
from lb.model.subject import same_person
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.notify.address import complete, kind_of
from lb.server.notify.notifier import Kind, Notifier
from lb.server.notify.registry import Registry
from lb.server.notify.requests import Requests
from lb.service.worker import Caller
from lb.wire.lbxml.registrations import Function, Request

#: Jobs whose present states are told in one transaction.
_AT_ONCE: Final = 500


class Subscriptions:
    """What may be asked about registrations; every method may fail with `LBError`."""

    log = Logger()

    def __init__(
        self,
        writing: Caller,
        registry: Registry,
        requests: Requests,
        notifier: Notifier,
        kinds: Mapping[str, Kind],
        find: Callable[[Identity, Query], Awaitable[Sequence[JobStatus]]],
        policy: Callable[[], Policy],
    ) -> None:
        """`kinds` of destinations, by `address.kind_of`; `find` answers a query for jobs in the name of a peer."""
        self._writing = writing
        self._registry = registry
        self._requests = requests
        self._notifier = notifier
        self._kinds = kinds
        self._find = find
        self._policy = policy

    async def perform(self, peer: Identity, address: str, asked: Request) -> int | None:
        """Carry out a request that came from a network address; the validity for the answer."""
        try:
            if asked.address is not None:
                destination = complete(asked.address, address, self._kinds)
                destination = self._kinds[kind_of(destination)].accept(destination)
                asked = msgspec.structs.replace(asked, address=destination)
            outcome = await self._writing.call(self._requests.perform, peer, asked)
        except LBError as error:
            self.log.info(
                "{function} of {id} by {peer} refused: {error}",
                function=asked.function.value,
                id=asked.notifid,
                peer=peer.name or "anonymous",
                error=str(error),
            )
            raise
        if outcome.registration is not None:
            self._notifier.update(outcome.registration)
            if asked.function is Function.NEW and Flag.BOOTSTRAP in asked.flags:
                await self._bootstrap(peer, outcome.number, asked.groups)
        return outcome.validity

    async def _bootstrap(self, peer: Identity, number: int, groups: tuple[Group, ...]) -> None:
        """Tell a new registration the present states of the jobs that a query would find (§4)."""
        try:
            found = await self._find(peer, Query(jobs=groups, flags=Flag.NO_STATES))
        except LBError:
            return  # nothing there, or no index leads to it: the registration stands all the same
        uniques = [parse_cached(status.jobId).unique for status in found if status.jobId is not None]
        for start in range(0, len(uniques), _AT_ONCE):
            await self._writing.call(self._registry.tell, number, uniques[start : start + _AT_ONCE])

    def sees_all(self, peer: Identity) -> bool:
        """Whether the peer may see the registrations of others."""
        return self._policy().allows(Action.ADMIN_ACCESS, peer)

    def listed(self, peer: Identity, *, own: bool = True, others: bool = False) -> list[Registration]:
        """Registrations by unique part: the peer's, and those of others when the peer is an administrator."""
        if peer.name is None:
            raise forbidden("user not authenticated")
        if not self.sees_all(peer):
            own, others = True, False
        found = (one for one in self._notifier.registrations if (own if same_person(one.owner, peer.name) else others))
        return sorted(found, key=lambda one: one.id.notification)

    def trouble(self, one: Registration) -> str | None:
        """Why what waits for a registration is not delivered, as far as it is known."""
        return self._notifier.trouble(one.number)

    def one(self, peer: Identity, unique: str) -> Registration:
        """A registration by its unique part, for its owner or an administrator; ENOENT, EPERM."""
        if peer.name is None:
            raise forbidden("user not authenticated")
        found = next((one for one in self._notifier.registrations if one.id.notification == unique), None)
        if found is None:
            raise missing("Notification ID not known.")
        if not same_person(found.owner, peer.name) and not self.sees_all(peer):
            raise forbidden("You are not authorized to view details for this Notification ID.")
        return found
