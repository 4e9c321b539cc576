"""The system calls the spool makes, as an interface, so that a test can fail or stop at every single one.

Nothing in this room touches the disk except through it.
"""

import contextlib
import errno
import fcntl
import os
from typing import Protocol

from lb.spool.errors import SpoolLockedError


class FileSystem(Protocol):
    """Files as numbers, paths as text; every method may raise OSError."""

    def open(self, path: str, *, create: bool = False) -> int:
        """Return a descriptor for reading and writing; `create` makes the file, which must not exist yet."""
        ...

    def close(self, fd: int) -> None: ...

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Return the `length` bytes at `offset`, fewer only where the file ends."""
        ...

    def write_durably(self, fd: int, data: bytes, offset: int) -> int:
        """Write at `offset` and return when that is on stable storage; the answer is how many bytes are, at least one.

        After an error nothing is known of these bytes.
        """
        ...

    def fsync(self, fd: int) -> None: ...

    def truncate(self, fd: int, length: int) -> None: ...

    def size(self, path: str) -> int: ...

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def listdir(self, path: str) -> list[str]: ...

    def mkdir(self, path: str) -> None: ...

    def rmdir(self, path: str) -> None: ...

    def fsync_directory(self, path: str) -> None:
        """Make the names in a directory as durable as the files they stand for."""
        ...

    def lock(self, path: str) -> int:
        """Return a descriptor that holds a file's exclusive lock (made if missing); SpoolLockedError if taken."""
        ...


class OSFileSystem:
    """The real one; files are readable by their owner only."""

    def open(self, path: str, *, create: bool = False) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        data = os.pread(fd, length, offset)
        if len(data) in (0, length):
            return data
        pieces = [data]
        have = len(data)
        while data and have < length:
            data = os.pread(fd, length - have, offset + have)
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def write_durably(self, fd: int, data: bytes, offset: int) -> int:
        # One call instead of two: the writer thread has to win the interpreter lock back after each.
        try:
            return os.pwritev(fd, (data,), offset, os.RWF_DSYNC)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        written = os.pwrite(fd, data, offset)
        os.fdatasync(fd)
        return written

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def truncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path)

    def mkdir(self, path: str) -> None:
        os.mkdir(path, 0o700)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def fsync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise SpoolLockedError(
                f"spool {os.path.dirname(path)} is in use by another process: stop that one or choose another directory"
            ) from None
        except OSError:
            os.close(fd)
            raise
        return fd


def write_all(filesystem: FileSystem, fd: int, data: bytes, offset: int) -> None:
    """Put all of `data` on stable storage at `offset`, however many calls it takes."""
    written = filesystem.write_durably(fd, data, offset)
    if written == len(data):
        return
    rest = memoryview(data)
    while written < len(data):
        written += filesystem.write_durably(fd, bytes(rest[written:]), offset + written)


def make_directory(filesystem: FileSystem, path: str) -> None:
    """Have a directory at `path` whose name survives a crash, with its missing parents; one that exists is fine."""
    parent = os.path.dirname(path)
    try:
        filesystem.mkdir(path)
    except FileNotFoundError:
        make_directory(filesystem, parent)
        with contextlib.suppress(FileExistsError):
            filesystem.mkdir(path)
    except FileExistsError:
        pass
    filesystem.fsync_directory(parent)
