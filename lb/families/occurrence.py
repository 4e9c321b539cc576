"""What converters make of foreign records: occurrences in the life of a job, and the L&B events that tell them.

The same record always makes the same events under the same job id, so that converting a file again, or a longer one
that begins with it, adds only what is new. How they travel is said in docs/job-families.md.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from hashlib import md5
from typing import Final, NamedTuple

from lb.model.catalogue import BY_NAME, Priority, Source
from lb.model.event import Event, Value
from lb.model.jobid import JobId, create
from lb.model.seqcode import LRMS, NORMAL_COUNTERS, format_normal
from lb.state.generic.description import Scalar
from lb.state.generic.fold import SCHEME

_REGISTRATION: Final = BY_NAME["RegJob"]
_USER_TAG: Final = BY_NAME["UserTag"]
_SIMPLE: Final = _REGISTRATION.by_name["jobtype"].codes["SIMPLE"]


class Occurrence(NamedTuple):
    """One thing that happened to a job."""

    job: str  #: the job's id in its own system
    event: str  #: a name of the family's
    time: int  #: microseconds since the epoch
    number: int  #: from 1; tells apart and orders what happened to the job at one time
    given: dict[str, Scalar]  #: attributes


class PassedOver(NamedTuple):
    """A record that no event was made of."""

    line: int  #: its first line, from 1
    reason: str


class Origin(NamedTuple):
    """Where records come from and where their jobs are kept."""

    family: str
    place: str  #: names the cluster or access point whose ids they are
    server: str  #: ``HOST:PORT`` of the L&B server
    user: str  #: who registers the jobs and logs their events

    def job(self, local: str) -> JobId:
        """The L&B id of a job, the same each time; raises EINVAL for a server that is none."""
        named = f"{self.family}/{self.place}/{local}".encode("utf-8", "surrogateescape")
        digest = md5(named, usedforsecurity=False).digest()
        return create(self.server, urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"))

    def registration(self, local: str, time: int) -> Event:
        """The registration of a job; `time` is that of the first thing known of it."""
        given: dict[str, Value] = {"jobtype": _SIMPLE, "ns": f"{SCHEME}{self.family}@{self.place}", "nsubjobs": 0}
        return Event(
            _REGISTRATION,
            self.job(local),
            timestamp=time,
            host=self.place,
            source=Source.LRMS,
            seqcode=_code(0),
            user=self.user,
            attributes=given,
            priority=Priority.DIRECT,
        )

    def event(self, occurrence: Occurrence) -> Event:
        """The user tag that tells an occurrence."""
        given = {name: value for name, value in occurrence.given.items() if value is not None}
        value = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
        return Event(
            _USER_TAG,
            self.job(occurrence.job),
            timestamp=occurrence.time,
            host=self.place,
            source=Source.LRMS,
            seqcode=_code(occurrence.number),
            user=self.user,
            attributes={"name": f"{self.family}.{occurrence.event}", "value": value},
            priority=Priority.LOCAL,
        )

    def events(self, occurrences: Iterable[Occurrence]) -> Iterator[Event]:
        """The events of all occurrences; a job's first one follows its registration."""
        known: set[str] = set()
        for occurrence in occurrences:
            if occurrence.job not in known:
                known.add(occurrence.job)
                yield self.registration(occurrence.job, occurrence.time)
            yield self.event(occurrence)


def _code(number: int) -> str:
    counters = [0] * len(NORMAL_COUNTERS)
    counters[LRMS] = number
    return format_normal(counters)
