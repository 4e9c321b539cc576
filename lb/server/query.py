"""Questions about jobs, asked from the reactor and answered by the reading thread.

The query protocol, the pages and every other way to ask use this one object; it knows no wire format.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from lb.model.event import Event
from lb.model.query import Flag, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server.lookup import Answer, EventsAnswer, JobPage, Lookup
from lb.service.worker import Caller


class Questions:
    """What may be asked; every method fails with `LBError` as `Lookup` says."""

    def __init__(self, thread: Caller, lookup: Lookup) -> None:
        self._thread = thread
        self._lookup = lookup

    def status(self, peer: Identity, unique: str, flags: Flag) -> Deferred[JobStatus]:
        return self._thread.call(self._lookup.status, peer, unique, flags)

    def events(self, peer: Identity, unique: str) -> Deferred[list[Event]]:
        return self._thread.call(self._lookup.events_of, peer, unique)

    def own_jobs(self, peer: Identity, flags: Flag) -> Deferred[list[JobStatus]]:
        return self._thread.call(self._lookup.own_jobs, peer, flags)

    def jobs(self, peer: Identity, query: Query) -> Deferred[list[JobStatus]]:
        """Jobs for a page: an answer that was cut comes as it is."""
        return self._thread.call(lambda: self._lookup.jobs(peer, query).jobs)

    def page(self, peer: Identity, query: Query, after: str, most: int) -> Deferred[JobPage]:
        """Jobs for whoever takes an answer in parts."""
        return self._thread.call(self._lookup.page, peer, query, after, most)

    def answer_jobs(self, peer: Identity, query: Query) -> Deferred[Answer]:
        return self._thread.call(self._lookup.jobs, peer, query)

    def answer_events(self, peer: Identity, query: Query) -> Deferred[EventsAnswer]:
        return self._thread.call(self._lookup.events, peer, query)
