"""Dumping what arrived between two times into a file that this server and the C tools load (spec: wire-query.md §8.2).

Blocking, a page at a time, for the thread of administration; it only reads the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Final

from lb.model.catalogue import BY_NAME
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.server.admin.dumpfile import DumpFile, written_event
from lb.state import fold
from lb.store.interface import Reader, StoredEvent
from lb.store.selection import Arrived
from lb.wire import ulm

#: Events of one slice.
_PAGE: Final = 256
_REGISTRATION: Final = BY_NAME["RegJob"]
#: What a registration with subjobs, and no other event, has in its line.
_HINT: Final = b"NSUBJOBS="
#: Kind of a parent → kind of its subjobs, by the codes of registrations; of others they are simple jobs.
_TYPES: Final = {"FILE_TRANSFER_COLLECTION": "FILE_TRANSFER"}


def dump(reader: Reader, file: DumpFile, since: int, until: int) -> Iterator[None]:
    """Write what arrived after `since` and not after `until` (microseconds), in slices; the file is synced at the end.

    First a registration for each subjob that was made by its parent's: the C tools make their jobs of these.
    """
    for page in _pages(reader, since, until):
        for event in page:
            for line in _subjobs(event):
                file.add_line(line)
        yield
    for page in _pages(reader, since, until):
        file.add([StoredEvent(event.arrived, event.line) for event in page])
        yield
    file.sync()


def _pages(reader: Reader, since: int, until: int) -> Iterator[list[Arrived]]:
    last: Arrived | None = None
    while page := reader.finder.arrived(since, until, last, _PAGE):
        yield page
        last = page[-1]


def _subjobs(stored: Arrived) -> Iterator[bytes]:
    if _HINT not in stored.line:
        return
    try:
        event = ulm.parse(stored.line)
    except LBError:  # a line that older rules took: it is dumped as it is
        return
    if event.type is _REGISTRATION and event.number("nsubjobs"):
        for subjob in fold.subjobs_of(event):
            yield written_event(subjob_registration(event, subjob), stored.arrived)


def subjob_registration(parent: Event, subjob: JobId) -> Event:
    """The registration that stands for a subjob: its parent's, with the subjob's id."""
    attributes = dict(parent.attributes)
    kind = _TYPES.get(parent.code_name("jobtype"), "SIMPLE")
    attributes.update(parent=str(parent.jobid), nsubjobs=0, jobtype=_REGISTRATION.by_name["jobtype"].codes[kind])
    event = copy(parent)
    event.jobid, event.attributes = subjob, attributes
    return event
