"""A file system in memory whose every operation can fail, come up short, or be the last one before a crash.

It keeps apart what a program sees and what a disk would still have: unsynced writes, names and removals survive a crash
each for itself, whole, torn, or not at all, as a random generator decides.
"""

import errno
import os
from random import Random

from lb.spool.errors import SpoolLockedError


class CrashError(BaseException):
    """The machine stops here. Not an Exception: no program catches its own end."""


class Node:
    """A file, or a directory if `data` is None. `pending` holds what was done to it since the last fsync."""

    def __init__(self, *, directory: bool = False) -> None:
        self.data: bytearray | None = None if directory else bytearray()
        self.durable = b""
        self.pending: list[tuple[int, bytes | None]] = []  # offset and written bytes, or new length and None

    def apply(self, offset: int, data: bytes | None) -> None:
        """Change what the program sees."""
        assert self.data is not None
        if data is None:
            del self.data[offset:]
        else:
            if len(self.data) < offset:
                self.data.extend(bytes(offset - len(self.data)))
            self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        assert self.data is not None
        self.durable = bytes(self.data)
        self.pending.clear()

    def crash(self, random: Random) -> None:
        """Become what the disk has."""
        pending, self.pending = self.pending, []
        self.data = bytearray(self.durable)
        for offset, data in pending:
            fate = random.choice(("whole", "lost", "torn", "zeros"))
            if data is None:
                if fate == "whole":
                    self.apply(offset, None)
            elif fate == "whole":
                self.apply(offset, data)
            elif fate == "torn":
                self.apply(offset, data[: random.randrange(len(data) + 1)])
            elif fate == "zeros":
                self.apply(offset, bytes(len(data)))
        self.durable = bytes(self.data)


class FaultyFileSystem:
    """Implements lb.spool.filesystem.FileSystem.

    Operations are counted from 1 in `count`. Number `fail_at` (all from it on with `keep_failing`) raises OSError
    `error`; in number `crash_at` the machine stops; until `restart` all raise CrashError then. `capacity` bounds the
    bytes of all files together. With `short_writes` each write takes only half of what it is given.
    """

    def __init__(self) -> None:
        self.count = 0
        self.fail_at = 0
        self.keep_failing = False
        self.error = errno.EIO
        self.crash_at = 0
        self.capacity: int | None = None
        self.short_writes = False
        self.bytes_read = 0
        self.synced = 0  # how many writes reached stable storage
        self._names: dict[str, Node] = {"/": Node(directory=True)}
        self._durable: dict[str, Node] = dict(self._names)
        self._open: dict[int, Node] = {}
        self._next_fd = 3
        self._locks: dict[str, int] = {}
        self._crashed = False

    # For tests

    def restart(self, seed: int = 0, *, kill: bool = False) -> None:
        """Start again after a crash of the machine, or with `kill` of the process only, which loses nothing written."""
        random = Random(seed)
        if not kill:
            names = {}
            for path in sorted(self._names.keys() | self._durable.keys()):
                now, before = self._names.get(path), self._durable.get(path)
                node = now if now is before or random.random() < 0.5 else before
                if node is not None and os.path.dirname(path) in {"/", *names}:
                    names[path] = node
            names["/"] = self._names["/"]
            for node in {id(node): node for node in names.values()}.values():
                if node.data is not None:
                    node.crash(random)
            self._names = names
            self._durable = dict(names)
        self._open.clear()
        self._locks.clear()
        self._crashed = False
        self.heal()

    def heal(self) -> None:
        """No more faults."""
        self.fail_at = self.crash_at = 0
        self.keep_failing = False
        self.capacity = None

    def files(self) -> dict[str, bytes]:
        """Return the content of all files by path."""
        return {path: bytes(node.data) for path, node in self._names.items() if node.data is not None}

    def directories(self) -> list[str]:
        return sorted(path for path, node in self._names.items() if node.data is None)

    def put(self, path: str, data: bytes) -> None:
        """Have a file with this content, in existing or new directories."""
        parent = os.path.dirname(path)
        if parent not in self._names:
            self.put_directory(parent)
        node = self._names[path] = self._durable[path] = Node()
        node.data = bytearray(data)
        node.durable = data

    def put_directory(self, path: str) -> None:
        if path not in self._names:
            self.put_directory(os.path.dirname(path))
            self._names[path] = self._durable[path] = Node(directory=True)

    @property
    def open_files(self) -> int:
        return len(self._open) - len(self._locks)

    def _operation(self) -> bool:
        """Count one; return whether the machine is to stop in it."""
        if self._crashed:
            raise CrashError
        self.count += 1
        if self.count == self.crash_at:
            self._crashed = True
            return True
        if self.fail_at and (self.count == self.fail_at or (self.keep_failing and self.count > self.fail_at)):
            raise OSError(self.error, os.strerror(self.error))
        return False

    def _step(self) -> None:
        if self._operation():
            raise CrashError

    def _used(self) -> int:
        return sum(len(node.data) for node in self._names.values() if node.data is not None)

    # FileSystem

    def open(self, path: str, *, create: bool = False) -> int:
        self._step()
        if create:
            if path in self._names:
                raise FileExistsError(errno.EEXIST, "exists", path)
            if os.path.dirname(path) not in self._names:
                raise FileNotFoundError(errno.ENOENT, "no directory", path)
            self._names[path] = Node()
        elif path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "missing", path)
        self._next_fd += 1
        self._open[self._next_fd] = self._names[path]
        return self._next_fd

    def close(self, fd: int) -> None:
        if self._crashed:
            raise CrashError
        del self._open[fd]
        for path in [path for path, holder in self._locks.items() if holder == fd]:
            del self._locks[path]

    def read(self, fd: int, length: int, offset: int) -> bytes:
        self._step()
        data = self._open[fd].data
        assert data is not None
        self.bytes_read += len(data[offset : offset + length])
        return bytes(data[offset : offset + length])

    def write_durably(self, fd: int, data: bytes, offset: int) -> int:
        node = self._open[fd]
        if self.short_writes and len(data) > 1:
            data = data[: len(data) // 2]
        room = None if self.capacity is None else self.capacity - self._used()
        try:
            last = self._operation()
            if room is not None and room < len(data):
                raise OSError(errno.ENOSPC, "no space left")
        except OSError:
            part = data[: len(data) // 2 if room is None else max(0, room)]
            node.apply(offset, part)
            node.pending.append((offset, part))
            raise
        node.apply(offset, data)
        node.pending.append((offset, data))
        if last:
            raise CrashError
        self._fsync(node)
        self.synced += 1
        return len(data)

    def fsync(self, fd: int) -> None:
        self._fsync(self._open[fd])

    def _fsync(self, node: Node) -> None:
        self._step()
        node.flush()

    def truncate(self, fd: int, length: int) -> None:
        self._step()
        node = self._open[fd]
        node.apply(length, None)
        node.pending.append((length, None))

    def size(self, path: str) -> int:
        self._step()
        node = self._names.get(path)
        if node is None or node.data is None:
            raise FileNotFoundError(errno.ENOENT, "missing", path)
        return len(node.data)

    def rename(self, source: str, target: str) -> None:
        self._step()
        for path in [path for path in self._names if path == source or path.startswith(source + "/")]:
            self._names[target + path[len(source) :]] = self._names.pop(path)

    def unlink(self, path: str) -> None:
        self._step()
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "missing", path)
        del self._names[path]

    def listdir(self, path: str) -> list[str]:
        self._step()
        node = self._names.get(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "missing", path)
        if node.data is not None:
            raise NotADirectoryError(errno.ENOTDIR, "a file", path)
        return [os.path.basename(name) for name in self._names if name != "/" and os.path.dirname(name) == path]

    def mkdir(self, path: str) -> None:
        self._step()
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "exists", path)
        if os.path.dirname(path) not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no parent", path)
        self._names[path] = Node(directory=True)

    def rmdir(self, path: str) -> None:
        self._step()
        if any(os.path.dirname(name) == path for name in self._names if name != "/"):
            raise OSError(errno.ENOTEMPTY, "not empty", path)
        del self._names[path]

    def fsync_directory(self, path: str) -> None:
        self._step()
        for name in self._names.keys() | self._durable.keys():
            if name != "/" and os.path.dirname(name) == path:
                node = self._names.get(name)
                if node is None:
                    self._durable.pop(name, None)
                else:
                    self._durable[name] = node

    def lock(self, path: str) -> int:
        self._step()
        if path in self._locks:
            raise SpoolLockedError(path)
        if path not in self._names:
            self._names[path] = Node()
        self._next_fd += 1
        self._open[self._next_fd] = self._names[path]
        self._locks[path] = self._next_fd
        return self._next_fd
