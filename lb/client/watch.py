"""Watching jobs: registrations made, received, kept valid, and dropped at the end.

They exist as long as the watch does; what must survive its watcher is registered by hand (`lb.client.notification`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from lb.client.lease import Lease
from lb.client.notification import Notifications, Registration, absolute
from lb.client.receiver import Received, Receiver
from lb.client.settings import Address
from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Flag, Group

#: Seconds that a registration under way gets when the watch ends.
_GRACE: Final = 5.0


def _over() -> LBError:
    return LBError(errno.ENOTCONN, "the watch has ended")


class Watch:
    """Registrations with one receiver; an async iterator and context manager."""

    def __init__(
        self,
        notifications: Notifications,
        receiver: Receiver,
        clock: IReactorTime,
        *,
        now: Callable[[], float],
    ) -> None:
        """`receiver` is closed with the watch; `now` gives seconds since the epoch."""
        self._notifications = notifications
        self._receiver = receiver
        self._clock = clock
        self._now = now
        self._made: list[JobId] = []
        self._adding: set[Deferred[None]] = set()
        self._closed = False
        self._leases: list[Lease] = []

    async def add(
        self,
        groups: tuple[Group, ...],
        *,
        server: Address | None = None,
        flags: Flag = NO_FLAGS,
        seconds: float | None = None,
    ) -> Registration:
        """Register at a server; `seconds`: validity to ask for and to extend to, None = what the server gives."""
        if self._closed:
            raise _over()
        identity = self._notifications.new_id(server)
        # Known before the server knows it: states may arrive before its answer.
        self._made.append(identity)
        self._receiver.expect(identity)
        added: Deferred[None] = Deferred()
        self._adding.add(added)
        try:
            made = await self._notifications.new(
                identity,
                groups,
                address=self._receiver.address,
                flags=flags,
                validity=absolute(seconds, self._now()),
            )
        finally:
            self._adding.discard(added)
            added.callback(None)
        if self._closed:
            raise _over()
        self._leases.append(
            Lease(self._notifications, made, self._clock, now=self._now, seconds=seconds, lost=self._lost)
        )
        return made

    async def receive(self, patience: float | None = None) -> Received | None:
        """As `Receiver.receive`; raises also why a registration was lost."""
        return await self._receiver.receive(patience)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Received:
        return await self._receiver.__anext__()

    async def close(self) -> None:
        """Drop the registrations and listen no more; raises the first failure, when all has been tried."""
        self._closed = True
        for lease in self._leases:
            lease.stop()
        if self._adding:
            # What is dropped before it is made would stay: give the server time to answer.
            await gatherResults(list(self._adding)).addTimeout(_GRACE, self._clock, lambda late, seconds: None)
        failed: LBError | None = None
        while self._made:
            identity = self._made.pop()
            try:
                await self._notifications.drop(identity)
            except LBError as error:
                # Never made, or expired: there is nothing to drop.
                if error.code != errno.ENOENT and failed is None:
                    failed = error
        await self._receiver.close()
        if failed is not None:
            raise failed

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _lost(self, error: LBError) -> None:
        Deferred.fromCoroutine(self._receiver.close(error))
