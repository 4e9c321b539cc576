"""What the server asks of a store: load jobs, find duplicates, write a batch in one transaction, read for queries.

A store is used by one writing thread and one reading thread; every call blocks until done.
Whatever `write` returned from is on stable storage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from lb.model.indexing import Index
from lb.model.jobid import JobId
from lb.model.status import JobStatus
from lb.state.job import Job, Texts
from lb.store.statistics import Count, StatisticsReader, StatisticsWriter

if TYPE_CHECKING:
    from lb.store.selection import Finder


class StoreError(Exception):
    """The store cannot do its work now (disk full, I/O error, lost connection); the same call may succeed later."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code  #: errno that fits best


class RepeatedError(Exception):
    """Among the events to be written is one that its job has already; nothing was stored."""


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
        "stored_registration",
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
        self.stored_registration = None if fresh else self.registration

    def written(self) -> None:
        """What is in memory is what is stored."""
        self.fresh = False
        self.stored_texts = self.state.texts
        self.stored_registration = self.registration

    @property
    def registration(self) -> tuple[Any, ...]:
        """What changes with the registration of a job only: id, owner, whether it is grey, parent."""
        return self.jobid, self.owner, self.grey, self.parent


class NewEvent(NamedTuple):
    """An event to be written."""

    job: int  #: key of its job
    arrived: int  #: microseconds since the epoch
    digest: bytes  #: 16 bytes
    line: bytes  #: as it came, without LF


class StoredRegistration(NamedTuple):
    """A registration for notifications; what it asks for is in `content`, which only its users read."""

    number: int  #: the store's; 0 until it is stored
    id: JobId  #: a notification id, see `JobId.notification`
    owner: str
    destination: str
    valid: int  #: seconds since the epoch
    content: bytes


class NewNotice(NamedTuple):
    """A state that registrations are to be told."""

    number: int  #: of `OutboxWriter.new_notice`: notices are told in the order of their numbers
    written: int  #: microseconds since the epoch
    content: bytes
    registrations: tuple[int, ...]


class Outgoing(NamedTuple):
    """What a transaction adds to the outbox: notices, and (registration, job) pairs that were missed."""

    notices: Sequence[NewNotice] = ()
    missed: Collection[tuple[int, int]] = ()


NOTHING_OUTGOING: Final = Outgoing()


class Notice(NamedTuple):
    """A notice as it is read."""

    number: int
    written: int
    content: bytes


class Link(IntEnum):
    """How a connection between two jobs stands (model.md §9)."""

    ACTIVE = 1
    INACTIVE = 2  #: one of them has ended
    CANCELLED = 3


class ConnectionChange(NamedTuple):
    """A change of a connection from a job; INACTIVE ends all active ones of the job, in both directions.

    `other` is the id of the other job, of the job itself when it has ended; `type` is the other's job type.
    """

    job: int  #: key of the job
    other: str
    status: Link
    type: int = -1


class Connection(NamedTuple):
    """A connection as queries see it."""

    other: str
    type: int
    status: Link


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

    @property
    def outbox(self) -> OutboxWriter:
        """Registrations and the outbox, written by the same thread."""

    @property
    def index(self) -> IndexWriter:
        """What is indexed of jobs, written by the same thread."""

    @property
    def purge(self) -> PurgeWriter:
        """What removes jobs, in the same thread."""

    @property
    def statistics(self) -> StatisticsWriter:
        """What keeps counts, in the same thread."""

    @property
    def marks(self) -> Marks:
        """Numbers under names, in the same thread."""

    @property
    def last_change(self) -> int:
        """The number of the last change of a job that is stored; may be asked for from any thread."""

    def new_key(self) -> int:
        """A number for a job that is about to be written."""

    def load(self, uniques: Collection[str]) -> dict[str, StoredJob]:
        """The known jobs among `uniques`, by unique part."""

    def duplicates(self, digests: Sequence[tuple[int, bytes]]) -> set[int]:
        """Indices of those (job key, digest) pairs whose event is stored already."""

    def children(self, parent: str) -> list[str]:
        """Unique parts of the jobs that have this parent, in the order of their creation."""

    def after(self, key: int, most: int) -> list[tuple[int, str]]:
        """Keys and unique parts of the next jobs behind a key, at most so many."""

    def events(self, key: int) -> Iterator[StoredEvent]:
        """Events of a job in the order of arrival."""

    def write(
        self,
        jobs: Collection[StoredJob],
        events: Sequence[NewEvent],
        outgoing: Outgoing = NOTHING_OUTGOING,
        connections: Sequence[ConnectionChange] = (),
        counts: Sequence[Count] = (),
    ) -> None:
        """Store new and changed jobs, new events, notices, changed connections and counts in one durable transaction.

        Raises `StoreError` or `RepeatedError`; nothing is stored then.
        """

    def close(self) -> None: ...


class IndexWriter(Protocol):
    """The writing side of what is indexed of jobs; each call is a transaction of its own."""

    @property
    def indices(self) -> tuple[Index, ...]:
        """What is configured, filled or not."""

    def configure(self, indices: Sequence[Index]) -> None:
        """Have these indices from now on; what is new is usable when `fill` has nothing left to do."""

    def fill(self, most: int) -> bool:
        """Fill new columns from the next jobs, or delete rows of dropped ones, so many; whether there is more to do."""


class PurgeWriter(Protocol):
    """The writing side of purged jobs; each call is a transaction of its own."""

    def purged(self, uniques: Collection[str]) -> set[str]:
        """Those of these jobs that were purged and have not come again."""

    def unchanged(self, seen: Sequence[tuple[int, int]]) -> set[int]:
        """Keys of those jobs whose last event has the number it had: (key, number of the last event or 0) pairs."""

    def remove(self, keys: Sequence[int], at: int, outgoing: Outgoing = NOTHING_OUTGOING) -> None:
        """Delete jobs, remember their ids, and add notices; their events are left to `clear`.

        `at`: microseconds since the epoch.
        """

    def clear(self, most: int) -> bool:
        """Delete at most so many events of removed jobs; whether there may be more."""


class Marks(Protocol):
    """Numbers that are kept under a name; each call is a transaction of its own."""

    def get(self, name: str) -> int:
        """The number, 0 when there is none yet."""

    def put(self, numbers: dict[str, int]) -> None:
        """Keep numbers."""


class OutboxWriter(Protocol):
    """The writing side of registrations and the outbox; each call is a transaction of its own."""

    def continue_from(self, number: int) -> None:
        """Have notices get greater numbers than this."""

    def new_notice(self) -> int:
        """A number for a notice that is about to be written."""

    def registrations(self) -> list[StoredRegistration]:
        """All that are not dropped, in the order of their numbers."""

    def add(self, registration: StoredRegistration) -> StoredRegistration:
        """Store a new registration, whose id must not be there; the result has its number."""

    def change(self, registration: StoredRegistration) -> None:
        """Store destination, validity and content."""

    def drop(self, numbers: Collection[int]) -> None:
        """Registrations are there no longer; what waits for them is left to `clear`."""

    def clear(self, most: int) -> bool:
        """Delete at most so many rows of dropped registrations; whether there may be more."""

    def write(self, outgoing: Outgoing, told: Collection[tuple[int, int]] = ()) -> None:
        """Add notices that no event caused; `told`: (registration, job) pairs that are missed no longer."""

    def received(self, pairs: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
        """Remove (registration, notice) pairs, and the notices that nobody else waits for.

        The result has the registration and the size of each that was still there.
        """

    def queued(self, number: int) -> tuple[int, int]:
        """How many notices wait for a registration, and their bytes."""

    def missing(self) -> set[int]:
        """Registrations that missed something."""

    def missed(self, number: int, most: int) -> list[tuple[int, str]]:
        """At most so many of the jobs that a registration missed: keys and unique parts."""


class OutboxReader(Protocol):
    """The reading side of registrations and the outbox; sees what has been committed."""

    def waiting(self) -> list[int]:
        """Registrations for which something waits; its time does not depend on how much (P8)."""

    def waits(self, number: int, after: int) -> bool:
        """Whether a registration is to be told anything after a notice."""

    def notices(self, number: int, after: int, most: int, most_bytes: int) -> list[Notice]:
        """What a registration is to be told after a notice: at most so many, and bytes unless the first has more."""

    def close(self) -> None: ...


class Reader(Protocol):
    """The reading side; sees what has been committed."""

    @property
    def finder(self) -> Finder:
        """What finds jobs by their values."""

    @property
    def statistics(self) -> StatisticsReader:
        """What reads counts."""

    def job(self, unique: str, *, texts: bool = False) -> JobEntry | None:
        """One job; `texts`: with JDL and the like in its status."""

    def last_code(self, unique: str) -> str | None:
        """The sequence code of the last event that moved a job's state, None without any."""

    def purged(self, uniques: Collection[str]) -> set[str]:
        """Those of these jobs that were purged and have not come again."""

    def jobs(self, uniques: Collection[str], *, texts: bool = False) -> list[JobEntry]:
        """The known jobs among `uniques`, in the order of their unique parts."""

    def changes(self, after: int, most: int) -> list[tuple[int, int]]:
        """The next changes of jobs behind a number, at most so many: number and key of the job, in their order.

        A job that changed several times stands at its last change only.
        """

    def entries(self, keys: Sequence[int], *, texts: bool = False) -> list[JobEntry]:
        """Jobs by their keys, in the order of their unique parts; those that are gone are left out."""

    def children(self, parent: str, *, texts: bool = False) -> Iterator[JobEntry]:
        """Jobs that have this parent, in the order of their creation."""

    def parents(self, uniques: Collection[str]) -> set[str]:
        """Those of these unique parts that are the parent of some job."""

    def child_ids(self, parent: str) -> list[JobId]:
        """Ids of the jobs that have this parent, in the order of their creation."""

    def events(self, key: int) -> Iterator[StoredEvent]:
        """Events of a job in the order of arrival."""

    def connections(self, key: int) -> list[Connection]:
        """What a job is connected to."""

    def close(self) -> None: ...


class Renewal(Protocol):
    """Makes a state anew that older rules have made, and leaves others as they are."""

    def __call__(self, state: Job, jobid: JobId, owner: str, lines: Callable[[], Iterable[bytes]], /) -> Job: ...


class Store(Protocol):
    """A place that keeps jobs and events."""

    @property
    def salt(self) -> str:
        """What makes this server's hashes its own, made once."""

    def writer(self) -> Writer:
        """Open the writing side; there is one."""

    def reader(self, renewal: Renewal | None = None) -> Reader:
        """Open a reading side; without a `renewal` it gives states as they were stored."""

    def outbox_reader(self) -> OutboxReader:
        """Open a reading side of registrations and the outbox."""

    def close(self) -> None: ...
