"""Work that waits for nobody, done between the batches of events: new indices filled, purged jobs' events deleted,
statistics merged.

A slice is one transaction of the writing thread; what a stopped server left undone is gone on with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lb.service.worker import Caller
from lb.store.interface import StoreError, Writer

#: Seconds between looks at what there is to do.
_INTERVAL: Final = 60.0
#: Rows of one slice: some 10 ms.
_JOBS: Final = 300
_EVENTS: Final = 1_000


class Housekeeping(Service):
    """Looks after the store of a running server."""

    log = Logger()

    def __init__(self, writer: Writer, thread: Caller, clock: IReactorTime) -> None:
        """`thread` is the writing one."""
        self._writer = writer
        self._thread = thread
        self._clock = clock
        self._looping = LoopingCall(self.work)
        self._looping.clock = clock
        self._again = False
        self._working = False

    @property
    def filling(self) -> bool:
        """Whether there is work left, as far as is known."""
        return self._working

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._looping.start(_INTERVAL, now=True)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._looping.stop()

    def work(self) -> Deferred[None]:
        """Do what there is; called while it works, it looks once more when it is through."""
        self._again = True
        return Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        if self._working:
            return
        self._working = True
        try:
            while self._again and self.running:
                self._again = False
                await self._all(lambda: self._writer.index.fill(_JOBS))
                await self._all(lambda: self._writer.purge.clear(_EVENTS))
                await self._all(lambda: self._writer.statistics.merge(int(self._clock.seconds()), _EVENTS))
        except StoreError as error:  # the next look tries again
            self.log.warn("housekeeping stops for now: {error}", error=str(error))
        finally:
            self._working = False

    async def _all(self, slice_: Callable[[], bool]) -> None:
        while self.running and await self._thread.call(slice_):
            pass
