"""The files the writer thread keeps open between uses: few, the least recently used closed first.

A descriptor is good until the next `get`; nobody keeps one longer.
"""

from collections import OrderedDict

from lb.spool.filesystem import FileSystem


class OpenFiles:
    """Descriptors by path, at most `limit` of them."""

    def __init__(self, filesystem: FileSystem, limit: int) -> None:
        self.filesystem = filesystem
        self._limit = limit
        self._open: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def get(self, path: str, *, create: bool = False) -> int:
        """Return the descriptor of `path`, opened (or created, which it must need) now unless it still is open."""
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        while len(self._open) >= self._limit:
            self.forget(next(iter(self._open)))
        fd = self._open[path] = self.filesystem.open(path, create=create)
        return fd

    def forget(self, path: str) -> None:
        """Close `path` if it is open. All that matters in it is on stable storage already or known to be lost."""
        fd = self._open.pop(path, None)
        if fd is not None:
            self.filesystem.close(fd)

    def close(self) -> None:
        """Close all."""
        for path in list(self._open):
            self.forget(path)
