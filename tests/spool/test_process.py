"""The real thing: files, the writer thread, the reactor, and two processes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.spool.errors import SpoolLockedError
from lb.spool.filesystem import OSFileSystem, make_directory, write_all
from lb.spool.limits import Limits
from lb.spool.spool import Spool

ROOT = Path(__file__).parents[2]


class Child:
    """The process of child.py."""

    def __init__(self, directory: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.spool.child", directory],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> list[str]:
        """Kill it; return the rest of its output, complete lines only."""
        self.process.kill()
        out, _ = self.process.communicate()
        return out[: out.rfind("\n") + 1].splitlines()


class ProcessTests(TestCase):
    def child(self, directory: str) -> Child:
        child = Child(directory)
        self.addCleanup(child.process.kill)
        return child

    def place(self) -> str:
        return os.path.abspath(self.mktemp())

    def spool(self, directory: str, limits: Limits | None = None) -> Spool:
        spool = Spool.threaded(directory, reactor, reactor.callFromThread, limits)
        spool.open()
        self.addCleanup(spool.close)
        return spool

    async def test_thread(self) -> None:
        """P1, P4: through the thread and the reactor all chunks are stored, read in order, and survive a restart."""
        directory = self.mktemp()
        spool = self.spool(directory, Limits(segment_bytes=50_000))
        chunks = [[("a:1", b"%d" % (10 * c + r)) for r in range(10)] for c in range(500)]
        accepted = await gatherResults([spool.append(chunk) for chunk in chunks])
        self.assertEqual([number for chunk in accepted for _, number in chunk], list(range(1, 5001)))
        queue = spool.queue("a:1")
        payloads: list[bytes] = []
        while queue.readable:
            records = await queue.read(333)
            payloads += [record.payload for record in records]
            queue.acknowledge(records[-1].number - 100)
        self.assertEqual(payloads, [b"%d" % number for number in range(5000)])
        await queue.quarantine(records[-1], "enough")
        await spool.close()
        spool = self.spool(directory)
        self.assertEqual(spool.pending, 100)
        records = await spool.queue("a:1").read()
        self.assertEqual([record.number for record in records], list(range(4901, 5001)))

    async def test_killed(self) -> None:
        """P1, P2: of a process killed at any instant nothing that it reported as accepted is missing."""
        directory = self.place()
        accepted: set[tuple[str, int]] = set()
        for lines in (1, 40, 333):
            child = self.child(directory)
            printed = [child.line() for _ in range(lines)]
            for line in printed[1:] + child.kill():
                if line != "open":
                    name, number = line.split()
                    accepted.add((name, int(number)))
        self.assertGreater(len(accepted), 300)
        spool = self.spool(directory)
        found = set()
        for queue in spool.queues():
            numbers: list[int] = []
            while queue.readable:
                numbers += [record.number for record in await queue.read()]
            self.assertEqual(numbers, sorted(set(numbers)))
            found |= {(queue.destination, number) for number in numbers}
        self.assertEqual(accepted - found, set())

    async def test_two_processes(self) -> None:
        """A second process gets a clear error; when the first is gone, by kill too, the directory is free."""
        directory = self.place()
        child = self.child(directory)
        self.assertEqual(child.line(), "open")
        self.assertRaises(SpoolLockedError, self.spool, directory)
        child.kill()
        spool = self.spool(directory)
        second = self.child(directory)
        _, error = second.process.communicate()
        self.assertEqual(second.process.returncode, 1)
        self.assertIn(f"spool {directory} is in use by another process", error)
        await spool.close()


class FileSystemTests(SynchronousTestCase):
    """The real system calls keep the promises of the interface."""

    def setUp(self) -> None:
        self.filesystem = OSFileSystem()
        self.directory = os.path.abspath(self.mktemp())
        make_directory(self.filesystem, os.path.join(self.directory, "deep", "er"))
        self.path = os.path.join(self.directory, "file")

    def test_read_and_write(self) -> None:
        """Bytes go where they belong, reads end at the end of the file, and only the owner can read it."""
        fd = self.filesystem.open(self.path, create=True)
        write_all(self.filesystem, fd, b"world", 6)
        write_all(self.filesystem, fd, b"hello", 0)
        self.assertEqual(self.filesystem.read(fd, 100, 0), b"hello\0world")
        self.assertEqual(self.filesystem.read(fd, 3, 6), b"wor")
        self.assertEqual(self.filesystem.read(fd, 3, 100), b"")
        self.filesystem.truncate(fd, 5)
        self.filesystem.fsync(fd)
        self.assertEqual(self.filesystem.size(self.path), 5)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.filesystem.close(fd)

    def test_create(self) -> None:
        """A file is created only where there is none, and opened only where there is one."""
        self.assertRaises(FileNotFoundError, self.filesystem.open, self.path)
        self.filesystem.close(self.filesystem.open(self.path, create=True))
        self.assertRaises(FileExistsError, self.filesystem.open, self.path, create=True)

    def test_names(self) -> None:
        """Directories and names come and go."""
        self.assertEqual(sorted(self.filesystem.listdir(self.directory)), ["deep"])
        make_directory(self.filesystem, os.path.join(self.directory, "deep"))
        self.filesystem.rename(os.path.join(self.directory, "deep", "er"), self.path)
        self.filesystem.rmdir(self.path)
        self.filesystem.rmdir(os.path.join(self.directory, "deep"))
        self.assertEqual(self.filesystem.listdir(self.directory), [])

    def test_no_synchronous_write(self) -> None:
        """P1: where the kernel cannot write and flush in one call it is done in two."""
        calls = []

        def refused(fd: int, data: tuple[bytes], offset: int, flags: int) -> int:
            raise OSError(errno.EOPNOTSUPP, "not supported")

        flush = os.fdatasync
        self.patch(os, "pwritev", refused)
        self.patch(os, "fdatasync", lambda fd: calls.append(flush(fd)))
        fd = self.filesystem.open(self.path, create=True)
        write_all(self.filesystem, fd, b"hello", 0)
        self.assertEqual(self.filesystem.read(fd, 9, 0), b"hello")
        self.assertEqual(len(calls), 1)
        self.filesystem.close(fd)

    def test_write_error(self) -> None:
        """P1: a write that fails raises, with the kernel's reason."""
        fd = os.open("/dev/full", os.O_RDWR)
        error = self.assertRaises(OSError, self.filesystem.write_durably, fd, b"x", 0)
        self.assertEqual(error.errno, errno.ENOSPC)
        self.filesystem.close(fd)

    def test_lock(self) -> None:
        """The lock is exclusive while its descriptor is open, also within a process."""
        fd = self.filesystem.lock(self.path)
        self.assertRaises(SpoolLockedError, self.filesystem.lock, self.path)
        self.filesystem.close(fd)
        self.filesystem.close(self.filesystem.lock(self.path))
