"""Looking things up for queries: which jobs are meant, which of them the asker may see, what the answer carries.

Blocking; runs in the thread that owns the store's reading side. Every job passes `view`, which asks who may
read it (P7): what may not be seen is left out of lists and refused when it was asked for alone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from typing import Final, NamedTuple

import msgspec

from lb.model.errors import Code, LBError, forbidden, invalid, missing
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Operator, Query, Results
from lb.model.seqcode import in_order
from lb.model.status import PARENT_TYPES, STATES, JobStatus, JobType, State
from lb.model.subject import comparable
from lb.security.acl import ACL
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.access import Access, access, anonymised
from lb.server.conditions import event_meets, job_meets
from lb.server.events import read_events
from lb.store.interface import JobEntry, Reader
from lb.wire.history import write_history

#: Attributes of conditions that need the long texts of a job.
_NEEDS_TEXTS: Final = frozenset({Attribute.JDL_ATTR})
#: What a query may start from, named as the C server names its indices on columns.
INDICES: Final = ("STD_parent_job", "STD_owner")
_LIMIT_EXCEEDED: Final = "Query result size limit exceeded"


class Answer(NamedTuple):
    """Jobs that a query found; `error` when the answer was cut at a limit."""

    jobs: list[JobStatus]
    error: LBError | None = None


class JobPage(NamedTuple):
    """A part of the jobs that a query found; `next` is the unique part behind which the next one begins, or None."""

    jobs: list[JobStatus]
    next: str | None = None


class EventsAnswer(NamedTuple):
    """Events that a query found; `error` when the answer was cut at a limit."""

    events: list[Event]
    error: LBError | None = None


class Limits(NamedTuple):
    """Hard limits of the server, 0 = none."""

    jobs: int = 0
    events: int = 0


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
        self._salt = salt
        self._limits = limits

    # Whole answers.

    def status(self, peer: Identity, unique: str, flags: Flag) -> JobStatus:
        """The state of one job; EPERM, ENOENT."""
        entry = self._reader.job(unique, texts=Flag.CLASSADD in flags)
        if entry is None:
            raise missing(f"jobid='{unique}' not registered in DB")
        readable = self.view(peer, entry)
        if readable is None:
            raise forbidden("not owner")
        return self._assembled(peer, readable, flags)

    def events_of(self, peer: Identity, unique: str) -> list[Event]:
        """The events of one job in event order; EPERM, ENOENT."""
        entry = self._reader.job(unique)
        if entry is None:
            raise missing(f"jobid='{unique}' not registered in DB")
        if self.view(peer, entry) is None:
            raise forbidden("not owner")
        return self._events(entry)

    def own_jobs(self, peer: Identity, flags: Flag) -> list[JobStatus]:
        """All jobs of the peer; ENOENT with the peer's name when there is none."""
        if peer.name is None:
            raise forbidden("user not authenticated")
        found = self._reader.jobs_of_owner(comparable(peer.name), texts=Flag.CLASSADD in flags)
        states = [self._assembled(peer, entry, flags) for entry in found]
        if not states:
            raise missing(peer.name)
        return states

    def jobs(self, peer: Identity, query: Query) -> Answer:
        """The jobs that meet a query's conditions and may be read; ENOENT, EPERM, EINVAL, NOINDEX, E2BIG."""
        entries = self._matching(peer, query)
        limit = self._limit(query, self._limits.jobs)
        states: list[JobStatus] = []
        for entry in entries:
            if limit and len(states) == limit:
                return self._cut(states, query)
            if Flag.NO_STATES in query.flags:
                states.append(JobStatus(jobId=entry.status.jobId))
            else:
                states.append(self._assembled(peer, entry, query.flags))
        if not states:
            raise self._why_none(peer, query)
        return Answer(states)

    def page(self, peer: Identity, query: Query, after: str, most: int) -> JobPage:
        """At most so many of the jobs that meet a query and may be read, behind a unique part, in the order of these.

        Whoever goes on from `next` meets each job once, whatever comes or changes meanwhile. Errors as `jobs`, but to
        find none is an answer.
        """
        entries = (entry for entry in self._matching(peer, query) if entry.jobid.unique > after)
        found = nsmallest(most + 1, entries, key=lambda entry: entry.jobid.unique)
        states = [self._assembled(peer, entry, query.flags) for entry in found[:most]]
        return JobPage(states, found[most - 1].jobid.unique if len(found) > most else None)

    def events(self, peer: Identity, query: Query) -> EventsAnswer:
        """The events that meet a query's conditions, of jobs that may be read; errors as `jobs`."""
        limit = self._limit(query, self._limits.events)
        found: list[Event] = []
        for entry in self._matching(peer, query):
            found += (event for event in self._events(entry) if event_meets(query.events, event))
        if not found:
            raise missing("no matching events found")
        found = in_order(found)
        if limit and len(found) > limit:
            error = LBError(errno.E2BIG, _LIMIT_EXCEEDED)
            if query.results is not Results.LIMITED:
                raise error
            return EventsAnswer(found[:limit], error)
        return EventsAnswer(found)

    @staticmethod
    def _limit(query: Query, hard: int) -> int:
        if query.results is Results.ALL:
            return 0
        return min((limit for limit in (query.soft_limit, hard) if limit), default=0)

    @staticmethod
    def _cut(states: list[JobStatus], query: Query) -> Answer:
        error = LBError(errno.E2BIG, _LIMIT_EXCEEDED)
        if query.results is not Results.LIMITED:
            raise error
        return Answer(states, error)

    def _why_none(self, peer: Identity, query: Query) -> LBError:
        """A single job that exists but may not be read is a matter of permission (wire-query.md §7.2)."""
        if len(query.jobs) == 1 and len(query.jobs[0]) == 1 and peer.name is not None:
            wanted = _wanted_job(query.jobs[0][0])
            entry = self._reader.job(wanted.unique) if wanted is not None else None
            if entry is not None and self.view(peer, entry) is None:
                return forbidden("not owner")
        return missing("no matching jobs found")

    # Which jobs are looked at.

    def _matching(self, peer: Identity, query: Query) -> Iterator[JobEntry]:
        if peer.name is None and _asks_for_own(query):
            raise forbidden("user not authenticated")
        texts = Flag.CLASSADD in query.flags or any(
            condition.attribute in _NEEDS_TEXTS for group in query.jobs for condition in group
        )
        for entry in self._candidates(peer, query, texts):
            if job_meets(query.jobs, entry.status, entry.jobid, peer.name):
                readable = self.view(peer, entry)
                if readable is not None:
                    yield readable

    def _candidates(self, peer: Identity, query: Query, texts: bool) -> Iterable[JobEntry]:
        """Jobs among which all matching ones are, by the narrowest group that leads to them."""
        if not query.jobs:
            raise LBError(Code.NO_INDEX, "unrestricted queries unsupported")
        for group in query.jobs:
            wanted = [_wanted_job(condition) for condition in group]
            if all(wanted):
                entries = self._reader.jobs({job.unique for job in wanted if job}, texts=texts)
                _check_server(entries, [job for job in wanted if job])
                return entries
        for group in query.jobs:
            if all(_is(condition, Attribute.PARENT) for condition in group):
                parents = [condition.value for condition in group if isinstance(condition.value, JobId)]
                return _each_once(self._reader.children(parent.unique, texts=texts) for parent in parents)
        for group in query.jobs:
            if all(_is(condition, Attribute.OWNER) for condition in group):
                owners = {comparable(str(condition.value or peer.name)) for condition in group}
                return _each_once(self._reader.jobs_of_owner(owner, texts=texts) for owner in sorted(owners))
        raise LBError(Code.NO_INDEX, "No indexed condition in query")

    # Who may read.

    def view(self, peer: Identity, entry: JobEntry) -> JobEntry | None:
        """The job as `peer` may see it, None when it may not be read at all (security.md §11.1)."""
        allowed = access(self._policy(), peer, entry.owner, entry.status.payload_owner, entry.acl)
        return entry if allowed is Access.FULL else None

    # What the answer carries.

    def _events(self, entry: JobEntry) -> list[Event]:
        return read_events(self._reader.events(entry.key), condor=entry.status.jobtype == JobType.CONDOR)

    def _assembled(self, peer: Identity, entry: JobEntry, flags: Flag) -> JobStatus:
        """The status with what the flags ask for (state-machine.md §17)."""
        status = entry.status
        if status.state == State.Undefined:
            status = msgspec.structs.replace(status, state=State.Unknown, lastUpdateTime=status.lastUpdateTime or 1)
        if entry.acl:
            acl = ACL.parse(entry.acl)
            status = msgspec.structs.replace(status, acl=entry.acl, access_rights=acl.access_rights())
        if status.jobtype in PARENT_TYPES:
            status = self._with_children(peer, entry, status, flags)
        elif status.children_hist is None:
            status = msgspec.structs.replace(status, children_hist=[0] * STATES)
        if Flag.HISTORY in flags:
            status = msgspec.structs.replace(status, history=write_history(self._events(entry)))
        return anonymised(status, self._salt) if Flag.ANONYMIZED in flags else status

    def _with_children(self, peer: Identity, entry: JobEntry, status: JobStatus, flags: Flag) -> JobStatus:
        histogram = status.children_hist if Flag.CHILDHIST_FAST in flags else None
        children: list[str] | None = None
        states: list[JobStatus] | None = None
        if flags & (Flag.CHILDREN | Flag.CHILDSTAT | Flag.CHILDHIST_THOROUGH):
            found = list(self._reader.children(entry.jobid.unique, texts=Flag.CHILDSTAT in flags))
            if Flag.CHILDREN in flags:
                children = [str(child.jobid) for child in found]
            if Flag.CHILDSTAT in flags:
                states = [child.status for child in found if self.view(peer, child) is not None]
            if Flag.CHILDHIST_THOROUGH in flags:
                histogram = [0] * STATES
                for child in found:
                    histogram[child.status.state] += 1
        return msgspec.structs.replace(
            status, children=children or None, children_states=states or None, children_hist=histogram
        )


def _is(condition: Condition, attribute: Attribute) -> bool:
    return condition.attribute is attribute and condition.operator is Operator.EQUAL


def _wanted_job(condition: Condition) -> JobId | None:
    if _is(condition, Attribute.JOBID) and isinstance(condition.value, JobId):
        return condition.value
    return None


def _asks_for_own(query: Query) -> bool:
    return any(
        condition.attribute is Attribute.OWNER and condition.value is None
        for group in query.jobs
        for condition in group
    )


def _check_server(entries: list[JobEntry], wanted: list[JobId]) -> None:
    """A job is asked for under the id it has here; another server's id must not lead to it (security.md §18, 2)."""
    known = {entry.jobid.unique: entry.jobid for entry in entries}
    for job in wanted:
        here = known.get(job.unique)
        if here is not None and (here.host.lower(), here.port) != (job.host.lower(), job.port):
            raise invalid(f"{job}: does not match server address ({here.server})")


def _each_once(groups: Iterable[Iterable[JobEntry]]) -> Iterator[JobEntry]:
    seen: set[int] = set()
    for entries in groups:
        for entry in entries:
            if entry.key not in seen:
                seen.add(entry.key)
                yield entry
