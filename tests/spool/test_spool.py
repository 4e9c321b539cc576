"""The spool's contract without faults: accept, group, read, acknowledge, quarantine, bounds, housekeeping."""

import errno
import gc
import weakref
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from lb.spool.acknowledgements import Acknowledgements
from lb.spool.errors import (
    BadDestinationError,
    RecordTooLargeError,
    SpoolClosedError,
    SpoolError,
    SpoolFullError,
    SpoolLockedError,
)
from lb.spool.limits import Limits
from lb.spool.quarantine import decode_entries
from lb.spool.queue import Queue
from lb.spool.segment import RECORD_OVERHEAD
from tests.spool.harness import ROOT, START_TIME, Bench, result_of

JOURNAL = f"{ROOT}/journals/a%3A1"


def segments(bench: Bench) -> list[str]:
    """Return the names of all segment files."""
    return sorted(path.rsplit("/", 1)[1] for path in bench.filesystem.files() if path.endswith(".seg"))


class AppendTests(SynchronousTestCase):
    """Chunks in, numbers out."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.spool = self.bench.open()

    def test_not_before_stable(self) -> None:
        """P1: a chunk's Deferred does not fire before its bytes went to stable storage."""
        accepted = self.spool.append([("a:1", b"one")])
        self.assertNoResult(accepted)
        synced = self.bench.filesystem.synced
        self.bench.writer.step()
        self.assertGreater(self.bench.filesystem.synced, synced)
        self.assertEqual(self.successResultOf(accepted), [(self.spool.queue("a:1"), 1)])

    def test_order_of_result(self) -> None:
        """The result has queue and number of each record, in the order of the chunk, over several destinations."""
        accepted = self.bench.result(self.spool.append([("a:1", b"x"), ("b:2", b"y"), ("a:1", b"z")]))
        self.assertEqual(
            [(queue.destination, number) for queue, number in accepted], [("a:1", 1), ("b:2", 1), ("a:1", 2)]
        )

    def test_group_commit(self) -> None:
        """All chunks that wait when the writer becomes free go into one write for each journal."""
        self.bench.append(b"first")
        self.bench.append(b"first", destination="b:2")
        waiting = [self.spool.append([("a:1", b"0")])]
        waiting += [self.spool.append([("a:1", b"%d" % number), ("b:2", b"")]) for number in range(50)]
        self.assertEqual(len(self.bench.writer.jobs), 1)
        self.bench.writer.step()
        synced = self.bench.filesystem.synced
        self.bench.writer.step()
        self.assertEqual(self.bench.filesystem.synced, synced + 2)
        for accepted in waiting:
            self.successResultOf(accepted)

    def test_empty_chunk(self) -> None:
        """A chunk of nothing is stored at once."""
        self.assertEqual(self.successResultOf(self.spool.append([])), [])

    def test_record_size(self) -> None:
        """P10: a record of n-1 and n bytes is stored, of n+1 refused, and its chunk with it."""
        bench = Bench(Limits(record_bytes=100))
        spool = bench.open()
        bench.append(b"x" * 99)
        bench.append(b"x" * 100)
        self.failureResultOf(spool.append([("a:1", b"ok"), ("a:1", b"x" * 101)]), RecordTooLargeError)
        self.assertEqual(bench.drain(spool.queue("a:1")), [b"x" * 99, b"x" * 100])

    def test_destination_names(self) -> None:
        """P10: names of 1 to n bytes (not characters) are destinations; none, and n+1, are not."""
        bench = Bench(Limits(destination_bytes=20))
        spool = bench.open()
        for name in ("x", "x" * 19, "x" * 20, "š" * 10, "\udcff\udcfe"):
            bench.append(b"", destination=name)
        for name in ("", "x" * 21, "š" * 10 + "x"):
            self.failureResultOf(spool.append([(name, b"")]), BadDestinationError)
        self.assertEqual(
            sorted(queue.destination for queue in bench.reopen().queues()),
            sorted(["x", "x" * 19, "x" * 20, "š" * 10, "\udcff\udcfe"]),
        )

    def test_number_of_destinations(self) -> None:
        """P10: n-1 and n destinations are served, number n+1 is refused, the others go on."""
        bench = Bench(Limits(destinations=2))
        spool = bench.open()
        bench.append(b"", destination="a:1")
        bench.append(b"", destination="b:2")
        self.failureResultOf(spool.append([("a:1", b""), ("c:3", b"")]), SpoolFullError)
        self.assertRaises(SpoolFullError, spool.queue, "c:3")
        self.assertEqual(bench.append(b"", destination="a:1"), [2])

    def test_congestion(self) -> None:
        """P6, P10: below n waiting bytes chunks are taken, at n and above refused, until half of them are stored."""
        size = RECORD_OVERHEAD + 100
        bench = Bench(Limits(waiting_bytes=3 * size))
        spool = bench.open()
        waiting = [spool.append([("a:1", bytes(100))]) for _ in range(2)]
        self.assertFalse(spool.congested)
        self.successResultOf(spool.when_ready())
        waiting.append(spool.append([("a:1", bytes(100))]))
        self.assertTrue(spool.congested)
        self.assertEqual(spool.waiting_bytes, 3 * size)
        self.failureResultOf(spool.append([("a:1", b"")]), SpoolFullError)
        ready = spool.when_ready()
        bench.writer.step()
        self.assertFalse(spool.congested)
        self.assertNoResult(ready)
        bench.writer.step()
        self.successResultOf(ready)
        for accepted in waiting:
            self.successResultOf(accepted)
        self.assertEqual(spool.waiting_bytes, 0)

    def test_disk_limit(self) -> None:
        """P6, P10: up to n bytes on disk are taken, then ENOSPC, the oldest data kept; delivery makes room again."""
        bench = Bench(Limits(segment_bytes=500, trim_bytes=1, disk_bytes=2000))
        spool = bench.open()
        count = 0
        while True:
            used = spool.disk_bytes
            try:
                bench.append(b"x" * 100)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                break
            count += 1
        self.assertGreater(used + 100 + RECORD_OVERHEAD, 2000)
        self.assertLessEqual(used, 2000)
        room = 2000 - used - RECORD_OVERHEAD
        self.failureResultOf(spool.append([("a:1", bytes(room + 1))]), OSError)
        bench.append(bytes(room))
        self.assertEqual(spool.disk_bytes, 2000)
        queue = spool.queue("a:1")
        self.assertEqual(len(bench.drain(queue)), count + 1)
        queue.acknowledge(queue.last_number)
        bench.keep_house()
        self.assertEqual(spool.disk_bytes, 0)
        bench.append(b"x" * 100)

    def test_quarantine_counts(self) -> None:
        """P6, P10: what is set aside counts for the bound of the disk, over restarts, until a person removes it."""
        bench = Bench(Limits(trim_bytes=1, disk_bytes=2000))
        spool = bench.open()
        bench.append(b"x" * 1000)
        queue = spool.queue("a:1")
        (record,) = bench.read(queue)
        bench.result(queue.quarantine(record, "refused"))
        bench.keep_house()
        (file,) = [path for path in bench.filesystem.files() if "quarantine" in path]
        kept = bench.filesystem.size(file)
        self.assertEqual(spool.disk_bytes, queue.disk_bytes + kept)
        bench.reopen()
        self.assertEqual(bench.spool.disk_bytes, kept + sum(each.disk_bytes for each in bench.spool.queues()))
        self.failureResultOf(bench.spool.append([("a:1", bytes(1500))]), OSError)
        bench.filesystem.unlink(file)
        bench.keep_house()
        bench.append(bytes(1500))

    def test_rolling(self) -> None:
        """A segment that reached its size is followed by a new one: n-1, n."""
        bench = Bench()
        bench.open()
        bench.append(b"x" * 100)
        size = bench.spool.disk_bytes
        for limit, files in ((size + 1, 1), (size, 2)):
            bench = Bench(Limits(segment_bytes=limit))
            bench.open()
            bench.append(b"x" * 100)
            bench.append(b"y")
            self.assertEqual(len(segments(bench)), files)

    def test_short_writes(self) -> None:
        """A write that takes only part of the bytes is continued until all are stored."""
        self.bench.filesystem.short_writes = True
        self.bench.append(b"one" * 50, b"two" * 50)
        self.bench.append(b"three")
        self.bench.crash(1)
        self.assertEqual(self.bench.drain(self.bench.spool.queue("a:1")), [b"one" * 50, b"two" * 50, b"three"])

    def test_not_open(self) -> None:
        """Before `open` and after `close` nothing is accepted."""
        closed = Bench().build()
        self.failureResultOf(closed.append([("a:1", b"")]), SpoolClosedError)
        self.assertRaises(SpoolClosedError, closed.queue, "a:1")
        self.bench.close()
        self.failureResultOf(self.spool.append([("a:1", b"")]), SpoolClosedError)


class ReadTests(SynchronousTestCase):
    """Records out, in order."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(segment_bytes=400))
        self.spool = self.bench.open()
        self.queue = self.spool.queue("a:1")

    @given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 500))
    def test_any_chunking(self, sizes: list[int], max_records: int, max_bytes: int) -> None:
        """P4: whatever is read at once, all records come once, in order, over all segments, with their time."""
        bench = Bench(Limits(segment_bytes=400))
        queue = bench.open().queue("a:1")
        expected = [b"%d:" % index + bytes(size) for index, size in enumerate(sizes)]
        for payload in expected:
            bench.append(payload)
        records = []
        while queue.readable:
            part = bench.read(queue, max_records, max_bytes)
            self.assertTrue(1 <= len(part) <= max_records)
            records += part
        self.assertEqual([record.payload for record in records], expected)
        self.assertEqual([record.number for record in records], list(range(1, len(sizes) + 1)))
        self.assertEqual({record.time for record in records}, {int(START_TIME * 1e6)})
        self.assertEqual(bench.result(queue.read()), [])

    def test_one_hop(self) -> None:
        """A read costs one job of the writer, however many records it returns; an empty one none."""
        self.bench.append(*[b"x"] * 500)
        read = self.queue.read()
        self.assertEqual(len(self.bench.writer.jobs), 1)
        self.bench.writer.step()
        self.assertEqual(len(self.successResultOf(read)), 500)
        self.assertEqual(self.successResultOf(self.queue.read()), [])

    def test_one_reader(self) -> None:
        """A second read while one is under way is refused, and disturbs nothing."""
        self.bench.append(b"x")
        first = self.queue.read()
        self.failureResultOf(self.queue.read(), SpoolError)
        self.bench.writer.run()
        self.assertEqual(len(self.successResultOf(first)), 1)

    def test_rewind(self) -> None:
        """P3: after `rewind` everything unacknowledged comes again, and only that."""
        for number in range(1, 11):
            self.bench.append(b"%d" % number + bytes(60))
        self.bench.drain(self.queue, 3)
        self.queue.acknowledge(4)
        self.queue.acknowledge_one(7)
        for _ in range(2):
            self.queue.rewind()
            numbers = [int(payload.rstrip(b"\0")) for payload in self.bench.drain(self.queue, 3)]
            self.assertEqual(numbers, [5, 6, 8, 9, 10])
        for number in (5, 6, 8, 9, 10):
            self.queue.acknowledge_one(number)
        self.queue.rewind()
        self.assertEqual(self.bench.drain(self.queue), [])

    def test_rewind_during_read(self) -> None:
        """A read under way at `rewind` returns nothing, so no record is with the reader twice."""
        self.bench.append(b"1", b"2")
        read = self.queue.read()
        self.queue.rewind()
        self.bench.writer.run()
        self.assertEqual(self.successResultOf(read), [])
        self.assertEqual(self.bench.drain(self.queue), [b"1", b"2"])

    def test_acknowledged_while_reading(self) -> None:
        """A late acknowledgement of records read before a rewind spares reading them again."""
        self.bench.append(b"1", b"2", b"3")
        self.bench.drain(self.queue)
        self.queue.rewind()
        read = self.queue.read()
        self.queue.acknowledge(2)
        self.bench.writer.run()
        self.assertEqual([record.payload for record in self.successResultOf(read)], [b"3"])

    def test_wake_up(self) -> None:
        """The reader is woken once for each commit, when the records can be read; what it raises stops nobody."""
        woken: list[bool] = []

        def wake_up() -> None:
            woken.append(self.queue.readable)
            raise RuntimeError("reader")

        self.queue.wake_up = wake_up
        self.bench.append(*[b"x"] * 20)
        self.assertEqual(woken, [True])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.bench.append(b"y", destination="b:2")
        self.assertEqual(woken, [True])

    def test_observers(self) -> None:
        """A new destination is announced once, before its records are stored."""
        seen: list[str] = []
        self.spool.observe(lambda queue: seen.append(queue.destination))
        self.bench.append(b"", destination="b:2")
        self.bench.append(b"", destination="b:2")
        self.assertEqual(seen, ["b:2"])

    def test_destinations_apart(self) -> None:
        """P5: what one destination has not delivered does not hold another."""
        self.bench.append(b"a")
        self.bench.append(b"b", destination="b:2")
        other = self.spool.queue("b:2")
        self.assertEqual(self.bench.drain(other), [b"b"])
        other.acknowledge(1)
        self.assertEqual((self.queue.pending, other.pending, self.spool.pending), (1, 0, 1))


class AcknowledgeTests(SynchronousTestCase):
    """Done means done after a restart too, and nothing else does."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(segment_bytes=300))
        self.spool = self.bench.open()
        self.queue = self.spool.queue("a:1")
        for number in range(1, 7):
            self.bench.append(b"%d" % number + bytes(100))
        self.bench.drain(self.queue)

    def left(self) -> list[int]:
        """Return what a new process would deliver."""
        queue = self.bench.spool.queue("a:1")
        return [int(payload.rstrip(b"\0")) for payload in self.bench.drain(queue)]

    def test_prefix(self) -> None:
        """P2: only the contiguous prefix is skipped after a restart; what was done beyond it comes again."""
        for number in (1, 2, 4, 6):
            self.queue.acknowledge_one(number)
        self.assertEqual((self.queue.pending, self.queue.prefix), (2, 2))
        self.bench.reopen()
        self.assertEqual(self.left(), [3, 4, 5, 6])

    def test_gap_closed(self) -> None:
        """The prefix jumps over all that was done before its turn."""
        for number in (6, 2, 4, 3, 1):
            self.queue.acknowledge_one(number)
        self.assertEqual((self.queue.pending, self.queue.prefix), (1, 4))
        self.queue.acknowledge_one(5)
        self.assertEqual((self.queue.pending, self.queue.prefix), (0, 6))

    def test_segments_removed(self) -> None:
        """Segments go when all in them is done and the cursor says so on disk, the others stay."""
        self.assertEqual(len(segments(self.bench)), 3)
        self.queue.acknowledge(2)
        self.assertEqual(len(segments(self.bench)), 3)
        self.bench.keep_house()
        self.assertEqual(segments(self.bench), [f"{3:020}.seg", f"{5:020}.seg"])
        self.queue.acknowledge(3)
        self.bench.keep_house()
        self.assertEqual(len(segments(self.bench)), 2)

    def test_cursor_is_lazy_but_bounded(self) -> None:
        """The cursor is written after an interval, or after so many records, not at each acknowledgement."""
        bench = Bench(Limits(cursor_records=3))
        queue = bench.open().queue("a:1")
        bench.append(*[b"x"] * 10)
        bench.keep_house()
        bench.drain(queue)
        synced = bench.filesystem.synced
        for number in (1, 2):
            queue.acknowledge(number)
        bench.writer.run()
        self.assertEqual(bench.filesystem.synced, synced)
        queue.acknowledge(3)
        bench.writer.run()
        self.assertEqual(bench.filesystem.synced, synced + 1)
        queue.acknowledge(4)
        bench.keep_house(1.0)
        self.assertEqual(bench.filesystem.synced, synced + 2)
        bench.keep_house(1.0)
        self.assertEqual(bench.filesystem.synced, synced + 2)

    def test_beyond_the_end(self) -> None:
        """Acknowledging what was never stored is an error, not a promise for the future."""
        self.assertRaises(ValueError, self.queue.acknowledge, 7)
        self.assertRaises(ValueError, self.queue.acknowledge_one, 7)
        self.queue.acknowledge(6)
        self.queue.acknowledge(2)
        self.queue.acknowledge_one(2)
        self.assertEqual(self.queue.prefix, 6)

    def test_waiting(self) -> None:
        """One can wait for a record, in any order, and for all up to a record."""
        fourth = self.queue.when_acknowledged(4)
        flush = self.queue.when_acknowledged_through(4)
        self.queue.acknowledge_one(4)
        self.successResultOf(fourth)
        self.successResultOf(self.queue.when_acknowledged(4))
        self.assertNoResult(flush)
        third = self.queue.when_acknowledged(3)
        self.queue.acknowledge(3)
        for deferred in (third, flush, self.queue.when_acknowledged_through(4)):
            self.successResultOf(deferred)
        last = self.queue.when_acknowledged(6)
        self.bench.close()
        self.failureResultOf(last, SpoolClosedError)

    def test_no_longer_waiting(self) -> None:
        """P10: who waits no longer is forgotten, also while others are told; they still are."""
        bench = Bench()
        queue = bench.open().queue("a:1")
        bench.append(b"1", b"2")
        forgotten = weakref.WeakSet[Deferred[None]]()
        for wait in (queue.when_acknowledged, queue.when_acknowledged_through):
            cancelled = wait(1)
            forgotten.add(cancelled.addErrback(lambda failure: failure.trap(CancelledError)))
            cancelled.cancel()
        del cancelled
        gc.collect()
        self.assertEqual(list(forgotten), [])
        first, second = queue.when_acknowledged(2), queue.when_acknowledged(2)
        first.addCallback(lambda _: second.cancel())
        queue.acknowledge(2)
        self.assertIsNone(self.successResultOf(first))
        self.failureResultOf(second, CancelledError)

    def test_acknowledge_in_callback(self) -> None:
        """Who waits may acknowledge more when told."""
        second = self.queue.when_acknowledged(2)
        self.queue.when_acknowledged(1).addCallback(lambda _: self.queue.acknowledge(2))
        self.queue.acknowledge(1)
        self.successResultOf(second)
        self.assertEqual(self.queue.prefix, 2)

    @given(st.lists(st.tuples(st.sampled_from(("one", "through", "missing")), st.integers(1, 30), st.integers(0, 5))))
    def test_like_a_set(self, steps: list[tuple[str, int, int]]) -> None:
        """Any order of single, prefix and range acknowledgements counts like a plain set of numbers."""
        acknowledgements = Acknowledgements(0)
        done: set[int] = set()
        for kind, number, length in steps:
            if kind == "one":
                acknowledgements.add(number)
                done.add(number)
            elif kind == "through":
                acknowledgements.add_through(number)
                done.update(range(number + 1))
            else:
                acknowledgements.add_missing(number, number + length)
                done.update(range(number, number + length + 1))
            done.discard(0)
            prefix = next(n for n in range(100) if n + 1 not in done)
            self.assertEqual(acknowledgements.prefix, prefix)
            self.assertEqual(acknowledgements.outstanding(40), 40 - len(done))
            self.assertEqual([n for n in range(1, 41) if n in acknowledgements], sorted(done))
            self.assertEqual(acknowledgements.scattered, len(done) > prefix)


class QuarantineTests(SynchronousTestCase):
    """Bad records leave the queue, but not the disk."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.spool = self.bench.open()
        self.queue = self.spool.queue("a:1")
        self.bench.append(b"good", b"bad\nline", b"good too")

    def path(self) -> str:
        return f"{JOURNAL}/quarantine/2026-11-23.txt"

    def test_stored_then_acknowledged(self) -> None:
        """P5: a quarantined record is in the file with its reason before it counts as done, and the queue goes on."""
        records = self.bench.read(self.queue)
        quarantined = self.queue.quarantine(records[1], "700/22: no such permission")
        self.assertEqual(self.queue.pending, 3)
        self.bench.result(quarantined)
        self.assertEqual((self.queue.pending, self.queue.quarantined), (2, 1))
        entries = list(decode_entries(self.bench.filesystem.files()[self.path()]))
        self.assertEqual(
            [(entry.number, entry.payload, entry.reason) for entry in entries],
            [(2, b"bad\nline", "700/22: no such permission")],
        )

    def test_failed_quarantine(self) -> None:
        """P2: a record that could not be put into quarantine is still to be done."""
        records = self.bench.read(self.queue)
        self.bench.filesystem.capacity = 0
        self.assertRaises(OSError, self.bench.result, self.queue.quarantine(records[0], "x"))
        self.assertEqual(self.queue.pending, 3)
        self.bench.filesystem.capacity = None
        self.bench.result(self.queue.quarantine(records[0], "y"))
        self.assertEqual(self.queue.pending, 2)

    def test_torn_entry_apart(self) -> None:
        """P5: an entry after a torn one is not glued to it."""
        records = self.bench.read(self.queue)
        self.bench.result(self.queue.quarantine(records[0], "one"))
        data = self.bench.filesystem.files()[self.path()]
        self.bench.filesystem.put(self.path(), data + b"# lb-quar")
        self.bench.result(self.queue.quarantine(records[1], "two"))
        entries = list(decode_entries(self.bench.filesystem.files()[self.path()]))
        self.assertEqual([(entry.payload, entry.intact) for entry in entries], [(b"good", True), (b"bad\nline", True)])

    def test_outlives_the_journal(self) -> None:
        """P5: when an empty destination is removed its quarantine stays, also over restarts, and can be used again."""
        records = self.bench.read(self.queue)
        self.bench.result(self.queue.quarantine(records[0], "one"))
        self.queue.acknowledge(3)
        self.bench.keep_house()
        self.bench.keep_house(self.bench.limits.idle_time)
        self.assertEqual(self.spool.queues(), [])
        self.assertEqual([path for path in self.bench.filesystem.files() if path.startswith(JOURNAL)], [self.path()])
        self.bench.reopen()
        self.assertEqual(self.bench.spool.queues(), [])
        self.bench.append(b"new")
        self.bench.reopen()
        self.assertEqual(self.bench.drain(self.bench.spool.queue("a:1")), [b"new"])
        self.assertIn(self.path(), self.bench.filesystem.files())


class LifeTests(SynchronousTestCase):
    """Opening, closing, growing old."""

    def test_close_commits(self) -> None:
        """P1: what waited when `close` was called is committed and answered."""
        bench = Bench()
        spool = bench.open()
        waiting = [spool.append([("a:1", b"%d" % number)]) for number in range(3)]
        closed = spool.close()
        self.assertNoResult(closed)
        bench.writer.run()
        self.successResultOf(closed)
        self.successResultOf(spool.close())
        for accepted in waiting:
            self.successResultOf(accepted)
        self.assertTrue(bench.writer.stopped)
        self.assertEqual(bench.filesystem.open_files, 0)
        self.assertEqual(bench.clock.getDelayedCalls(), [])
        self.assertEqual(bench.drain(bench.open().queue("a:1")), [b"0", b"1", b"2"])

    def test_close_unopened(self) -> None:
        """Closing what was never opened does nothing."""
        bench = Bench()
        self.successResultOf(bench.spool.close())

    def test_close_answers_all(self) -> None:
        """Who waits for room when the spool closes is told."""
        bench = Bench(Limits(waiting_bytes=1))
        spool = bench.open()
        spool.append([("a:1", b"x")])
        ready = spool.when_ready()
        closed = spool.close()
        bench.writer.run()
        self.successResultOf(closed)
        self.assertTrue(ready.called)
        ready.addErrback(lambda failure: failure.trap(SpoolClosedError))

    def test_locked(self) -> None:
        """A directory that is open elsewhere is refused, and free again after `close`."""
        bench = Bench()
        first = bench.open()
        writer = bench.writer
        self.assertRaises(SpoolLockedError, bench.open)
        closed = first.close()
        writer.run()
        result_of(closed)
        bench.open()

    def test_numbers_go_on(self) -> None:
        """After a clean restart numbering, order and reading continue in the same segment."""
        bench = Bench()
        bench.open()
        bench.append(b"1", b"2")
        queue = bench.spool.queue("a:1")
        bench.drain(queue)
        queue.acknowledge(1)
        bench.reopen()
        self.assertEqual(bench.append(b"3"), [3])
        self.assertEqual(bench.drain(bench.spool.queue("a:1")), [b"2", b"3"])
        self.assertEqual(len(segments(bench)), 1)

    def test_idle_removed(self) -> None:
        """An empty destination untouched for the idle time loses its directory, and can come back."""
        bench = Bench(Limits(idle_time=100))
        spool = bench.open()
        removed: list[Queue] = []
        spool.observe(lambda queue: None, removed.append)
        bench.append(b"1")
        bench.append(b"2", destination="b:2")
        queue = spool.queue("a:1")
        bench.drain(queue)
        queue.acknowledge(1)
        bench.keep_house()
        bench.keep_house(99)
        self.assertEqual(removed, [])
        bench.keep_house(1)
        self.assertEqual(removed, [queue])
        self.assertEqual([queue.destination for queue in spool.queues()], ["b:2"])
        self.assertNotIn(JOURNAL, bench.filesystem.directories())
        self.assertEqual(bench.append(b"3"), [1])
        self.assertEqual(bench.drain(bench.reopen().queue("a:1")), [b"3"])

    def test_append_while_being_removed(self) -> None:
        """P2: a record that arrives while its idle destination is being removed is stored, whichever comes first."""
        for removal_first in (True, False):
            bench = Bench(Limits(idle_time=100))
            spool = bench.open()
            bench.append(b"1")
            queue = spool.queue("a:1")
            bench.drain(queue)
            queue.acknowledge(1)
            bench.keep_house()
            if not removal_first:
                spool.append([("b:2", b"")])  # keeps the writer busy: what follows is one job, commits first
            bench.clock.advance(100)
            self.assertEqual(len(bench.writer.jobs), 1)
            accepted = spool.append([("a:1", b"2")])
            bench.writer.run()
            self.assertEqual(result_of(accepted), [(queue, 2)])
            self.assertIs(spool.queue("a:1"), queue)
            self.assertEqual(bench.drain(queue), [b"2"])
            queue = bench.crash(3).queue("a:1")
            self.assertEqual(queue.pending, 1)
            self.assertEqual(bench.drain(queue), [b"2"])

    def test_idle_with_backlog_stays(self) -> None:
        """P2: a destination with anything undelivered is never removed, however old."""
        bench = Bench(Limits(idle_time=10))
        spool = bench.open()
        bench.append(b"1")
        for _ in range(5):
            bench.keep_house(10)
        self.assertEqual(spool.pending, 1)
        self.assertEqual(bench.drain(spool.queue("a:1")), [b"1"])

    def test_trimmed(self) -> None:
        """The last segment goes as soon as all is done if it is large, and later appends begin a new one."""
        bench = Bench(Limits(trim_bytes=500))
        spool = bench.open()
        queue = spool.queue("a:1")
        for size, files in ((100, 1), (500, 0)):
            bench.append(bytes(size))
            bench.drain(queue)
            queue.acknowledge(queue.last_number)
            bench.keep_house()
            self.assertEqual(len(segments(bench)), files)
        self.assertEqual(bench.append(b"3"), [3])
        self.assertEqual(bench.drain(queue), [b"3"])
        bench.crash(5)
        self.assertEqual(bench.drain(bench.spool.queue("a:1")), [b"3"])

    def test_open_files_bounded(self) -> None:
        """P10: however many destinations, no more than n files stay open, and all of them work."""
        bench = Bench(Limits(open_files=4))
        spool = bench.open()
        for turn in range(3):
            for number in range(20):
                bench.append(b"%d" % turn, destination=f"host{number}:1")
                self.assertLessEqual(bench.filesystem.open_files, 4)
        for queue in spool.queues():
            self.assertEqual(bench.drain(queue), [b"0", b"1", b"2"])

    def test_age(self) -> None:
        """The age is that of the oldest undelivered record, read or not, also after a restart; 0 without one."""
        bench = Bench()
        spool = bench.open()
        queue = spool.queue("a:1")
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 0)
        bench.append(b"1")
        bench.clock.advance(10)
        bench.append(b"2")
        bench.clock.advance(5)
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 15)
        bench.read(queue, 1)
        bench.read(queue, 1)
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 15)
        queue.acknowledge(1)
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 5)
        queue.acknowledge(2)
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 0)
        bench.append(b"3")
        bench.clock.advance(7)
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 7)
        queue = bench.reopen().queue("a:1")
        self.assertGreaterEqual(queue.oldest_age(bench.clock.seconds()), 7)
        bench.drain(queue)
        self.assertEqual(queue.oldest_age(bench.clock.seconds()), 7)

    def test_limits_have_defaults(self) -> None:
        """P10: every bound is an option with a default, and can be changed alone."""
        self.assertEqual(Limits().record_bytes, 104857600)
        self.assertEqual(replace(Limits(), destinations=5).waiting_bytes, 64 * 1024 * 1024)

    def test_result_of(self) -> None:
        """The tests' own way to results notices that there is none."""
        self.assertRaises(AssertionError, result_of, Deferred())
