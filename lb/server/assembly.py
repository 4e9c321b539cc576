"""What an answer carries of a job that was found: as much as its asker may read, with what the flags ask for.

Blocking, for the thread that owns the reading side. Every job passes `seen` (P7), which asks who may.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from lb.model.errors import LBError
from lb.model.query import Flag
from lb.model.status import JDL_ATTRIBUTES, PARENT_TYPES, STATES, JobStatus, JobType, State
from lb.security.acl import ACL
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.access import Access, access, anonymised, of_everybody, reduced, told, without_descriptions
from lb.server.conditions import JobConditions
from lb.server.events import read_event
from lb.server.merging import EventSorter
from lb.store.interface import JobEntry, Reader, StoredEvent
from lb.wire.history import write_history

_CHILDREN: Final = Flag.CHILDREN | Flag.CHILDSTAT | Flag.CHILDHIST_THOROUGH
#: Jobs, or events, that one slice looks at: some 5 ms.
PAGE: Final = 100
#: Bytes of a status without its descriptions.
_STATUS: Final = 4_096
#: Views that let somebody read events as well (wire-query.md §9.1).
_WITH_EVENTS: Final = frozenset({Access.FULL})


class Seen(NamedTuple):
    """A job and how much of it the asker may read."""

    entry: JobEntry
    access: Access


class Assembly:
    """Makes statuses of entries, for one reading side."""

    def __init__(self, reader: Reader, policy: Callable[[], Policy], salt: str, most: int = 0) -> None:
        """`salt`: what makes this server's hashes of names its own; `most`: bytes of one status, 0 = no bound."""
        self._reader = reader
        self._policy = policy
        self._salt = salt
        self._most = most

    def room(self) -> Room:
        """For what an answer about one job carries."""
        return Room(self._most)

    def is_nobody(self, peer: Identity) -> bool:
        """Whether a peer has no name, and may read nothing either."""
        return peer.name is None and of_everybody(self._policy(), peer) is Access.NONE

    def seen(self, peer: Identity, entry: JobEntry) -> Seen | None:
        """A job as `peer` may see it, None when it may not be read at all (security.md §11.1)."""
        allowed = access(self._policy(), peer, entry.owner, entry.status.payload_owner, entry.acl)
        return None if allowed is Access.NONE else Seen(entry, allowed)

    def met(self, peer: Identity, conditions: JobConditions, entry: JobEntry) -> Seen | None:
        """A job that meets conditions, as `seen`; to be among those must not tell what its status would not."""
        if not conditions.hold(entry.status, entry.jobid):
            return None
        found = self.seen(peer, entry)
        return found if found is not None and conditions.open_to(found.access) else None

    def readable_events(self, peer: Identity, entry: JobEntry) -> bool:
        """Whether `peer` may read the events of a job."""
        found = self.seen(peer, entry)
        return found is not None and found.access in _WITH_EVENTS

    def collect(self, entry: JobEntry, sorter: EventSorter, room: Room) -> Iterator[None]:
        """Put all events of a job into a sorter, a slice at a time; E2BIG for more than there is room for."""
        for page in self.event_pages(entry, PAGE):
            for arrived, line in page:
                room.take(len(line))
                sorter.add(read_event(arrived, line), line)
            yield

    def event_pages(self, entry: JobEntry, most: int) -> Iterator[list[StoredEvent]]:
        """The events of a job in the order of arrival, so many at once."""
        return self._reader.finder.event_pages(entry.key, most)

    def status(self, peer: Identity, found: Seen, flags: Flag) -> JobStatus:
        """The status with what the flags ask for (state-machine.md §17); E2BIG when that is more than one may have."""
        entry, allowed = found
        room = self.room()
        status = entry.status
        if status.state == State.Undefined:
            status = msgspec.structs.replace(status, state=State.Unknown, lastUpdateTime=status.lastUpdateTime or 1)
        if allowed is Access.REDUCED:
            return reduced(status if Flag.CLASSADD in flags else without_descriptions(status))
        if entry.acl:
            acl = ACL.parse(entry.acl)
            status = msgspec.structs.replace(status, acl=entry.acl, access_rights=acl.access_rights())
        if status.jobtype in PARENT_TYPES:
            status = self._with_children(peer, entry, status, flags, room)
        elif status.children_hist is None:
            status = msgspec.structs.replace(status, children_hist=[0] * STATES)
        if Flag.CLASSADD not in flags:
            status = without_descriptions(status)
        if Flag.HISTORY in flags:
            hidden = Access.ANONYMISED if Flag.ANONYMIZED in flags else allowed
            status = msgspec.structs.replace(status, history=self._history(entry, hidden, room))
        return self._named(status, allowed, flags)

    def _history(self, entry: JobEntry, hidden: Access, room: Room) -> str:
        sorter = EventSorter(condor=is_condor(entry))
        try:
            for _ in self.collect(entry, sorter, room):
                pass
            return write_history(told(event, hidden, self._salt) for event in sorter)
        finally:
            sorter.close()

    def _named(self, status: JobStatus, allowed: Access, flags: Flag) -> JobStatus:
        if allowed is Access.ANONYMISED or Flag.ANONYMIZED in flags:
            return anonymised(status, self._salt)
        return status

    def _with_children(self, peer: Identity, entry: JobEntry, status: JobStatus, flags: Flag, room: Room) -> JobStatus:
        histogram = status.children_hist if Flag.CHILDHIST_FAST in flags else None
        children: list[str] | None = None
        states: list[JobStatus] | None = None
        parent = entry.jobid.unique
        if flags & _CHILDREN == Flag.CHILDREN:
            children = [str(child) for child in self._reader.child_ids(parent)]
        elif flags & _CHILDREN:
            children, states, counts = [], [], [0] * STATES
            for child in self._reader.children(parent, texts=Flag.CHILDSTAT in flags):
                counts[child.status.state] += 1
                if Flag.CHILDREN in flags:
                    children.append(str(child.jobid))
                state = self._child(peer, child, flags) if Flag.CHILDSTAT in flags else None
                if state is not None:
                    room.take(_size(state))
                    states.append(state)
            if Flag.CHILDHIST_THOROUGH in flags:
                histogram = counts
        return msgspec.structs.replace(
            status, children=children or None, children_states=states or None, children_hist=histogram
        )

    def _child(self, peer: Identity, child: JobEntry, flags: Flag) -> JobStatus | None:
        found = self.seen(peer, child)
        if found is None:
            return None
        if found.access is Access.REDUCED:
            return reduced(child.status)
        return self._named(child.status, found.access, flags)


class Room:
    """What an answer about one job may still carry."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def take(self, size: int) -> None:
        """Raises E2BIG when there is no room for so much: before memory is spent on what follows (P10)."""
        self._taken += size
        if self._most and self._taken > self._most:
            raise LBError(
                errno.E2BIG,
                f"Query result size limit exceeded: history or subjobs of one job have more than {self._most} bytes",
            )


def _size(status: JobStatus) -> int:
    """About what a subjob's status takes."""
    return _STATUS + sum(len(getattr(status, name) or "") for name in JDL_ATTRIBUTES)


def is_condor(entry: JobEntry) -> bool:
    """Whether the sequence codes of a job's events are those of Condor."""
    return entry.status.jobtype == JobType.CONDOR
