"""The spool's directory: `lock`, `journals/` with a directory for each destination, `damaged/` for what makes no sense.

One process has it at a time. A journal that cannot be opened stops only itself, and none is ever deleted unread.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

from twisted.logger import Logger

from lb.spool.cursor import START
from lb.spool.errors import DamagedFileError, JournalUnusableError, SpoolError
from lb.spool.filesystem import FileSystem, make_directory
from lb.spool.journal import Journal
from lb.spool.limits import Limits
from lb.spool.naming import QUARANTINE_NAME, directory_name
from lb.spool.openfiles import OpenFiles
from lb.spool.recovery import Recovered, recover

log = Logger()

LOCK_NAME = "lock"
JOURNALS_NAME = "journals"
DAMAGED_NAME = "damaged"


class Directory:
    """The files of a spool. `now()` returns the time in µs since the epoch.

    `unusable` has the journals that could not be opened: directory name -> reason.
    """

    def __init__(self, path: str, filesystem: FileSystem, limits: Limits, now: Callable[[], int]) -> None:
        self.path = os.path.abspath(path)
        self.unusable: dict[str, Exception] = {}
        self._filesystem = filesystem
        self._limits = limits
        self._now = now
        self._files = OpenFiles(filesystem, limits.open_files)
        self._journals = os.path.join(self.path, JOURNALS_NAME)
        self._lock: int | None = None

    def open(self) -> None:
        """Make the directory if it is missing and lock it. SpoolLockedError if another process has it, OSError."""
        make_directory(self._filesystem, self._journals)
        self._lock = self._filesystem.lock(os.path.join(self.path, LOCK_NAME))

    def close(self) -> None:
        """Close all files and release the lock."""
        self._files.close()
        if self._lock is not None:
            self._filesystem.close(self._lock)
            self._lock = None

    def recover(self) -> Iterator[Recovered]:
        """Yield the journals that have records. OSError only if not even their names can be read."""
        for name in sorted(self._filesystem.listdir(self._journals)):
            try:
                recovered = recover(os.path.join(self._journals, name), self._files, self._limits, self._now)
            except DamagedFileError as error:
                log.error("{error}", error=error)
                self._set_aside(name, error)
            except (OSError, SpoolError) as error:
                log.error("journal {name} cannot be opened: {error}", name=name, error=error)
                self.unusable[name] = error
            else:
                if recovered is not None:
                    yield recovered

    def quarantined_bytes(self) -> int:
        """Bytes of all quarantine files, those of destinations without records included. OSError."""
        size = 0
        for name in self._filesystem.listdir(self._journals):
            folder = os.path.join(self._journals, name, QUARANTINE_NAME)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # most have none; a person tidies up
                for each in self._filesystem.listdir(folder):
                    size += self._filesystem.size(os.path.join(folder, each))
        return size

    def begin(self, destination: str, identity: bytes) -> Recovered:
        """Return a new journal; on disk it begins with its first record. JournalUnusableError if one is in the way."""
        name = directory_name(destination)
        if name in self.unusable:
            raise JournalUnusableError(
                f"destination {destination!r}: {self.unusable[name]}; repair {JOURNALS_NAME}/{name} and restart"
            )
        directory = os.path.join(self._journals, name)
        journal = Journal(directory, destination, identity, self._files, self._limits, self._now)
        return Recovered(journal, 0, START, self._now())

    def _set_aside(self, name: str, error: DamagedFileError) -> None:
        """Move a journal out of the way whose files do not even tell what it is, so that its destination can go on."""
        damaged = os.path.join(self.path, DAMAGED_NAME)
        target = os.path.join(damaged, f"{name}.{self._now()}")
        self._files.close()  # by path: the next journal there has other files
        try:
            make_directory(self._filesystem, damaged)
            self._filesystem.rename(os.path.join(self._journals, name), target)
            self._filesystem.fsync_directory(damaged)
            self._filesystem.fsync_directory(self._journals)
        except OSError:
            log.failure("setting {name} aside", name=name)
            self.unusable[name] = error
        else:
            log.error("its files are now in {target}", target=target)
