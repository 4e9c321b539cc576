"""The spool: all destinations' queues over one directory, one writer thread, one lock.

A chunk of records is accepted when its Deferred fires, never before. Full means refuse or pause; nothing stored is
dropped.
"""

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.spool.directory import Directory
from lb.spool.errors import (
    BadDestinationError,
    RecordTooLargeError,
    SpoolClosedError,
    SpoolError,
    SpoolFullError,
)
from lb.spool.filesystem import FileSystem, OSFileSystem
from lb.spool.group import Group
from lb.spool.limits import Limits
from lb.spool.queue import Queue
from lb.spool.recovery import Recovered
from lb.spool.segment import IDENTITY_SIZE, RECORD_OVERHEAD
from lb.spool.writer import Writer, WriterThread

T = TypeVar("T")

log = Logger()


class Clock(Protocol):
    """The part of IReactorTime that the spool needs."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[[], object], /) -> IDelayedCall: ...


class _Task:
    """An operation for the writer thread, its outcome, and who waits for it."""

    __slots__ = ("fired", "operation", "outcome")

    def __init__(self, operation: Callable[[], object], fired: "Deferred[object]") -> None:
        self.operation = operation
        self.fired = fired
        self.outcome: object = None

    def run(self) -> None:
        try:
            self.outcome = self.operation()
        except Exception:  # belongs to whoever waits for the operation
            self.outcome = Failure()


class Spool:
    """All queues of one directory.

    `clock` gives time (seconds since the epoch) and timers; `writer` runs the disk's work, see `Spool.threaded`;
    `random(n)` returns n random bytes.

    All methods belong to the reactor's thread. `open` blocks, for well under two seconds whatever the backlog.
    """

    def __init__(
        self,
        directory: str,
        *,
        clock: Clock,
        writer: Writer,
        filesystem: FileSystem | None = None,
        limits: Limits | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.limits = limits or Limits()
        self._clock = clock
        self._writer = writer
        self._random = random
        self._directory = Directory(directory, filesystem or OSFileSystem(), self.limits, self._now)
        self._queues: dict[str, Queue] = {}
        self._observers: list[tuple[Callable[[Queue], object], Callable[[Queue], object] | None]] = []
        self._group = Group()
        self._tasks: list[_Task] = []
        self._busy = False
        self._waiting_bytes = 0
        self._ready: list[Deferred[None]] = []
        self._accounted: dict[Queue, int] = {}
        self._disk_bytes = 0
        self._quarantined_bytes = 0
        self._set_aside: dict[Queue, int] = {}  # how many of these are accounted for
        self._recount = False  # something was refused for want of room
        self._unsaved: dict[Queue, int] = {}  # cursor on disk is behind -> by how many records
        self._touched: dict[Queue, float] = {}
        self._timer: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    @classmethod
    def threaded(
        cls,
        directory: str,
        clock: Clock,
        call_from_thread: Callable[[Callable[[], None]], object],
        limits: Limits | None = None,
    ) -> "Spool":
        """Return a spool on the real disk whose writer is a thread of its own, ended by `close`."""
        return cls(directory, clock=clock, writer=WriterThread(call_from_thread), limits=limits)

    # Life

    def open(self) -> None:
        """Lock the directory (made if missing), recover all journals and begin to accept.

        SpoolLockedError if another process has it, OSError. A journal that cannot be opened stops only itself: see
        `unusable`.
        """
        self._directory.open()
        try:
            self._quarantined_bytes = self._directory.quarantined_bytes()
            for recovered in self._directory.recover():
                self._add(recovered)
        except OSError:
            self._directory.close()
            raise
        self._timer = self._clock.callLater(self.limits.cursor_interval, self._keep_house)

    def close(self) -> Deferred[None]:
        """Commit what waits, write the cursors, release the lock; nothing is accepted from now on.

        Fires when all that is done. A cursor that could not be written costs duplicates only: it is logged.
        """
        if self._closed is None:
            self._closed = Deferred()
            if self._timer is None:
                self._end(None)
            else:
                self._timer.cancel()
                self._timer = None
                for queue in list(self._unsaved):
                    self._save(queue)
                self._submit(self._directory.close).addBoth(self._end)
        return self._closed

    def _check_open(self) -> None:
        if self._timer is None:
            raise SpoolClosedError(f"spool {self.directory} is not open")

    def _end(self, result: object) -> None:
        if isinstance(result, Failure):
            log.failure("closing the spool", failure=result)
        self._writer.stop()
        closed = Failure(SpoolClosedError(f"spool {self.directory} is closed"))
        for queue in self._queues.values():
            queue.abandon(closed)
        ready, self._ready = self._ready, []
        for deferred in ready:
            deferred.errback(closed)
        if self._closed is not None:
            self._closed.callback(None)

    @property
    def directory(self) -> str:
        """The absolute path."""
        return self._directory.path

    @property
    def unusable(self) -> dict[str, Exception]:
        """The journals that could not be opened, and are refused until a restart: directory name -> reason."""
        return self._directory.unusable

    # Destinations

    def queue(self, destination: str) -> Queue:
        """Return the queue of a destination, a new one if there is none yet (on disk it begins with its first record).

        BadDestinationError, SpoolFullError (too many of them), JournalUnusableError.
        """
        queue = self._queues.get(destination)
        return queue if queue is not None else self._add(self._begin(destination))

    def __contains__(self, destination: str) -> bool:
        """Whether there is a queue of this destination."""
        return destination in self._queues

    def queues(self) -> list[Queue]:
        """Return all queues."""
        return list(self._queues.values())

    def observe(self, added: Callable[[Queue], object], removed: Callable[[Queue], object] | None = None) -> None:
        """Have `added` called for each queue that appears from now on, `removed` for each dropped (long empty)."""
        self._observers.append((added, removed))

    def _begin(self, destination: str) -> Recovered:
        self._check_open()
        length = len(destination.encode("utf-8", "surrogateescape"))
        if not 0 < length <= self.limits.destination_bytes:
            raise BadDestinationError(
                f"destination of {length} bytes: its name must have 1 to {self.limits.destination_bytes} bytes"
            )
        if len(self._queues) >= self.limits.destinations:
            raise SpoolFullError(
                f"no room for destination {destination!r}: there are {len(self._queues)} of at most "
                f"{self.limits.destinations}; wait until one has drained, or raise the limit"
            )
        return self._directory.begin(destination, self._random(IDENTITY_SIZE))

    def _add(self, recovered: Recovered) -> Queue:
        queue = Queue(recovered.journal, self, recovered.acknowledged, recovered.position, recovered.oldest_time)
        self._queues[queue.destination] = queue
        self._touched[queue] = self._clock.seconds()
        self._account(queue)
        for added, _ in self._observers:
            added(queue)
        return queue

    # Accepting

    def append(self, records: Sequence[tuple[str, bytes]]) -> Deferred[list[tuple[Queue, int]]]:
        """Store a chunk of records (destination, payload); fires with queue and number of each when all are stable.

        Fails with OSError if they could not be stored (ENOSPC also for `Limits.disk_bytes`), SpoolFullError (see
        `congested`), RecordTooLargeError, BadDestinationError, JournalUnusableError or SpoolClosedError. Nothing of a
        failed chunk is accepted, though parts of it may be delivered nevertheless.
        """
        try:
            order, payloads = self._sort(records)
        except (SpoolError, OSError):
            return fail()
        if not order:
            return succeed([])
        before = self._group.size
        fired = self._group.add(order, payloads, self._now())
        self._waiting_bytes += self._group.size - before
        self._hand_over()
        return fired

    def _sort(self, records: Sequence[tuple[str, bytes]]) -> tuple[list[Queue], dict[Queue, list[bytes]]]:
        """Check a chunk against the bounds; return each record's queue, and each queue's payloads."""
        self._check_open()
        if self.congested:
            raise SpoolFullError(
                f"{self._waiting_bytes} bytes wait for the disk (limit {self.limits.waiting_bytes}): try again later"
            )
        size = 0
        order: list[Queue] = []
        payloads: dict[Queue, list[bytes]] = {}
        known = self._queues
        largest = self.limits.record_bytes
        for destination, payload in records:
            length = len(payload)
            if length > largest:
                raise RecordTooLargeError(
                    f"record of {length} bytes for {destination!r}: at most {largest} are allowed"
                )
            size += length + RECORD_OVERHEAD
            queue = known.get(destination) or self.queue(destination)
            order.append(queue)
            part = payloads.get(queue)
            if part is None:
                part = payloads[queue] = []
            part.append(payload)
        if self.limits.disk_bytes and self.disk_bytes + self._waiting_bytes + size > self.limits.disk_bytes:
            self._recount = True
            raise OSError(
                errno.ENOSPC, f"the spool's limit of {self.limits.disk_bytes} bytes is reached", self.directory
            )
        return order, payloads

    @property
    def congested(self) -> bool:
        """Whether `append` refuses because too much waits for the disk: pause the senders until `when_ready`."""
        return self._waiting_bytes >= self.limits.waiting_bytes

    def when_ready(self) -> Deferred[None]:
        """Return what fires when `append` accepts again and half of what may wait is free."""
        if not self.congested:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._ready.append(deferred)
        return deferred

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for stable storage, in memory."""
        return self._waiting_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes of all segments and of the quarantine."""
        return self._disk_bytes + self._quarantined_bytes

    @property
    def pending(self) -> int:
        """Records of all queues that are not acknowledged."""
        return sum(queue.pending for queue in self._queues.values())

    # The writer thread's work

    def run(self, operation: Callable[[], T]) -> Deferred[T]:
        """For queues: have the writer thread run an operation on the disk."""
        try:
            self._check_open()
        except SpoolClosedError:
            return fail()
        return self._submit(operation)

    def _submit(self, operation: Callable[[], T]) -> Deferred[T]:
        fired: Deferred[T] = Deferred()
        self._tasks.append(_Task(operation, cast("Deferred[object]", fired)))
        self._hand_over()
        return fired

    def _hand_over(self) -> None:
        """Give the writer all that has gathered, unless it is busy: then this happens again when it is done."""
        if self._busy or not (self._group or self._tasks):
            return
        self._busy = True
        group, self._group = self._group, Group()
        tasks, self._tasks = self._tasks, []

        def job() -> None:
            group.store()
            for task in tasks:
                task.run()

        self._writer.submit(job, partial(self._settle, group, tasks))

    def _settle(self, group: Group, tasks: list[_Task]) -> None:
        self._busy = False
        self._waiting_bytes -= group.size
        now = self._clock.seconds()
        for queue in group.queues():
            self._touched[queue] = now
            self._unsaved.setdefault(queue, 0)
            self._account(queue)
        # The next commit begins while this one is answered.
        self._hand_over()
        group.settle()
        for task in tasks:
            task.fired.callback(task.outcome)
        if self._ready and self._waiting_bytes <= self.limits.waiting_bytes // 2:
            ready, self._ready = self._ready, []
            for deferred in ready:
                deferred.callback(None)

    def _account(self, queue: Queue) -> None:
        size = queue.disk_bytes
        self._disk_bytes += size - self._accounted.get(queue, 0)
        self._accounted[queue] = size
        aside = queue.journal.quarantined_bytes
        self._quarantined_bytes += aside - self._set_aside.get(queue, 0)
        self._set_aside[queue] = aside

    def _recounted(self, size: int) -> None:
        """A person has perhaps removed what was in quarantine: that makes room."""
        self._quarantined_bytes = size

    # Cursors and empty queues

    def acknowledged(self, queue: Queue, count: int) -> None:
        """For queues: note progress, to be written to the cursor soon."""
        behind = self._unsaved[queue] = self._unsaved.get(queue, 0) + count
        if behind >= self.limits.cursor_records and self._timer is not None:
            self._save(queue)

    def _save(self, queue: Queue) -> None:
        del self._unsaved[queue]
        operation = partial(queue.journal.save_cursor, queue.prefix, queue.position)
        self._submit(operation).addCallbacks(
            lambda _: self._account(queue), lambda failure: self._not_saved(queue, failure)
        )

    def _not_saved(self, queue: Queue, failure: Failure) -> None:
        """Until it succeeds, a restart would deliver again what is done already."""
        log.failure("cursor of {destination}", failure=failure, destination=queue.destination)
        self._unsaved.setdefault(queue, 0)
        self._account(queue)

    def _keep_house(self) -> None:
        self._timer = self._clock.callLater(self.limits.cursor_interval, self._keep_house)
        if self._recount:
            self._recount = False
            self._submit(self._directory.quarantined_bytes).addCallbacks(
                self._recounted, lambda failure: log.failure("counting the quarantine", failure=failure)
            )
        now = self._clock.seconds()
        for queue in list(self._unsaved):
            self._touched[queue] = now
            self._save(queue)
        for queue, touched in list(self._touched.items()):
            if now - touched >= self.limits.idle_time:
                self._touched[queue] = now  # if it stays, not again before the same time
                if queue.drained:
                    self._submit(partial(queue.journal.remove, queue.prefix)).addCallbacks(
                        self._removed, self._not_removed, callbackArgs=(queue,), errbackArgs=(queue,)
                    )

    def _removed(self, empty: bool, queue: Queue) -> None:
        self._account(queue)
        if empty and queue.drained and queue.destination in self._queues:
            del self._queues[queue.destination], self._touched[queue], self._accounted[queue], self._set_aside[queue]
            self._unsaved.pop(queue, None)
            for _, removed in self._observers:
                if removed is not None:
                    removed(queue)

    def _not_removed(self, failure: Failure, queue: Queue) -> None:
        log.failure("removing the empty journal of {destination}", failure=failure, destination=queue.destination)
        self._account(queue)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1_000_000)
