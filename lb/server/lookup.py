"""Looking things up for queries: which jobs and events are meant, and which of them the asker may see.

Blocking; runs in the thread that owns the store's reading side, long answers in slices between which other questions
are answered. What may not be seen is left out of lists and refused when it was asked for alone (P7).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from lb.model.errors import LBError, forbidden, missing
from lb.model.event import Event
from lb.model.indexing import Index
from lb.model.query import Attribute, Flag, Operator, Query, Results, own_jobs
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.access import Access
from lb.server.assembly import PAGE, Assembly, Seen, is_condor
from lb.server.candidates import Candidates, cut, needs_texts, wanted_job
from lb.server.conditions import JobConditions, check_effort, event_meets
from lb.server.events import read_event
from lb.server.merging import EventSorter
from lb.server.planner import check_index
from lb.store.interface import Connection, JobEntry, Reader

_LIMIT_EXCEEDED: Final = "Query result size limit exceeded"


class Answer(NamedTuple):
    """Jobs that a query found; `error` when the answer was cut at a limit."""

    jobs: list[JobStatus]
    error: LBError | None = None


class JobPage(NamedTuple):
    """A part of the jobs that a query found; `next`: the unique part behind which the next one begins, or None."""

    jobs: list[JobStatus]
    next: str | None = None


class Newest(NamedTuple):
    """Jobs that a query found, newest first, with their keys; `next`: the key behind which to go on, or None."""

    jobs: list[tuple[int, JobStatus]]
    next: int | None = None


class EventsAnswer(NamedTuple):
    """Events that a query found; `error` when the answer was cut at a limit."""

    events: list[Event]
    error: LBError | None = None


class Limits(NamedTuple):
    """Hard limits of the server, 0 = none; `no_index`: who may ask without one, 1 = administrators, 2 = everybody.

    `status_bytes`: of one status with its history and the states of its subjobs.
    """

    jobs: int = 0
    events: int = 0
    no_index: int = 0
    status_bytes: int = 0


class Lookup:
    """Questions to one reading side."""

    def __init__(
        self,
        reader: Reader,
        policy: Callable[[], Policy],
        salt: str,
        limits: Limits = Limits(),  # noqa: B008
    ) -> None:
        """`salt`: what makes this server's hashes of names its own."""
        self._reader = reader
        self._policy = policy
        self._limits = limits
        self._assembly = Assembly(reader, policy, salt, limits.status_bytes)
        self._candidates = Candidates(reader, self._assembly)

    # One job.

    def status(self, peer: Identity, unique: str, flags: Flag) -> JobStatus:
        """The state of one job; EPERM, ENOENT, EIDRM."""
        found = self._assembly.seen(peer, self._entry(peer, unique, texts=Flag.CLASSADD in flags))
        if found is None:
            raise forbidden("not owner")
        return self._assembly.status(peer, found, flags)

    def events_of(self, peer: Identity, unique: str) -> list[Event]:
        """The events of one job in event order; EPERM, ENOENT, EIDRM."""
        return [event for page in self.pages_of(peer, unique) for event in page]

    def pages_of(self, peer: Identity, unique: str) -> Iterator[list[Event]]:
        """As `events_of`, in slices, which are empty until all have been found; E2BIG for more than one may have."""
        entry = self._entry(peer, unique)
        if not self._assembly.readable_events(peer, entry):
            raise forbidden("not owner")
        sorter, room = EventSorter(condor=is_condor(entry)), self._assembly.room()
        try:
            for _ in self._assembly.collect(entry, sorter, room):
                yield []
            yield from _sliced(sorter, 0)
        finally:
            sorter.close()

    def sequence_code(self, peer: Identity, unique: str) -> str:
        """The code of the last event that moved a job's state; EPERM, ENOENT, EIDRM."""
        if not self._assembly.readable_events(peer, self._entry(peer, unique)):
            raise forbidden("not owner")
        code = self._reader.last_code(unique)
        if code is None:
            raise missing("no state in DB")
        return code

    def _entry(self, peer: Identity, unique: str, *, texts: bool = False) -> JobEntry:
        if self._assembly.is_nobody(peer):
            raise forbidden("user not authenticated")  # and learns of no job whether it is there
        entry = self._reader.job(unique, texts=texts)
        if entry is None:
            raise self._gone([unique]) or missing(f"jobid='{unique}' not registered in DB")
        return entry

    def indices(self) -> tuple[Index, ...]:
        """What queries may start from, beside ids of jobs and of parents."""
        return self._reader.finder.indices()

    # Many jobs.

    def own_jobs(self, peer: Identity, flags: Flag) -> list[JobStatus]:
        """All jobs of the peer; errors as `own_job_pages`."""
        return [state for page in self.own_job_pages(peer, flags) for state in page]

    def own_job_pages(self, peer: Identity, flags: Flag) -> Iterator[list[JobStatus]]:
        """All jobs of the peer, in slices; ENOENT with the peer's name when there is none, EPERM for who has none."""
        if peer.name is None:
            raise forbidden("user not authenticated")
        none = True
        for page in self._candidates.matching(peer, own_jobs(flags)):
            none = none and not page
            yield [self._answered(peer, found, flags) for found in page]
        if none:
            raise missing(peer.name)

    def jobs(self, peer: Identity, query: Query) -> Answer:
        """The jobs that meet a query's conditions and may be read; errors as `job_pages`."""
        states: list[JobStatus] = []
        try:
            for page in self.job_pages(peer, query):
                states += page
        except LBError as error:
            if not was_cut(error, query):
                raise
            return Answer(states, error)
        return Answer(states)

    def job_pages(self, peer: Identity, query: Query) -> Iterator[list[JobStatus]]:
        """The jobs that meet a query and may be read, in slices.

        ENOENT, EIDRM, EPERM when there are none; EINVAL, NOINDEX before the first; E2BIG behind as many as the limit.
        """
        self._check(peer, query)
        limit = self._limit(query, self._limits.jobs)
        count = 0
        for page in self._parts(peer, query, "", limit):
            if limit and count + len(page) > limit:
                yield page[: limit - count]
                raise LBError(errno.E2BIG, _LIMIT_EXCEEDED)
            count += len(page)
            yield page
        if not count:
            raise self._why_none(peer, query)

    def parts(self, peer: Identity, query: Query, after: str = "", most: int = 0) -> Iterator[list[JobStatus]]:
        """As `job_pages`, but only jobs behind a unique part.

        No limit counts, own jobs need no index, and to find none is no error. `most`: so many are wanted, 0 = all, and
        whether there is one more.
        """
        self._check_listed(peer, query)
        yield from self._parts(peer, query, after, most)

    def _parts(self, peer: Identity, query: Query, after: str, most: int) -> Iterator[list[JobStatus]]:
        for page in self._candidates.matching(peer, query, after, most + 1 if most else 0):
            yield [self._answered(peer, found, query.flags) for found in page]

    def newest(
        self, peer: Identity, query: Query, before: int | None, most: int
    ) -> Iterator[tuple[list[tuple[int, JobStatus]], int]]:
        """At most `most` of the jobs that meet a query and may be read, newest first, older than the key `before`.

        In slices, with the key of the last job that was looked at; keys tell which jobs came first, and never change.
        Own jobs need no index. Errors as `parts`.
        """
        self._check_listed(peer, query)
        count = 0
        conditions = JobConditions(query.jobs, peer.name)
        for keys, last in cut(self._candidates.newest(peer, query, before), most):
            entries = {entry.key: entry for entry in self._reader.entries(keys, texts=needs_texts(query))}
            found = []
            for key in keys:
                entry = entries.get(key)
                seen = None if entry is None else self._assembly.met(peer, conditions, entry)
                if seen is not None:
                    found.append((key, self._answered(peer, seen, query.flags)))
                if count + len(found) == most:
                    yield found, key
                    return
            count += len(found)
            yield found, last

    def parents(self, uniques: Collection[str]) -> set[str]:
        """Those of these jobs that have subjobs, whoever may see these: what it saves is to ask for them in vain."""
        return self._reader.parents(uniques)

    def why_none(self, peer: Identity, query: Query) -> LBError:
        """Why nothing meets a query, or may not be read: ENOENT, EIDRM, EPERM."""
        return missing(peer.name or "") if query.jobs == own_jobs().jobs else self._why_none(peer, query)

    def related(self, peer: Identity, unique: str) -> list[Connection]:
        """What a job is connected to, by how it is; EPERM, ENOENT, EIDRM."""
        entry = self._entry(peer, unique)
        found = self._assembly.seen(peer, entry)
        if found is None or found.access not in (Access.FULL, Access.ANONYMISED):
            raise forbidden("not owner")
        return sorted(self._reader.connections(entry.key), key=lambda one: (one.status, one.type, one.other))

    def _answered(self, peer: Identity, found: Seen, flags: Flag) -> JobStatus:
        if Flag.NO_STATES in flags:
            return JobStatus(jobId=str(found.entry.jobid))
        return self._assembly.status(peer, found, flags)

    # Events.

    def events(self, peer: Identity, query: Query) -> EventsAnswer:
        """The events that meet a query's conditions, of jobs that may be read; errors as `event_pages`."""
        events: list[Event] = []
        try:
            for page in self.event_pages(peer, query):
                events += page
        except LBError as error:
            if not was_cut(error, query):
                raise
            return EventsAnswer(events, error)
        return EventsAnswer(events)

    def event_pages(self, peer: Identity, query: Query) -> Iterator[list[Event]]:
        """The events that meet a query, of jobs that may be read, in event order and in slices.

        Slices are empty until all have been found. ENOENT when there are none; the others as `job_pages`.
        """
        self._check(peer, query)
        limit = self._limit(query, self._limits.events)
        sorter: EventSorter | None = None
        try:
            for page in self._candidates.matching(peer, query):
                for entry, allowed in page:
                    if allowed is not Access.FULL:
                        continue
                    if sorter is None:
                        sorter = EventSorter(condor=_of_one_job(query) and is_condor(entry))
                    for stored in self._assembly.event_pages(entry, PAGE):
                        for arrived, line in stored:
                            event = read_event(arrived, line)
                            if event_meets(query.events, event):
                                sorter.add(event, line)
                        if len(stored) == PAGE:
                            yield []
                yield []
            if sorter is None or not sorter.count:
                raise missing("no matching events found")
            if limit and sorter.count > limit and query.results is not Results.LIMITED:
                raise LBError(errno.E2BIG, _LIMIT_EXCEEDED)
            yield from _sliced(sorter, limit)
        finally:
            if sorter is not None:
                sorter.close()

    # Limits and refusals.

    @staticmethod
    def _limit(query: Query, hard: int) -> int:
        if query.results is Results.ALL:
            return 0
        return min((limit for limit in (query.soft_limit, hard) if limit), default=0)

    def _check(self, peer: Identity, query: Query) -> None:
        if peer.name is None and _asks_for_own(query):
            raise forbidden("user not authenticated")
        check_effort(query.jobs, query.events)
        allowed = self._limits.no_index
        if allowed == 2 or (allowed == 1 and self._policy().allows(Action.ADMIN_ACCESS, peer)):
            return
        by_time = any(condition.attribute is Attribute.TIME for group in query.events for condition in group)
        check_index(query.jobs, self._reader.finder.indices(), by_time=by_time)

    def _check_listed(self, peer: Identity, query: Query) -> None:
        """`_check` for lists that people read: one's own jobs are always found."""
        if query.jobs != own_jobs().jobs:
            self._check(peer, query)
        elif peer.name is None:
            raise forbidden("user not authenticated")

    def _gone(self, uniques: Sequence[str]) -> LBError | None:
        if self._reader.purged(uniques):
            return LBError(errno.EIDRM, "matching job already purged")
        return None

    def _why_none(self, peer: Identity, query: Query) -> LBError:
        """A single job that exists but may not be read is a matter of permission (wire-query.md §7.2)."""
        if self._assembly.is_nobody(peer):
            return missing("no matching jobs found")
        if len(query.jobs) == 1 and len(query.jobs[0]) == 1:
            wanted = wanted_job(query.jobs[0][0])
            entry = self._reader.job(wanted.unique) if wanted is not None else None
            if entry is not None and self._assembly.seen(peer, entry) is None:
                return forbidden("not owner")
        named = [[job.unique for job in map(wanted_job, group) if job is not None] for group in query.jobs]
        gone = self._gone([unique for group in named for unique in group]) if all(named) else None
        return gone or missing("no matching jobs found")


def was_cut(error: LBError, query: Query) -> bool:
    """Whether what came before an error is an answer nonetheless."""
    return error.code == errno.E2BIG and query.results is Results.LIMITED


def _sliced(events: Iterator[Event] | EventSorter, limit: int) -> Iterator[list[Event]]:
    page: list[Event] = []
    for number, event in enumerate(events):
        if limit and number == limit:
            yield page
            raise LBError(errno.E2BIG, _LIMIT_EXCEEDED)
        page.append(event)
        if len(page) == PAGE:
            yield page
            page = []
    yield page


def _of_one_job(query: Query) -> bool:
    return any(len(group) == 1 and wanted_job(group[0]) is not None for group in query.jobs)


def _asks_for_own(query: Query) -> bool:
    return any(
        condition.attribute is Attribute.OWNER
        and condition.value is None
        and condition.operator is not Operator.CHANGED
        for group in query.jobs
        for condition in group
    )
