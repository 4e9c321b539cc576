"""What the spool refuses, as exceptions of one small family; failures of the disk itself stay plain OSError.

Each text names the thing, the bound or the place, and what to do about it.
"""

import errno
from typing import Final

#: What the system says when a disk or an account has no room left.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolError(Exception):
    """Root of the family."""


class SpoolLockedError(SpoolError):
    """Another process has the spool directory open."""


class SpoolClosedError(SpoolError):
    """The spool is not open (any more): nothing was accepted, ask again after a restart."""


class SpoolFullError(SpoolError):
    """A bound of memory or of destinations is reached: pause (`Spool.when_ready`) or refuse the sender."""


class RecordTooLargeError(SpoolError):
    """One payload exceeds `Limits.record_bytes`; it can never be accepted."""


class BadDestinationError(SpoolError):
    """A destination's name is empty or longer than `Limits.destination_bytes`."""


class UnsupportedVersionError(SpoolError):
    """A file was written by a later version of this program; it is left exactly as it is."""


class DamagedFileError(SpoolError):
    """The structure of a file is damaged beyond what its checksums can repair."""


class JournalUnusableError(SpoolError):
    """A destination's journal could not be opened at start; its files are untouched, and nothing is accepted for it."""
