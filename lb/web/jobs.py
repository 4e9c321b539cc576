"""What the pages need of the server they belong to: one object that answers questions, and facts about the server.

Nothing here decides who may see what: the questions are asked in the name of the peer, and refusals are passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import msgspec

import lb
from lb.model.event import Event
from lb.model.indexing import Index
from lb.model.query import Flag, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity


class Related(Protocol):
    """What a job is connected to."""

    @property
    def other(self) -> str:
        """The id of the other job."""

    @property
    def type(self) -> int:
        """The type of the other job."""

    @property
    def status(self) -> IntEnum:
        """How the connection stands; its name is what readers are told."""


class Jobs(Protocol):
    """Questions about jobs. What is awaited is a Deferred or made of Deferreds; all may raise `LBError`."""

    def status(self, peer: Identity, unique: str, flags: Flag) -> Awaitable[JobStatus]:
        """One job by its unique part; EPERM, ENOENT, EIDRM, EINVAL."""

    def events(self, peer: Identity, unique: str) -> Awaitable[list[Event]]:
        """The events of one job in event order; as `status`."""

    def related(self, peer: Identity, unique: str) -> Awaitable[Sequence[Related]]:
        """What a job is connected to, by how it is; as `status`."""

    def indices(self) -> Awaitable[Sequence[Index]]:
        """What queries may start from, beside ids of jobs and of parents."""


class JobPage(Protocol):
    """A part of an answer; `next` is the unique part behind which the next one begins, None for the last."""

    @property
    def jobs(self) -> Sequence[JobStatus]: ...

    @property
    def next(self) -> str | None: ...


class Newest(Protocol):
    """Jobs with their keys, newest first; `next` is the key behind which to go on, None at the end."""

    @property
    def jobs(self) -> Sequence[tuple[int, JobStatus]]: ...

    @property
    def next(self) -> int | None: ...


class NewestJobs(Protocol):
    """Questions that begin with the newest job."""

    def newest(self, peer: Identity, query: Query, before: int | None, most: int) -> Awaitable[Newest]:
        """At most so many jobs that meet a query and that the peer may see, older than the key `before`.

        NO_INDEX; ENOENT, EIDRM, EPERM when there is none at all.
        """

    def parents(self, uniques: Collection[str]) -> Awaitable[set[str]]:
        """Those of these unique parts of jobs that have subjobs, whether these may be seen or not."""


class JobPages(Jobs, NewestJobs, Protocol):
    """Questions whose answers can be taken in parts."""

    def page(self, peer: Identity, query: Query, after: str, most: int) -> Awaitable[JobPage]:
        """At most so many jobs behind a unique part, in the order of these; to find none is an answer."""


class ServerInfo(msgspec.Struct, frozen=True):
    """Facts for the pages `?version` and `?configuration` (spec: wire-web.md §8)."""

    version: str = lb.__version__
    identity: str | None = None  #: subject of the host certificate
    brokers: tuple[str, ...] = ()  #: URLs
    prefixes: tuple[str, ...] = ()  #: allowed beginnings of topic names


#: Key, label, values; without a value, what the server does not have.
Fact = tuple[str, str, Sequence[str]]


class Administration(Protocol):
    """What the pages tell administrators, and nobody else."""

    def sees_all(self, peer: Identity) -> bool:
        """Whether the peer is an administrator."""

    def facts(self) -> Awaitable[Sequence[Fact]]:
        """The rest of the configuration."""


class Figure(NamedTuple):
    """A usage counter; `since`: seconds since the epoch."""

    key: str
    label: str
    number: int
    since: int


class Usage(Protocol):
    """The server's usage counters (spec: wire-web.md §8.3)."""

    def count(self, key: str) -> None:
        """One more."""

    def seen_by(self, peer: Identity) -> bool:
        """Whether the peer may read them."""

    def figures(self) -> Sequence[Figure]: ...
