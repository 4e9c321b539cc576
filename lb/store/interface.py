"""What the server asks of a store: load jobs, find duplicates, write a batch in one transaction, read for queries.

A store is used by one writing thread and one reading thread; every call blocks until done.
Whatever `write` returned from is on stable storage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from lb.model.jobid import JobId
from lb.model.status import JobStatus
from lb.state.job import Job, Texts


class StoreError(Exception):
    """The store cannot do its work now (disk full, I/O error, lost connection); the same call may succeed later."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code  #: errno that fits best


class StoredJob:
    """A job as the writing side holds it: registration data and the fold's record.

    `key` is the store's number of the job; `fresh` until its row has been written.
    """

    __slots__ = (
        "acl",
        "fresh",
        "grey",
        "jobid",
        "key",
        "owner",
        "owner_key",
        "parent",
        "state",
        "stored_owner",
        "stored_texts",
    )

    def __init__(
        self,
        key: int,
        jobid: JobId,
        owner: str,
        owner_key: str,
        state: Job,
        *,
        grey: bool = False,
        parent: str | None = None,
        acl: str | None = None,
        fresh: bool = True,
    ) -> None:
        self.key = key
        self.jobid = jobid
        self.owner = owner
        self.owner_key = owner_key  #: form of the owner by which jobs are looked up
        self.state = state
        self.grey = grey
        self.parent = parent
        self.acl = acl
        self.fresh = fresh
        self.stored_texts: Texts | None = None if fresh else state.texts
        self.stored_owner = None if fresh else owner


class NewEvent(NamedTuple):
    """An event to be written."""

    job: int  #: key of its job
    arrived: int  #: microseconds since the epoch
    digest: bytes  #: 16 bytes
    line: bytes  #: as it came, without LF


class JobEntry(NamedTuple):
    """A job as queries see it."""

    key: int
    jobid: JobId
    owner: str
    parent: str | None
    acl: str | None
    status: JobStatus


class StoredEvent(NamedTuple):
    """An event as queries see it, in the order of arrival."""

    arrived: int
    line: bytes


class Writer(Protocol):
    """The writing side."""

    def new_key(self) -> int:
        """A number for a job that is about to be written."""

    def load(self, uniques: Collection[str]) -> dict[str, StoredJob]:
        """The known jobs among `uniques`, by unique part."""

    def duplicates(self, digests: Sequence[tuple[int, bytes]]) -> set[int]:
        """Indices of those (job key, digest) pairs whose event is stored already."""

    def events(self, key: int) -> Iterator[StoredEvent]:
        """Events of a job in the order of arrival."""

    def write(self, jobs: Collection[StoredJob], events: Sequence[NewEvent]) -> None:
        """Store new and changed jobs and new events in one durable transaction; raises `StoreError`, nothing stored."""

    def close(self) -> None: ...


class Reader(Protocol):
    """The reading side; sees what has been committed."""

    def job(self, unique: str, *, texts: bool = False) -> JobEntry | None:
        """One job; `texts`: with JDL and the like in its status."""

    def jobs(self, uniques: Collection[str], *, texts: bool = False) -> list[JobEntry]:
        """The known jobs among `uniques`, in the order of their unique parts."""

    def jobs_of_owner(self, owner_key: str, *, texts: bool = False) -> Iterator[JobEntry]:
        """All jobs of an owner (comparable form), in the order of their unique parts."""

    def children(self, parent: str, *, texts: bool = False) -> Iterator[JobEntry]:
        """Jobs that a parent's registration made, in the order of their creation."""

    def events(self, key: int) -> Iterator[StoredEvent]:
        """Events of a job in the order of arrival."""

    def close(self) -> None: ...


class Store(Protocol):
    """A place that keeps jobs and events."""

    def writer(self) -> Writer:
        """Open the writing side; there is one."""

    def reader(self) -> Reader:
        """Open a reading side."""

    def close(self) -> None: ...
