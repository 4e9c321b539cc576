"""Which jobs a query looks at, a slice at a time: by the plan over ids and indices, in the order of the answer.

Blocking, for the thread that owns the reading side. A plan gives too many jobs rather than too few: each is
compared with the conditions once more, and with what its asker may read (P7).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lb.model.errors import invalid
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Operator, Query
from lb.security.identity import Identity
from lb.server.assembly import PAGE, Assembly, Seen
from lb.server.conditions import JobConditions
from lb.server.planner import Plan, plan
from lb.store.interface import JobEntry, Reader

#: Attributes of conditions that need the long texts of a job.
_NEEDS_TEXTS: Final = frozenset({Attribute.JDL_ATTR})


class Candidates:
    """Jobs of one reading side."""

    def __init__(self, reader: Reader, assembly: Assembly) -> None:
        self._reader = reader
        self._assembly = assembly

    def matching(self, peer: Identity, query: Query, after: str = "", most: int = 0) -> Iterator[list[Seen]]:
        """The jobs that meet a query and may be read, a slice at a time; `most` as in `cut`."""
        texts = needs_texts(query)
        wanted = [job for group in query.jobs for job in map(wanted_job, group) if job is not None]
        nobody = self._assembly.is_nobody(peer)
        conditions = JobConditions(query.jobs, peer.name)
        for entries in self._candidates(peer, query, after, most, texts=texts):
            if wanted and not nobody:
                _check_server(entries, wanted)
            yield [found for entry in entries if (found := self._assembly.met(peer, conditions, entry)) is not None]

    def _plan(self, peer: Identity, query: Query) -> Plan:
        finder = self._reader.finder
        columns = {column for index in finder.indices() for column in index}
        return plan(query, peer.name, columns, finder.estimate)

    def _candidates(
        self, peer: Identity, query: Query, after: str, most: int, *, texts: bool
    ) -> Iterator[list[JobEntry]]:
        found = self._plan(peer, query)
        if found.uniques is not None:
            uniques = [unique for unique in found.uniques if unique > after]
            for start in range(0, len(uniques), PAGE):
                yield self._reader.jobs(uniques[start : start + PAGE], texts=texts)
            return
        pages = ([place.key for place in page] for page in self._reader.finder.pages(found.selection, after, PAGE))
        for keys, _ in cut(((keys, 0) for keys in pages), most):
            yield self._reader.entries(keys, texts=texts) if keys else []

    def newest(self, peer: Identity, query: Query, before: int | None) -> Iterator[tuple[list[int], int]]:
        """Keys of the jobs that may meet a query, newest first, a slice at a time, with the key to go on behind."""
        found = self._plan(peer, query)
        if found.uniques is not None:
            named = (entry.key for entry in self._reader.jobs(found.uniques))
            keys = sorted((key for key in named if before is None or key < before), reverse=True)
            for start in range(0, len(keys), PAGE):
                yield keys[start : start + PAGE], keys[start : start + PAGE][-1]
            return
        yield from self._reader.finder.newest(found.selection, before, PAGE)


def cut(pages: Iterator[tuple[list[int], int]], most: int) -> Iterator[tuple[list[int], int]]:
    """Pages of keys, cut behind the first `most` ones, 0 = nowhere: where all of them are meant, no more are read."""
    for keys, last in pages:
        if 0 < most < len(keys):
            yield keys[:most], keys[most - 1]
            keys = keys[most:]
            most = 0
        yield keys, last
        most = max(0, most - len(keys))


def needs_texts(query: Query) -> bool:
    """Whether a query needs the long texts of jobs."""
    return Flag.CLASSADD in query.flags or any(
        condition.attribute in _NEEDS_TEXTS for group in query.jobs for condition in group
    )


def wanted_job(condition: Condition) -> JobId | None:
    """The job that a condition names, if it does."""
    if condition.attribute is Attribute.JOBID and condition.operator is Operator.EQUAL:
        return condition.value if isinstance(condition.value, JobId) else None
    return None


def _check_server(entries: list[JobEntry], wanted: list[JobId]) -> None:
    """A job is asked for under the id it has here; another server's id must not lead to it (security.md §18, 2)."""
    known = {entry.jobid.unique: entry.jobid for entry in entries}
    for job in wanted:
        here = known.get(job.unique)
        if here is not None and (here.host.lower(), here.port) != (job.host.lower(), job.port):
            raise invalid(f"{job}: does not match server address ({here.server})")
