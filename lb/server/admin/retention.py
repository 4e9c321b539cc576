"""Retention: the server itself purges what is older than its state's time, into compressed archives.

Everything that is removed is in an archive on stable storage first (P2); `lb load` brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lb.model.errors import LBError, invalid
from lb.model.status import STATE_CODES, STATES
from lb.server.admin.dumpfile import Archive, DumpFile
from lb.store.interface import StoreError
from lb.wire.lbxml.purge import NEVER, PurgeFlag, Request

_MICROSECONDS: Final = 1_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_ALL: Final = "all"

#: Purges into a file, and says how many jobs.
Purge = Callable[[Request, DumpFile], Deferred[int]]


def read_age(text: str) -> int:
    """Seconds of ``NNN[smhd]``; raises EINVAL."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise invalid(f"{text[:80]!r} is no age: give a number of seconds, or with s, m, h, d behind it")
    return int(number) * _UNITS[unit]


def read_ages(texts: Iterable[str]) -> tuple[int, ...] | None:
    """Time-outs by state of ``STATE=AGE`` texts, ``all=AGE`` for those not named; None without any. Raises EINVAL."""
    ages: dict[str, int] = {}
    for text in texts:
        name, separator, age = text.partition("=")
        name = name.strip().lower()
        if not separator or (name != _ALL and name not in STATE_CODES):
            raise invalid(f"{text[:80]!r}: give STATE=AGE with a job state or all, e.g. Cleared=3d")
        ages[name] = read_age(age.strip())
    if not ages:
        return None
    timeouts = [ages.get(_ALL, NEVER)] * STATES
    for name, age_ in ages.items():
        if name != _ALL:
            timeouts[STATE_CODES[name]] = age_
    return tuple(timeouts)


class Retention(Service):
    """Purges again and again."""

    log = Logger()

    def __init__(
        self, purge: Purge, timeouts: Sequence[int], directory: Path, clock: IReactorTime, interval: float
    ) -> None:
        """`timeouts`: seconds by state; `interval`: seconds between two purges."""
        self._purge = purge
        self._timeouts = tuple(timeouts)
        self._directory = directory
        self._interval = interval
        self._clock = clock
        self._looping = LoopingCall(self.run)
        self._looping.clock = clock

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._looping.start(self._interval, now=False)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._looping.stop()

    def run(self) -> Deferred[None]:
        """Purge once; what goes wrong is logged and tried again the next time."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        asked = Request(timeouts=self._timeouts, flags=PurgeFlag.REALLY_PURGE)
        try:
            archive = Archive(self._directory, "archive", int(self._clock.seconds() * _MICROSECONDS))
            try:
                count = await self._purge(asked, archive)
            finally:
                archive.close()
        except (LBError, StoreError, OSError) as error:
            self.log.error("retention stops for now: {error}", error=str(error))
            return
        except Exception:  # a mistake of ours must not end all looks that would follow
            self.log.failure("retention stops for now")
            return
        if count:
            self.log.info("{count} jobs moved to {path}", count=count, path=archive.path)
