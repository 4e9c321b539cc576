"""What followers of jobs are told of changes, read from the store behind the number where each of them stands.

Blocking, for the reading thread. Nothing is remembered of who follows: the store has all that it takes to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from lb.model.jobid import JobId
from lb.model.query import Attribute, Flag, Group, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server.assembly import Assembly
from lb.server.conditions import JobConditions
from lb.store.interface import JobEntry, Reader

#: Attributes that a job keeps for good, but for its owner while nobody owns it.
_LASTING: Final = frozenset({Attribute.JOBID, Attribute.OWNER, Attribute.PARENT})


class Following(NamedTuple):
    """Whose view of which jobs."""

    peer: Identity
    query: Query


class Change(NamedTuple):
    """A job changed: its state now, or None when it does not meet the conditions that may change (any longer)."""

    number: int
    jobid: JobId
    status: JobStatus | None


class Part(NamedTuple):
    """The next changes for some followers who stand at one place: where they stand then, and whether there are more."""

    last: int
    more: bool
    told: list[list[Change]]  #: for each of the followers


class Changes:
    """Reads changes."""

    def __init__(self, reader: Reader, assembly: Assembly) -> None:
        self._reader = reader
        self._assembly = assembly

    def part(self, followers: Sequence[Following], after: int, most: int) -> Part:
        """The next changes behind a number for each of `followers`, of at most so many jobs; raises `StoreError`.

        A job that changed several times is told once, as it is now. What a follower may not read is left out (P7).
        """
        numbers = self._reader.changes(after, most)
        if not numbers:
            return Part(after, False, [[] for _ in followers])
        texts = any(Flag.CLASSADD in follower.query.flags for follower in followers)
        entries = {entry.key: entry for entry in self._reader.entries([key for _, key in numbers], texts=texts)}
        present = [(number, entries[key]) for number, key in numbers if key in entries]
        told = [self._told(follower, present) for follower in followers]
        return Part(numbers[-1][0], len(numbers) == most, told)

    def _told(self, follower: Following, changes: Sequence[tuple[int, JobEntry]]) -> list[Change]:
        peer, query = follower
        lasting = JobConditions((group for group in query.jobs if _lasts(group)), peer.name)
        passing = JobConditions((group for group in query.jobs if not _lasts(group)), peer.name)
        found = []
        for number, entry in changes:
            seen = self._assembly.met(peer, lasting, entry)
            if seen is None or not passing.open_to(seen.access):
                continue
            meets = passing.hold(entry.status, entry.jobid)
            status = self._assembly.status(peer, seen, query.flags) if meets else None
            found.append(Change(number, entry.jobid, status))
        return found


def _lasts(group: Group) -> bool:
    return all(condition.attribute in _LASTING for condition in group)
