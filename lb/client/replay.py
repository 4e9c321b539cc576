"""Replaying recorded streams: fresh jobs are registered, their events logged, and waited for until queries show them.

Events of a job keep their order. What cannot be sent, or does not appear in time, is reported and never passed over.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from lb.client.recording import Copy, Recording
from lb.client.session import Session
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS
from lb.model.status import JobStatus
from lb.wire import ulm

_T = TypeVar("_T")

#: Requests under way at once while registering and while looking.
_AT_ONCE: Final = 8
#: Higher than every level of an event.
_ALL_LEVELS: Final = 99
#: Seconds between looks at what has arrived: the first, and the longest.
_FIRST_LOOK: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
#: Seconds of sending between pauses when there is a rate.
_BEAT: Final = 0.05


class Stage(NamedTuple):
    """How far a replay is."""

    name: str  #: register, log or wait
    done: int
    total: int


class Report(NamedTuple):
    """What became of a replay."""

    registered: int
    logged: int
    refused: list[tuple[str, str]]  #: the beginning of the line, and why
    missing: dict[str, int]  #: job id → how many of its events no query shows
    states: list[JobStatus]
    seconds: float  #: from the first registration until all was visible

    @property
    def complete(self) -> bool:
        """Whether everything that was recorded is visible."""
        return not self.refused and not self.missing


#: By what an event is known again in an answer.
_Key = tuple[str, int, str, int, str]


def _key(event: Event) -> _Key:
    return event.type.name, event.source, event.host, event.timestamp, event.seqcode


class Replay:
    """One replay: `run` it once."""

    def __init__(
        self,
        reactor: Any,
        session: Session,
        *,
        server: str,
        rate: float | None = None,
        patience: float = 60.0,
        watch: Callable[[Stage], None] = lambda stage: None,
    ) -> None:
        """`server`: ``HOST[:PORT]`` of the new jobs; `rate`: most events a second; `patience`: seconds without a new
        event after which those still missing are given up; `watch` is told of the progress.
        """
        self._clock = reactor
        self._session = session
        self._server = server
        self._rate = rate
        self._patience = patience
        self._watch = watch
        self._expected: dict[JobId, set[_Key]] = {}
        self._refused: list[tuple[str, str]] = []

    async def run(self, recordings: Sequence[Recording], copies: int = 1) -> Report:
        """Replay each recording `copies` times; raises `LBError` when a registration fails or the logger is away."""
        started = self._clock.seconds()
        made = [
            Copy(recording, self._server, self._session.identity) for _ in range(copies) for recording in recordings
        ]
        registrations = [event for copy in made for event in copy.registrations]
        await self._register(registrations)
        total = copies * sum(len(recording.events) for recording in recordings)
        logged = await self._log((event for copy in made for event in copy.events), total)
        await self._wait()
        ended = self._clock.seconds()
        jobs = [job for copy in made for job in copy.jobs]
        states = await self._together(jobs, lambda job: self._session.consumer.status(job, NO_FLAGS))
        missing = {str(job): len(keys) for job, keys in self._expected.items() if keys}
        return Report(len(registrations), logged, self._refused, missing, states, ended - started)

    async def _register(self, registrations: list[Event]) -> None:
        done = 0

        async def one(event: Event) -> None:
            nonlocal done
            await self._session.producer.store(event)
            self._expect(event)
            done += 1
            self._watch(Stage("register", done, len(registrations)))

        await self._together(registrations, one)

    async def _log(self, events: Iterator[Event], total: int) -> int:
        sent = logged = 0
        started = self._clock.seconds()

        def counted(slice_: Iterable[Event]) -> Iterator[Event]:
            nonlocal sent
            for event in slice_:
                self._expect(event)
                sent += 1
                if not sent % 100:
                    self._watch(Stage("log", sent, total))
                yield event

        if self._rate is None:
            logged = await self._session.producer.log_many(counted(events), refused=self._refuse)
        else:
            while slice_ := list(islice(events, max(1, int(self._rate * _BEAT)))):
                logged += await self._session.producer.log_many(counted(slice_), refused=self._refuse)
                ahead = started + sent / self._rate - self._clock.seconds()
                if ahead > 0:
                    await deferLater(self._clock, ahead, lambda: None)
        self._watch(Stage("log", sent, sent))
        return logged

    def _expect(self, event: Event) -> None:
        self._expected.setdefault(event.jobid, set()).add(_key(event))

    def _refuse(self, line: bytes, error: LBError) -> None:
        event = ulm.parse(line, self._session.identity)
        self._expected[event.jobid].discard(_key(event))
        self._refused.append((ulm.decode(line[:200]), error.description))

    # Waiting.

    async def _wait(self) -> None:
        """Look until everything is visible, or nothing new has become so for `patience` seconds."""
        total = left = self._left()
        pause = _FIRST_LOOK
        last_news = self._clock.seconds()
        while left:
            await self._together([job for job, keys in self._expected.items() if keys], self._look)
            now_left = self._left()
            self._watch(Stage("wait", total - now_left, total))
            if now_left < left:
                left, pause, last_news = now_left, _FIRST_LOOK, self._clock.seconds()
            elif self._clock.seconds() - last_news >= self._patience:
                return
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)
            if left:
                await deferLater(self._clock, pause, lambda: None)

    def _left(self) -> int:
        return sum(map(len, self._expected.values()))

    async def _look(self, job: JobId) -> None:
        try:
            found = await self._session.consumer.events(job, level=_ALL_LEVELS)
        except LBError as error:
            if error.code != errno.ENOENT:
                raise
        else:
            self._expected[job].difference_update(map(_key, found))

    @staticmethod
    async def _together(items: Iterable[_T], each: Callable[[_T], Any]) -> list[Any]:
        """The results for all items, in their order; some are worked on at once."""
        pending = iter(items)
        results: list[Any] = []
        while batch := list(islice(pending, _AT_ONCE)):
            results += await gatherResults(
                [Deferred.fromCoroutine(each(item)) for item in batch], consumeErrors=True
            ).addErrback(_first_failure)
        return results


def _first_failure(failure: Any) -> Any:
    return failure.value.subFailure
