"""One destination as the reactor's thread sees it: read in order, acknowledge in any order, wait, count.

No file is touched here; what needs the disk is a task for the writer thread, one for a whole chunk of records.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.bound import MEBIBYTE
from lb.spool.acknowledgements import Acknowledgements
from lb.spool.cursor import Position
from lb.spool.errors import SpoolError
from lb.spool.journal import Chunk, Journal
from lb.spool.segment import Record

T = TypeVar("T")

#: Who waits for a record, by its number; in the order of asking, and quick to forget.
_Waiting = dict[int, dict[Deferred[None], None]]

log = Logger()


class Batch:
    """A queue's records in one commit: encoded `parts`, first and last number, time (µs), `failure` afterwards."""

    __slots__ = ("failure", "first", "last", "parts", "time")

    def __init__(self, first: int, time: int) -> None:
        self.parts: list[bytes] = []
        self.first = first
        self.last = first - 1
        self.time = time
        self.failure: Failure | None = None


class Stretch:
    """A place from which reading can begin again: the records numbered `first` and up lie at or behind `position`.

    `time` (µs) is when the first of them was appended, or somewhat earlier.
    """

    __slots__ = ("first", "position", "time")

    def __init__(self, first: int, position: Position, time: int) -> None:
        self.first = first
        self.position = position
        self.time = time


class Desk(Protocol):
    """What a queue wants of its spool."""

    def run(self, operation: Callable[[], T]) -> Deferred[T]:
        """Have the writer thread run an operation on the disk."""
        ...

    def acknowledged(self, queue: "Queue", count: int) -> None:
        """Note that the queue's cursor moved by so many records."""
        ...


class Queue:
    """The records of one destination, numbered from 1 in the order they were appended.

    One reader at a time. `wake_up`, if set, is called in the reactor's thread when new records can be read: once for
    each commit, not for each record.
    """

    def __init__(self, journal: Journal, desk: Desk, acknowledged: int, position: Position, oldest_time: int) -> None:
        self.destination = journal.destination
        self.seed = journal.seed
        self.journal = journal
        self.wake_up: Callable[[], None] | None = None
        self.quarantined = 0  # records and damaged regions put in quarantine since the spool was opened
        self._desk = desk
        self._acknowledgements = Acknowledgements(acknowledged)
        self._next_number = journal.last_number + 1
        self._stored = journal.last_number
        self._read = acknowledged
        self._reading = False
        self._turn = 0  # grows with each rewind: a read begun before it counts for nothing
        self._stretches = deque([Stretch(acknowledged + 1, position, oldest_time)])
        self._waiting: _Waiting = {}
        self._waiting_through: _Waiting = {}

    def __repr__(self) -> str:
        return f"<Queue {self.destination!r} {self.pending} pending>"

    # Numbers

    @property
    def pending(self) -> int:
        """How many stored records are not acknowledged; after a crash perhaps a few too many until they are read."""
        return self._acknowledgements.outstanding(self._stored)

    @property
    def readable(self) -> bool:
        """Whether `read` may find more. When it does not after all, it answers with an empty list and this is False."""
        return self._read < self._stored

    @property
    def prefix(self) -> int:
        """The number up to which all records are acknowledged."""
        return self._acknowledgements.prefix

    @property
    def last_number(self) -> int:
        """The number of the last stored record, 0 if there never was one."""
        return self._stored

    @property
    def drained(self) -> bool:
        """Whether nothing is left to do: every record ever numbered, stored or on its way, is acknowledged."""
        return self._acknowledgements.prefix >= self._next_number - 1 and not self._reading

    @property
    def disk_bytes(self) -> int:
        """What the segments occupy, in bytes, acknowledged records that are not removed yet included."""
        return self.journal.disk_bytes

    @property
    def position(self) -> Position:
        """Where the first unacknowledged record lies, or somewhat before."""
        return self._stretches[0].position

    def oldest_age(self, now: float) -> float:
        """Return how long the oldest unacknowledged record has waited at most, in seconds; 0 if there is none.

        `now` is in seconds since the epoch. The answer may be too large by the age difference within one read.
        """
        return max(0.0, now - self._stretches[0].time / 1e6) if self.pending else 0.0

    def take_numbers(self, count: int) -> int:
        """Reserve numbers for records to be appended; return the first of them."""
        first = self._next_number
        self._next_number += count
        return first

    # Storing

    def settle(self, batch: Batch) -> None:
        """Take note of a commit: its records can be read, or will never exist."""
        if self._read == self._stored:
            self._stretches[-1].time = batch.time
        self._stored = batch.last
        if batch.failure is not None:
            self._missing(batch.first, batch.last)

    def wake(self) -> None:
        """Call the reader's `wake_up`; what it raises is its own trouble and is logged."""
        if self.wake_up is not None:
            try:
                self.wake_up()
            except Exception:
                log.failure("wake-up of {destination}", destination=self.destination)

    # Reading

    def read(self, max_records: int = 1000, max_bytes: int = MEBIBYTE) -> Deferred[list[Record]]:
        """Return the next records after those last read, in order: at most `max_records`, about `max_bytes` of payload.

        An empty list means there are none now: wait for `wake_up`. A record longer than `max_bytes` comes alone.
        OSError if the disk fails; the next read then tries the same again. SpoolError if another read is under way.
        """
        if self._reading:
            return fail(SpoolError(f"{self.destination}: a read is under way"))
        if not self.readable:
            return succeed([])
        self._reading = True
        return self._fetch(max_records, max_bytes).addBoth(self._finished)

    def rewind(self) -> None:
        """Have the next read begin at the first unacknowledged record; a read under way answers with an empty list."""
        self._turn += 1
        prefix = self._acknowledgements.prefix
        self._read = prefix
        while len(self._stretches) > 1 and self._stretches[-1].first > prefix + 1:
            self._stretches.pop()

    def _fetch(self, max_records: int, max_bytes: int) -> Deferred[list[Record]]:
        operation = partial(self.journal.read, self._stretches[-1].position, self._read, max_records, max_bytes)
        return self._desk.run(operation).addCallback(self._fetched, self._turn, max_records, max_bytes)

    def _fetched(
        self, chunk: Chunk, turn: int, max_records: int, max_bytes: int
    ) -> list[Record] | Deferred[list[Record]]:
        self.quarantined += chunk.damaged
        if turn != self._turn:
            return []
        records = chunk.records
        known = self._read
        self._read = max(known, chunk.through)
        stretch = self._stretches[-1]
        stretch.position = chunk.start
        if records:
            stretch.time = records[0].time
            self._stretches.append(Stretch(self._read + 1, chunk.following, records[-1].time))
        if len(records) != self._read - known:
            self._note_gaps(known, records)
        self._forget_stretches()
        acknowledgements = self._acknowledgements
        if acknowledgements.scattered or (records and records[0].number <= acknowledgements.prefix):
            records = [record for record in records if record.number not in acknowledgements]
        if not records and self.readable and self._read > known:
            return self._fetch(max_records, max_bytes)
        return records

    def _finished(self, result: T) -> T:
        self._reading = False
        return result

    def _note_gaps(self, known: int, records: list[Record]) -> None:
        """Count numbers that no record has (damage, failed commits) as done: nobody else can acknowledge them."""
        expected = known + 1
        for record in records:
            if record.number > expected:
                self._missing(expected, record.number - 1)
            expected = record.number + 1
        if expected <= self._read:
            self._missing(expected, self._read)

    # Acknowledging

    def acknowledge(self, number: int) -> None:
        """Take all records up to `number` for done. ValueError if there is no such record yet."""
        before = self._check(number)
        if number > before:
            self._acknowledgements.add_through(number)
            self._moved(before)

    def acknowledge_one(self, number: int) -> None:
        """Take this record for done, in any order. ValueError if there is no such record yet."""
        before = self._check(number)
        self._acknowledgements.add(number)
        if number in self._waiting:
            self._fire(self._waiting.pop(number))
        if self._acknowledgements.prefix > before:
            self._moved(before)

    def quarantine(self, record: Record, reason: str) -> Deferred[None]:
        """Put a record that cannot be delivered into the quarantine file with the reason, only then acknowledge it.

        OSError if it could not be stored there; the record is then still to be done.
        """
        operation = partial(self.journal.quarantine, record.number, record.payload, reason)
        return self._desk.run(operation).addCallback(self._quarantined, record.number)

    def when_acknowledged(self, number: int) -> Deferred[None]:
        """Return what fires when this record is done; SpoolClosedError if the spool closes. It can be cancelled."""
        return self._wait(self._waiting, number, number in self._acknowledgements)

    def when_acknowledged_through(self, number: int) -> Deferred[None]:
        """As `when_acknowledged`, for all records up to this one (a flush)."""
        return self._wait(self._waiting_through, number, number <= self.prefix)

    def abandon(self, failure: Failure) -> None:
        """Answer all who still wait: the spool is closed."""
        waiting = [*self._waiting.values(), *self._waiting_through.values()]
        self._waiting = {}
        self._waiting_through = {}
        for deferreds in waiting:
            for deferred in deferreds:
                if not deferred.called:
                    deferred.errback(failure)

    def _check(self, number: int) -> int:
        if number > self._stored:
            raise ValueError(f"{self.destination}: record {number} acknowledged, {self._stored} is the last one stored")
        return self._acknowledgements.prefix

    def _missing(self, first: int, last: int) -> None:
        before = self._acknowledgements.prefix
        self._acknowledgements.add_missing(first, last)
        if self._acknowledgements.prefix > before:
            self._moved(before)

    def _moved(self, before: int) -> None:
        """The prefix went from `before` to where it is now."""
        prefix = self._acknowledgements.prefix
        self._read = max(self._read, prefix)
        self._forget_stretches()
        for waiting in (self._waiting, self._waiting_through):
            if waiting:
                for number in sorted(number for number in waiting if number <= prefix):
                    self._fire(waiting.pop(number, ()))
        self._desk.acknowledged(self, prefix - before)

    def _forget_stretches(self) -> None:
        stretches = self._stretches
        following = self._acknowledgements.prefix + 1
        while len(stretches) > 1 and stretches[1].first <= following:
            stretches.popleft()

    def _quarantined(self, _: object, number: int) -> None:
        self.quarantined += 1
        self.acknowledge_one(number)

    @staticmethod
    def _wait(waiting: _Waiting, number: int, done: bool) -> Deferred[None]:
        if done:
            return succeed(None)

        def forget(cancelled: Deferred[None]) -> None:
            deferreds = waiting.get(number, {})
            deferreds.pop(cancelled, None)
            if not deferreds:
                waiting.pop(number, None)

        deferred: Deferred[None] = Deferred(forget)
        waiting.setdefault(number, {})[deferred] = None
        return deferred

    @staticmethod
    def _fire(deferreds: Iterable[Deferred[None]]) -> None:
        for deferred in deferreds:
            if not deferred.called:  # one before it may have cancelled it
                deferred.callback(None)
