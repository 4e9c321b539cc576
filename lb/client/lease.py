"""Keeping a registration valid: extended at half of what is left of its validity (spec: wire-notification.md §1.4).

A failure is tried again at half of what is then left, so that a server may be away for most of the time; when the
registration is lost, its owner is told.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from lb.client.notification import Notifications, Registration, absolute
from lb.model.errors import LBError
from lb.model.jobid import JobId

#: Seconds between two tries at least, and below which nothing is left to try in.
_LEAST: Final = 1.0
#: Answers that another try does not change: no such registration, somebody else's, expired.
_FINAL: Final = frozenset({errno.ENOENT, errno.EPERM, errno.EINVAL})


class Lease:
    """One registration, kept valid until `stop`."""

    log = Logger()

    def __init__(
        self,
        notifications: Notifications,
        registration: Registration,
        clock: IReactorTime,
        *,
        now: Callable[[], float],
        seconds: float | None,
        lost: Callable[[LBError], None],
    ) -> None:
        """`seconds`: validity to ask for, None = what the server gives; `now` in seconds since the epoch."""
        self.notifid: JobId = registration.notifid
        self.valid = registration.valid
        self._notifications = notifications
        self._clock = clock
        self._now = now
        self._seconds = seconds
        self._lost = lost
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self._plan()

    def stop(self) -> None:
        """Ask no more; the registration stays until it expires or is dropped."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _plan(self) -> None:
        left = self.valid - self._now()
        self._timer = self._clock.callLater(max(_LEAST, left / 2), self._extend)

    def _extend(self) -> None:
        Deferred.fromCoroutine(self._ask())

    async def _ask(self) -> None:
        validity = absolute(self._seconds, self._now())
        try:
            self.valid = (await self._notifications.refresh(self.notifid, validity)).valid
        except LBError as error:
            if self._stopped:
                return
            if error.code in _FINAL or self.valid - self._now() < _LEAST:
                self._lost(LBError(error.code, f"{error.description} (the registration could not be extended)"))
                return
            self.log.warn("registration {id} not extended, again soon: {error}", id=str(self.notifid), error=error)
        if not self._stopped:
            self._plan()
