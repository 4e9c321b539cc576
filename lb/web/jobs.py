"""What the pages need of the server they belong to: one object that answers questions, and facts about the server.

Nothing here decides who may see what: the questions are asked in the name of the peer, and refusals are passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec

import lb
from lb.model.event import Event
from lb.model.query import Flag, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity


class Jobs(Protocol):
    """Questions about jobs. What is awaited is a Deferred or made of Deferreds; all may raise `LBError`."""

    def status(self, peer: Identity, unique: str, flags: Flag) -> Awaitable[JobStatus]:
        """One job by its unique part; EPERM, ENOENT, EIDRM, EINVAL."""

    def events(self, peer: Identity, unique: str) -> Awaitable[list[Event]]:
        """The events of one job in event order; as `status`."""

    def own_jobs(self, peer: Identity, flags: Flag) -> Awaitable[list[JobStatus]]:
        """All jobs of the peer; ENOENT when there is none."""

    def jobs(self, peer: Identity, query: Query) -> Awaitable[list[JobStatus]]:
        """The jobs that meet a query and that the peer may see; ENOENT when there is none, NO_INDEX, E2BIG."""


class JobPage(Protocol):
    """A part of an answer; `next` is the unique part behind which the next one begins, None for the last."""

    @property
    def jobs(self) -> Sequence[JobStatus]: ...

    @property
    def next(self) -> str | None: ...


class JobPages(Jobs, Protocol):
    """Questions whose answers can be taken in parts."""

    def page(self, peer: Identity, query: Query, after: str, most: int) -> Awaitable[JobPage]:
        """At most so many jobs behind a unique part, in the order of these; to find none is an answer."""


class ServerInfo(msgspec.Struct, frozen=True):
    """Facts for the pages `?version` and `?configuration` (spec: wire-web.md §8)."""

    version: str = lb.__version__
    identity: str | None = None  #: subject of the host certificate
    indices: tuple[str, ...] = ()  #: columns that queries may start from, e.g. ``STD_owner``
    brokers: tuple[str, ...] = ()  #: URLs
    prefixes: tuple[str, ...] = ()  #: allowed beginnings of topic names
