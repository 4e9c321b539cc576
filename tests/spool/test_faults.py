"""Every operation on the disk fails in turn, or is the last one before a crash; what was promised must hold."""

import errno
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lb.spool.cursor import FILE_SIZE
from lb.spool.limits import Limits
from lb.spool.quarantine import decode_entries
from lb.spool.queue import Queue
from lb.spool.segment import Record
from tests.spool.faults import CrashError
from tests.spool.harness import Bench

LIMITS = Limits(segment_bytes=300, trim_bytes=200, idle_time=20, cursor_records=4, open_files=3)
DESTINATIONS = ("a:1", "b:2", "c" * 250)


class World:
    """A bench, and what its senders and receivers know: the promises are checked against that.

    A payload is `DESTINATION number`, numbers growing in the order of appending.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test = test
        self.bench = Bench(LIMITS)
        self.count = 0
        self.sent: set[bytes] = set()
        self.accepted: dict[str, list[int]] = {name: [] for name in DESTINATIONS}
        self.delivered: dict[str, set[int]] = {name: set() for name in DESTINATIONS}
        self.persisted: dict[str, set[int]] = {name: set() for name in DESTINATIONS}
        self.held: dict[Queue, list[Record]] = {}
        self.done: dict[Queue, dict[int, int]] = {}  # by the journal's numbers
        self.in_quarantine: set[bytes] = set()
        self.unanswered: list[Deferred[object]] = []

    # Steps

    def append(self, names: list[str], size: int) -> None:
        chunk = []
        numbers: dict[str, list[int]] = {}
        for name in names:
            self.count += 1
            payload = b"%s %d %s" % (name.encode(), self.count, b"." * size)
            chunk.append((name, payload))
            numbers.setdefault(name, []).append(self.count)
            self.sent.add(payload)
        appended = self.bench.spool.append(chunk)

        def accepted(_: object) -> None:
            for name, part in numbers.items():
                self.accepted[name] += part

        self.watch(appended.addCallback(accepted))

    def watch(self, deferred: Deferred[object]) -> None:
        """Note that an answer is due; a failure of the disk is one."""
        self.unanswered.append(deferred)

        def answered(result: object) -> None:
            self.unanswered.remove(deferred)
            if isinstance(result, Failure):
                result.trap(OSError)

        deferred.addBoth(answered)

    def run(self) -> None:
        self.bench.writer.run()
        self.test.assertEqual(self.unanswered, [])

    def queue(self, name: str) -> Queue:
        return self.bench.spool.queue(name)

    def read(self, name: str, count: int) -> None:
        queue = self.queue(name)

        def received(records: list[Record]) -> None:
            self.held.setdefault(queue, []).extend(records)
            for record in records:
                self.test.assertIn(record.payload, self.sent)
                self.test.assertNotIn(self.number(record.payload), self.persisted[name])

        self.watch(queue.read(count, 150).addCallback(received))
        self.run()

    def acknowledge(self, name: str, count: int, *, reverse: bool) -> None:
        queue = self.queue(name)
        held = self.held.get(queue, [])
        records, self.held[queue] = held[:count], held[count:]
        for record in reversed(records) if reverse else records:
            queue.acknowledge_one(record.number)
            self.note_delivered(queue, record)

    def note_delivered(self, queue: Queue, record: Record) -> None:
        number = self.number(record.payload)
        self.delivered[queue.destination].add(number)
        self.done.setdefault(queue, {})[record.number] = number

    def quarantine(self, name: str) -> None:
        queue = self.queue(name)
        held = self.held.get(queue, [])
        if held:
            record = held.pop(0)

            def done(_: object) -> None:
                self.note_delivered(queue, record)
                self.in_quarantine.add(record.payload)

            self.watch(queue.quarantine(record, "bad").addCallback(done))
            self.run()

    def rewind(self, name: str) -> None:
        queue = self.queue(name)
        queue.rewind()
        self.held[queue] = []

    def keep_house(self, seconds: float) -> None:
        """Let time pass; if the disk was well all the while, cursors are on it now."""
        well = not self.bench.filesystem.fail_at
        self.bench.keep_house(seconds)
        if well:
            for queue, numbers in self.done.items():
                self.persisted[queue.destination].update(
                    number for record, number in numbers.items() if record <= queue.prefix
                )

    def restart(self, seed: int, *, kill: bool) -> None:
        self.unanswered.clear()
        self.held.clear()
        self.done.clear()
        self.bench.crash(seed, kill=kill)
        self.test.assertEqual(self.bench.spool.unusable, {})

    def guarded(self, step: Callable[[], None], seed: int = 0) -> None:
        """Take a step; if the machine stops in it, start again."""
        try:
            step()
        except CrashError:
            self.restart(seed, kill=False)

    # The promises

    def check(self) -> None:
        """Deliver everything on a healthy disk, after a clean restart, and compare with what was promised."""
        self.bench.filesystem.heal()
        self.run()
        self.bench.reopen()
        self.test.assertEqual(self.bench.spool.unusable, {})
        for name in DESTINATIONS:
            queue = self.queue(name)
            payloads = self.bench.drain(queue, 7)
            self.test.assertLessEqual(set(payloads), self.sent)
            numbers = [self.number(payload) for payload in payloads]
            # P2: nothing accepted is missing. P4: in order, each once.
            self.test.assertEqual(set(self.accepted[name]) - self.delivered[name] - set(numbers), set())
            self.test.assertEqual(numbers, sorted(set(numbers)))
            self.test.assertEqual(set(numbers) & self.persisted[name], set())
            self.test.assertEqual(queue.pending, len(numbers))
            queue.acknowledge(queue.last_number)
        found = set()
        for path, data in self.bench.filesystem.files().items():
            if "/quarantine/" in path:
                found |= {entry.payload for entry in decode_entries(data) if entry.reason == "bad"}
        self.test.assertLessEqual(self.in_quarantine, found)
        self.bench.reopen()
        for name in DESTINATIONS:
            self.test.assertEqual(self.bench.drain(self.queue(name)), [])
        self.bench.append(b"after", destination="a:1")
        self.test.assertEqual(self.bench.drain(self.queue("a:1")), [b"after"])
        self.test.flushLoggedErrors(OSError)

    @staticmethod
    def number(payload: bytes) -> int:
        return int(payload.split(b" ")[1])


def scenario(world: World) -> list[Callable[[], None]]:
    """Return the steps of a day in which everything happens that touches the disk."""
    a, b, c = DESTINATIONS
    return [
        lambda: world.append([a], 10),
        world.run,
        lambda: world.append([a, b, a, c], 50),
        lambda: world.append([b], 20),
        world.run,
        lambda: world.read(a, 2),
        lambda: world.acknowledge(a, 2, reverse=True),
        lambda: world.keep_house(1),
        lambda: world.append([a] * 4, 60),
        world.run,
        lambda: world.append([a, a, b], 100),
        world.run,
        lambda: world.read(b, 9),
        lambda: world.quarantine(b),
        lambda: world.acknowledge(b, 9, reverse=False),
        lambda: world.read(a, 5),
        lambda: world.acknowledge(a, 3, reverse=False),
        lambda: world.rewind(a),
        lambda: world.keep_house(1),
        lambda: world.read(c, 5),
        lambda: world.acknowledge(c, 5, reverse=False),
        lambda: world.keep_house(1),
        lambda: world.keep_house(20),
        lambda: world.append([c], 5),
        world.run,
        lambda: world.read(a, 50),
        lambda: world.acknowledge(a, 50, reverse=True),
        lambda: world.keep_house(1),
        lambda: world.bench.close(),
        lambda: open_again(world),
        lambda: world.append([a, c], 5),
        world.run,
        lambda: world.read(a, 5),
    ]


def open_again(world: World) -> None:
    """Open the spool as often as it takes: a disk that fails at that moment may be well the next."""
    world.held.clear()
    world.done.clear()
    for _ in range(4):
        try:
            world.bench.open()
        except OSError:
            continue
        if not world.bench.spool.unusable:
            return
        world.bench.close()
    raise AssertionError("the spool cannot be opened")


class EveryOperationTests(SynchronousTestCase):
    """One fault at each operation of the scenario."""

    def opened(self) -> World:
        world = World(self)
        open_again(world)
        return world

    def operations(self) -> int:
        world = self.opened()
        for step in scenario(world):
            step()
        count = world.bench.filesystem.count
        world.check()
        self.assertEqual(
            {name: len(numbers) for name, numbers in world.accepted.items()}, {"a:1": 10, "b:2": 3, "c" * 250: 3}
        )
        return count

    def test_every_operation_fails(self) -> None:
        """P1, P2, P5: whichever operation fails, every sender is answered, and what was accepted is delivered."""
        for error in (errno.EIO, errno.ENOSPC):
            for number in range(1, self.operations() + 1):
                world = World(self)
                world.bench.filesystem.error = error
                world.bench.filesystem.fail_at = number
                open_again(world)
                for step in scenario(world):
                    step()
                world.check()

    def test_disk_dies(self) -> None:
        """P1, P2, P6: from any operation on all fail; after repair what was accepted before is delivered."""
        for number in range(1, self.operations() + 1, 2):
            world = self.opened()
            world.bench.filesystem.fail_at = world.bench.filesystem.count + number
            world.bench.filesystem.keep_failing = True
            steps = scenario(world)
            for step in steps[: steps.index(steps[-5])]:
                step()
            world.check()

    def test_crash_everywhere(self) -> None:
        """P1, P2: the machine stops in any operation, and the disk keeps any part of what was not flushed."""
        for number in range(1, self.operations() + 1):
            for seed in range(4):
                world = World(self)
                world.bench.filesystem.crash_at = number
                world.guarded(lambda world=world: open_again(world), seed)
                for step in scenario(world):
                    world.guarded(step, seed)
                world.check()

    def test_full_disk_and_recovery(self) -> None:
        """P6: on a full disk appends fail with ENOSPC and nothing stored is lost; with room again they work."""
        for room in range(0, 700, 9):
            world = self.opened()
            world.append(["a:1", "b:2"], 30)
            world.run()
            filesystem = world.bench.filesystem
            filesystem.capacity = sum(map(len, filesystem.files().values())) + room
            for _ in range(6):
                world.append(["a:1", "c" * 250], 40)
                world.append(["b:2"], 40)
                world.run()
            self.assertLess(sum(map(len, world.accepted.values())), 20)
            self.assertGreaterEqual(sum(map(len, world.accepted.values())), 2)
            filesystem.capacity = None
            before = sum(map(len, world.accepted.values()))
            world.append(["a:1", "b:2", "c" * 250], 40)
            world.run()
            self.assertEqual(sum(map(len, world.accepted.values())), before + 3)
            world.check()

    def test_delivery_makes_room(self) -> None:
        """P2, P6: what is delivered makes room even on a disk too full for a cursor, and a crash then loses nothing."""
        for delivered in (0, 1, 4, 9, 10):
            for crash in range(12):
                bench, queue = self.full_disk(delivered)
                bench.filesystem.crash_at = bench.filesystem.count + crash if crash else 0
                try:
                    bench.keep_house()
                    self.assertEqual(self.has_room(bench), delivered > 3)
                except CrashError:
                    pass
                self.flushLoggedErrors(OSError)
                queue = bench.crash(crash).queue("a:1")
                left = [payload for payload in bench.drain(queue) if payload != b"new"]
                self.assertEqual(left[-10 + delivered :] if delivered < 10 else [], list(self.payloads[delivered:]))
                self.assertEqual(bench.append(b"last"), [queue.last_number])
                self.assertEqual(bench.drain(queue), [b"last"])
                bench.close()

    payloads = tuple(b"%d" % number * 99 for number in range(10))

    def full_disk(self, delivered: int) -> tuple[Bench, Queue]:
        """A full disk with ten records, as many of them delivered."""
        bench = Bench(LIMITS)
        queue = bench.open().queue("a:1")
        for payload in self.payloads:
            bench.append(payload)
        bench.filesystem.capacity = sum(map(len, bench.filesystem.files().values()))
        bench.filesystem.error = errno.ENOSPC
        self.assertFalse(self.has_room(bench))
        bench.drain(queue)
        queue.acknowledge(delivered)
        return bench, queue

    def has_room(self, bench: Bench) -> bool:
        try:
            bench.append(b"new")
        except OSError as error:
            self.assertEqual(error.errno, errno.ENOSPC)
            return False
        return True

    def test_cursor_has_its_place(self) -> None:
        """P6: the first write of a cursor fills both of its slots, so that later ones need no room on the disk."""
        bench = Bench()
        bench.open()
        written = []
        write = bench.filesystem.write_durably

        def watching(fd: int, data: bytes, offset: int) -> int:
            written.append(range(offset, offset + len(data)))
            return write(fd, data, offset)

        self.patch(bench.filesystem, "write_durably", watching)
        bench.append(b"1")
        self.assertEqual(written[1], range(FILE_SIZE))

    def test_failed_chunk_alone(self) -> None:
        """P5: a journal that fails takes only the chunks with it that touch it."""
        world = self.opened()
        world.append(["a:1", "b:2"], 10)
        world.run()
        filesystem = world.bench.filesystem
        world.append(["c" * 250], 0)  # keeps the writer busy, so that what follows is one commit
        world.append(["b:2"], 10)
        world.append(["a:1"], 10)
        world.append(["a:1", "b:2"], 10)
        world.bench.writer.step()
        filesystem.fail_at = filesystem.count + 1
        if not filesystem.open_files:
            raise AssertionError("the segment is not open")
        world.run()
        self.assertEqual([len(world.accepted[name]) for name in ("a:1", "b:2")], [2, 1])
        world.check()

    def test_new_segment_after_failed_write(self) -> None:
        """P1: after a failed fsync the segment is never appended to again, and pending does not count what failed."""
        bench = Bench()
        queue = bench.open().queue("a:1")
        bench.append(b"1")
        bench.filesystem.fail_at = bench.filesystem.count + 2
        self.assertRaises(OSError, bench.append, b"2")
        self.assertEqual(queue.pending, 1)
        bench.filesystem.heal()
        bench.append(b"3")
        self.assertEqual(queue.pending, 2)
        self.assertEqual(len([path for path in bench.filesystem.files() if path.endswith(".seg")]), 2)
        self.assertEqual(bench.drain(queue), [b"1", b"3"])
        self.assertEqual(queue.pending, 2)
        queue.acknowledge(queue.last_number)
        self.assertEqual(bench.drain(bench.reopen().queue("a:1")), [])

    def test_failed_record_is_gone(self) -> None:
        """P1: of a chunk answered with an error nothing is delivered after a restart either, if the disk allows."""
        for stored in ([], [b"1"]):
            failures = 0
            while True:
                bench = Bench()
                bench.open()
                for payload in stored:
                    bench.append(payload)
                bench.filesystem.fail_at = bench.filesystem.count + failures + 1
                try:
                    bench.append(b"2")
                except OSError:
                    failures += 1
                else:
                    break
                bench.filesystem.heal()
                segments = [path for path in bench.filesystem.files() if path.endswith(".seg")]
                self.assertEqual(len(segments), len(stored))
                self.assertEqual(bench.drain(bench.reopen().queue("a:1")), stored)
            self.assertGreaterEqual(failures, 2)

    def test_seen_once_is_seen_again(self) -> None:
        """P2: what a killed process wrote and never flushed is flushed at the next start, before it is delivered."""
        for seed in range(8):
            bench = Bench()
            bench.open()
            bench.append(b"1")
            bench.filesystem.crash_at = bench.filesystem.count + 2
            self.assertRaises(CrashError, bench.append, b"2")
            bench.crash(kill=True)
            self.assertEqual(bench.drain(bench.spool.queue("a:1")), [b"1", b"2"])
            bench.crash(seed)
            self.assertEqual(bench.drain(bench.spool.queue("a:1")), [b"1", b"2"])

    def test_cursor_in_short_writes(self) -> None:
        """A cursor is complete on disk however many writes it took."""
        bench = Bench()
        queue = bench.open().queue("a:1")
        bench.append(b"1", b"2")
        bench.filesystem.short_writes = True
        bench.drain(queue)
        queue.acknowledge(1)
        bench.keep_house()
        self.assertEqual(bench.drain(bench.crash(1).queue("a:1")), [b"2"])

    def test_unforeseen_error(self) -> None:
        """P1: whatever goes wrong in the writer, senders get an answer that is not success."""
        bench = Bench()
        spool = bench.open()
        self.patch(bench.filesystem, "write_durably", lambda fd, data, offset: 1 // 0)
        self.assertRaises(ZeroDivisionError, bench.append, b"1")
        self.patch(bench.filesystem, "listdir", lambda path: 1 // 0)
        spool.close()
        bench.writer.run()
        self.flushLoggedErrors(ZeroDivisionError)


names = st.sampled_from(DESTINATIONS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(names, min_size=1, max_size=5), st.integers(0, 150)),
        st.tuples(st.just("run")),
        st.tuples(st.just("read"), names, st.integers(1, 6)),
        st.tuples(st.just("acknowledge"), names, st.integers(1, 6), st.booleans()),
        st.tuples(st.just("quarantine"), names),
        st.tuples(st.just("rewind"), names),
        st.tuples(st.just("keep_house"), st.sampled_from((1, 1, 20))),
        st.tuples(st.just("fail"), st.integers(1, 12), st.sampled_from((errno.EIO, errno.ENOSPC)), st.booleans()),
        st.tuples(st.just("heal")),
        st.tuples(st.just("crash"), st.integers(1, 20)),
        st.tuples(st.just("restart"), st.integers(0, 999), st.booleans()),
        st.tuples(st.just("reopen")),
    ),
    max_size=40,
)


class AnySequenceTests(SynchronousTestCase):
    """Any sequence of everything."""

    @settings(max_examples=150, deadline=None)
    @given(steps, st.integers(0, 999))
    def test_promises(self, sequence: list[tuple[object, ...]], seed: int) -> None:
        """P1, P2, P4: after any sequence of appends, reads, failures and crashes all accepted records are delivered."""
        world = World(self)
        open_again(world)
        filesystem = world.bench.filesystem
        for kind, *arguments in sequence:
            if kind == "fail":
                filesystem.fail_at = filesystem.count + arguments[0]
                filesystem.error = arguments[1]
                filesystem.keep_failing = arguments[2]
            elif kind == "heal":
                filesystem.heal()
            elif kind == "crash":
                filesystem.crash_at = filesystem.count + arguments[0]
            elif kind == "restart":
                world.restart(arguments[0], kill=arguments[1])
            elif kind == "reopen":
                filesystem.heal()
                world.run()
                world.bench.close()
                open_again(world)
            elif kind == "acknowledge":
                world.guarded(lambda a=arguments: world.acknowledge(a[0], a[1], reverse=a[2]), seed)
            else:
                world.guarded(lambda k=kind, a=arguments: getattr(world, k)(*a), seed)
        world.check()
