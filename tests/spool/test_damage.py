"""What an earlier process, a failing disk or a person left in the directory: found, reported, and never in the way."""

import errno
import struct
from pathlib import Path
from zlib import crc32

from twisted.trial.unittest import SynchronousTestCase

from lb.spool.errors import JournalUnusableError
from lb.spool.limits import Limits
from lb.spool.naming import directory_name, segment_name
from lb.spool.quarantine import Entry, decode_entries
from lb.spool.segment import RECORD_OVERHEAD, encode_header
from tests.spool.harness import ROOT, Bench

JOURNAL = f"{ROOT}/journals/a%3A1"
VECTORS = Path(__file__).parent / "vectors"
PAYLOADS = [b"%d:" % number + b"abcdefgh" * number for number in range(6)]


class DamageTestCase(SynchronousTestCase):
    def filled(self, limits: Limits | None = None) -> Bench:
        """Return a bench with a closed spool that holds PAYLOADS for one destination."""
        bench = Bench(limits)
        bench.open()
        for payload in PAYLOADS:
            bench.append(payload)
        bench.close()
        return bench

    def segment(self, bench: Bench, first: int = 1) -> bytes:
        return bench.filesystem.files()[f"{JOURNAL}/{segment_name(first)}"]

    def put_segment(self, bench: Bench, data: bytes, first: int = 1) -> None:
        bench.filesystem.put(f"{JOURNAL}/{segment_name(first)}", data)

    def drop_cursor(self, bench: Bench) -> None:
        bench.filesystem.put(f"{JOURNAL}/cursor", b"")

    def entries(self, bench: Bench) -> list[Entry]:
        files = bench.filesystem.files()
        return [entry for path in files if "/quarantine/" in path for entry in decode_entries(files[path])]

    def drain(self, bench: Bench) -> list[bytes]:
        queue = bench.spool.queue("a:1")
        payloads = bench.drain(queue)
        self.assertEqual(queue.pending, len(payloads))
        return payloads


class FlippedBitTests(DamageTestCase):
    def test_any_byte_of_a_segment(self) -> None:
        """P5: a damaged byte costs the record around it only, which is in quarantine; new records are stored."""
        whole = self.segment(self.filled())
        header = len(whole) - sum(RECORD_OVERHEAD + len(payload) for payload in PAYLOADS)
        bounds = [header]
        for payload in PAYLOADS:
            bounds.append(bounds[-1] + RECORD_OVERHEAD + len(payload))
        template = self.filled().filesystem.files()
        for index in range(len(whole)):
            for cursor in (True, False):
                if index < header and not cursor:
                    continue  # then nothing tells whose segment it is, see test_set_aside
                bench = Bench()
                for path, data in template.items():
                    bench.filesystem.put(path, data)
                flipped = bytearray(whole)
                flipped[index] ^= 1 << index % 8
                self.put_segment(bench, bytes(flipped))
                if not cursor:
                    self.drop_cursor(bench)
                bench.open()
                victim = next((n for n in range(len(PAYLOADS)) if bounds[n] <= index < bounds[n + 1]), None)
                expected = [payload for number, payload in enumerate(PAYLOADS) if number != victim]
                self.assertEqual(self.drain(bench), expected)
                start, stop = (0, header) if victim is None else (bounds[victim], bounds[victim + 1])
                self.assertEqual([entry.payload for entry in self.entries(bench)], [bytes(flipped[start:stop])])
                bench.spool.queue("a:1").acknowledge(6 if victim != 5 else 5)
                bench.append(b"new")
                self.assertEqual(self.drain(bench), [b"new"])

    def test_reported_once(self) -> None:
        """A damaged region is put in quarantine once, however often the records around it are read again."""
        bench = self.filled()
        data = bytearray(self.segment(bench))
        data[-len(PAYLOADS[5]) - RECORD_OVERHEAD - 1] ^= 1
        self.put_segment(bench, bytes(data))
        queue = bench.open().queue("a:1")
        for _ in range(3):
            self.assertEqual(bench.drain(queue), PAYLOADS[:4] + PAYLOADS[5:])
            queue.rewind()
        self.assertEqual(len(self.entries(bench)), 1)
        self.assertEqual(queue.quarantined, 1)

    def test_quarantine_impossible(self) -> None:
        """P5: damage that cannot be put in quarantine, on a full disk, is not passed over; later it is."""
        bench = self.filled()
        data = bytearray(self.segment(bench))
        data[-1] ^= 1
        self.put_segment(bench, bytes(data))
        queue = bench.open().queue("a:1")
        self.assertEqual(len(bench.read(queue)), 5)
        bench.filesystem.capacity = 0
        for _ in range(2):
            self.assertRaises(OSError, bench.read, queue)
            self.assertEqual(queue.pending, 6)
        bench.filesystem.capacity = None
        self.assertEqual(bench.read(queue), [])
        self.assertEqual(queue.pending, 5)
        self.assertTrue(self.entries(bench)[-1].intact)


class TornTailTests(DamageTestCase):
    def test_any_length(self) -> None:
        """P2: a segment that ends anywhere gives all its complete records, and numbers are never given twice."""
        whole = self.segment(self.filled())
        template = self.filled().filesystem.files()
        header = len(whole) - sum(RECORD_OVERHEAD + len(payload) for payload in PAYLOADS)
        for cut in range(len(whole)):
            for cursor in (True, False):
                if cut < header and not cursor:
                    continue
                bench = Bench()
                for path, data in template.items():
                    bench.filesystem.put(path, data)
                self.put_segment(bench, whole[:cut])
                if not cursor:
                    self.drop_cursor(bench)
                bench.open()
                (number,) = bench.append(b"new")
                expected = []
                end = header
                for payload in PAYLOADS:
                    end += RECORD_OVERHEAD + len(payload)
                    if end <= cut:
                        expected.append(payload)
                self.assertGreater(number, len(PAYLOADS) if cursor else len(expected))
                self.assertEqual(self.drain(bench), [*expected, b"new"])
                bench.reopen()
                self.assertEqual(self.drain(bench), [*expected, b"new"])

    def test_zeros(self) -> None:
        """A tail of zeros, as some file systems leave it, is noted in quarantine without its content."""
        bench = self.filled()
        self.put_segment(bench, self.segment(bench) + bytes(3_000_000))
        bench.open()
        bench.append(b"new")
        self.assertEqual(self.drain(bench), [*PAYLOADS, b"new"])
        entries = self.entries(bench)
        self.assertEqual({entry.payload for entry in entries}, {b""})
        self.assertEqual(len(entries), 3)
        self.assertIn("zero bytes", entries[0].reason)


class LeftoverTests(DamageTestCase):
    def test_empty_segment(self) -> None:
        """A segment that was only just created when the process died costs nothing."""
        bench = self.filled()
        self.put_segment(bench, b"", 7)
        bench.open()
        bench.append(b"new")
        self.assertEqual(self.drain(bench), [*PAYLOADS, b"new"])
        self.assertEqual(self.entries(bench), [])

    def test_only_empty_segment(self) -> None:
        """P5: a journal of which only an empty segment exists is moved away, and its destination begins anew."""
        bench = Bench()
        bench.filesystem.put(f"{JOURNAL}/{segment_name(1)}", b"")
        bench.open()
        self.assertEqual(bench.append(b"new"), [1])
        self.assertEqual(bench.drain(bench.crash(2).queue("a:1")), [b"new"])

    def test_no_segments(self) -> None:
        """Directories without segments go, with a cursor in them or not."""
        bench = Bench()
        bench.filesystem.put_directory(f"{ROOT}/journals/empty")
        bench.filesystem.put(f"{JOURNAL}/cursor", b"x")
        bench.open()
        self.assertEqual(bench.filesystem.directories(), ["/", ROOT, f"{ROOT}/journals"])

    def test_missing_cursor(self) -> None:
        """P2: without its cursor a journal is delivered from the oldest segment on."""
        bench = self.filled(Limits(segment_bytes=100))
        bench.open()
        queue = bench.spool.queue("a:1")
        bench.read(queue)
        queue.acknowledge(1)
        bench.close()
        bench.filesystem.unlink(f"{JOURNAL}/cursor")
        bench.open()
        self.assertEqual(self.drain(bench), PAYLOADS)
        bench.spool.queue("a:1").acknowledge(3)
        self.assertEqual(self.drain(self.reopened(bench)), PAYLOADS[3:])

    def reopened(self, bench: Bench) -> Bench:
        bench.reopen()
        return bench

    def test_cursor_of_another_journal(self) -> None:
        """P2: a cursor that belongs to another incarnation of the destination does not count."""
        other = self.filled()
        other.open()
        other.drain(other.spool.queue("a:1"))
        other.spool.queue("a:1").acknowledge(6)
        other.close()
        bench = Bench()
        bench.build()
        bench._identity(16)
        bench.open()
        for payload in PAYLOADS:
            bench.append(payload)
        bench.close()
        bench.filesystem.put(f"{JOURNAL}/cursor", other.filesystem.files()[f"{JOURNAL}/cursor"])
        bench.open()
        self.assertEqual(self.drain(bench), PAYLOADS)
        bench.spool.queue("a:1").acknowledge(4)
        self.assertEqual(self.drain(self.reopened(bench)), PAYLOADS[4:])

    def test_segment_of_another_journal(self) -> None:
        """P5: a segment somebody put there from another journal is put in quarantine, not delivered."""
        bench = self.filled()
        foreign = encode_header(b"somebody else's!", 4, 0, "a:1") + b"content"
        self.put_segment(bench, self.segment(bench), 5)
        self.put_segment(bench, foreign, 1)
        bench.open()
        bench.spool.queue("a:1")
        self.assertEqual(self.drain(bench), PAYLOADS[4:])
        self.assertIn(foreign, [entry.payload for entry in self.entries(bench)])


class UnusableTests(DamageTestCase):
    def test_set_aside(self) -> None:
        """P5: a journal whose files do not tell what it is is moved away whole, and its destination begins anew."""
        bench = self.filled()
        bench.open()
        bench.append(b"other", destination="b:2")
        bench.close()
        data = bytearray(self.segment(bench))
        data[30] ^= 1
        self.put_segment(bench, bytes(data))
        self.drop_cursor(bench)
        bench.open()
        self.assertEqual(bench.drain(bench.spool.queue("b:2")), [b"other"])
        self.assertEqual(bench.append(b"new"), [1])
        self.assertEqual(bench.drain(bench.crash(1).queue("a:1")), [b"new"])
        aside = [data for path, data in bench.filesystem.files().items() if path.startswith(f"{ROOT}/damaged/a%3A1.")]
        self.assertIn(bytes(data), aside)

    def test_set_aside_fails(self) -> None:
        """P5: if it cannot even be moved away it is left alone, its destination refused, and the others served."""
        bench = self.filled()
        self.put_segment(bench, b"rubbish")
        self.drop_cursor(bench)

        def rename(source: str, target: str) -> None:
            raise OSError(errno.EIO, "I/O error")

        self.patch(bench.filesystem, "rename", rename)
        spool = bench.open()
        self.assertEqual(list(spool.unusable), ["a%3A1"])
        self.failureResultOf(spool.append([("a:1", b"")]), JournalUnusableError)
        self.assertEqual(bench.append(b"", destination="b:2"), [1])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_wrong_directory(self) -> None:
        """P5: a copy of a journal under another name is moved away, so that nothing is delivered twice."""
        bench = self.filled()
        bench.filesystem.put(f"{ROOT}/journals/copy/{segment_name(1)}", self.segment(bench))
        spool = bench.open()
        self.assertEqual([queue.destination for queue in spool.queues()], ["a:1"])
        self.assertEqual(self.drain(bench), PAYLOADS)

    def test_disk_error(self) -> None:
        """P5: a journal that cannot be read at start is refused and left untouched; the others are served."""
        bench = self.filled()
        before = bench.filesystem.files()
        read = bench.filesystem.read

        def broken(fd: int, length: int, offset: int) -> bytes:
            raise OSError(errno.EIO, "I/O error")

        bench.filesystem.read = broken  # type: ignore[method-assign]
        spool = bench.open()
        self.failureResultOf(spool.append([("a:1", b"")]), JournalUnusableError)
        bench.append(b"", destination="b:2")
        bench.filesystem.read = read  # type: ignore[method-assign]
        bench.close()
        after = bench.filesystem.files()
        self.assertEqual({path: after[path] for path in before}, before)
        bench.open()
        self.assertEqual(self.drain(bench), PAYLOADS)

    def test_read_error(self) -> None:
        """P2: a read that fails is answered with the error, and the next one tries the same records again."""
        bench = self.filled()
        queue = bench.open().queue("a:1")
        bench.filesystem.fail_at = bench.filesystem.count + 1
        self.assertRaises(OSError, bench.read, queue)
        bench.filesystem.heal()
        self.assertEqual(self.drain(bench), PAYLOADS)

    def test_later_version(self) -> None:
        """P9: files of a later version are refused and left as they are, even if only the cursor tells."""
        segment = bytearray(self.segment(self.filled()))
        length = struct.unpack_from("<H", segment, 10)[0]
        struct.pack_into("<H", segment, 8, 2)
        struct.pack_into("<I", segment, length - 4, crc32(segment[: length - 4]))
        bench = self.filled()
        self.put_segment(bench, bytes(segment))
        before = bench.filesystem.files()
        spool = bench.open()
        self.failureResultOf(spool.append([("a:1", b"")]), JournalUnusableError)
        self.assertEqual(bench.filesystem.files(), before)

    def test_not_a_directory(self) -> None:
        """P5: a stray file among the journals disturbs nobody."""
        bench = self.filled()
        bench.filesystem.put(f"{ROOT}/journals/README", b"hello")
        bench.open()
        self.assertEqual(self.drain(bench), PAYLOADS)


class VersionTests(DamageTestCase):
    def test_version_1(self) -> None:
        """P9: a directory written by version 1 is opened, continued behind its cursor, and appended to."""
        bench = Bench()
        destination = "lb.example.org:9001/\udcff\u0161"
        directory = f"{ROOT}/journals/{directory_name(destination)}"
        bench.filesystem.put(f"{directory}/{segment_name(41)}", (VECTORS / "segment-1.bin").read_bytes())
        bench.filesystem.put(f"{directory}/cursor", (VECTORS / "cursor-1.bin").read_bytes())
        queue = bench.open().queue(destination)
        self.assertEqual(queue.pending, 1)
        self.assertEqual(bench.append(b"next", destination=destination), [44])
        self.assertEqual(bench.drain(queue), [b"with \xff\x00 and\na line", b"next"])


class StartTests(DamageTestCase):
    def test_backlog_is_not_read(self) -> None:
        """P8: what opening reads and does grows with the destinations, not with the backlog behind them."""
        costs = []
        for count in (5, 100):
            bench = Bench(Limits(segment_bytes=20_000))
            bench.open()
            for _ in range(count):
                bench.append(*[bytes(1000)] * 20)
            bench.close()
            filesystem = bench.filesystem
            filesystem.bytes_read = 0
            bench.open()
            self.assertEqual(bench.spool.pending, count * 20)
            costs.append(filesystem.bytes_read)
        self.assertEqual(costs[0], costs[1])

    def test_crash_reads_a_tail(self) -> None:
        """P8: after a crash no more than the last segment is read, and of that only what the cursor did not see."""
        bench = Bench()
        bench.open()
        bench.append(*[bytes(1000)] * 1000)
        bench.keep_house()
        bench.append(*[bytes(1000)] * 10)
        bench.filesystem.bytes_read = 0
        spool = bench.crash(kill=True)
        self.assertEqual(spool.pending, 1010)
        self.assertLess(bench.filesystem.bytes_read, 40_000)
