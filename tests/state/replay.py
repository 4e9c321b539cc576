"""Recorded cases played into the fold: the least of a server that jobs need around them.

It keeps jobs in memory, drops duplicates, makes subjobs and moves their parents. Who may log or register is not
judged here: only lines that the recording server accepted are played.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lb.model.catalogue import Source
from lb.model.event import Event
from lb.model.jobid import JobId, parse_cached
from lb.model.status import JobStatus, State
from lb.model.subject import normalise
from lb.state.collection import bucket, collection_state, propagate
from lb.state.fold import blank, embryo, recompute, step, subjobs_of
from lb.state.job import Job
from lb.state.registration import REGISTRATION
from lb.wire.ulm import parse

Case = dict[str, Any]

CATEGORIES = (
    "glite",
    "cream",
    "pbs",
    "condor",
    "transfer",
    "vm",
    "collection",
    "examples",
    "real",
    "registration",
)

_VECTORS = Path(__file__).with_name("vectors")
_GREY = "GREY JOB"
_NOW = 1_800_000_000_000_000


def cases(category: str) -> list[Case]:
    """The recorded cases of a category, e.g. ``glite``."""
    read: list[Case] = json.loads(lzma.decompress((_VECTORS / f"{category}.json.xz").read_bytes()))
    return read


def accepted(case: Case) -> Iterator[Event]:
    """The events of a case that the recording server took."""
    return (parse(at["send"].encode()) for at in case["steps"] if at.get("reply", [1])[0] == 0)


class Replay:
    """Jobs by id."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, Job] = {}
        self._events: dict[JobId, list[Event]] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._grey: set[JobId] = set()

    def send(self, event: Event) -> None:
        """Store an event and follow it up."""
        name = (event.jobid, event.type, event.source, event.host, event.timestamp, event.level, event.seqcode)
        if name in self._seen:
            return
        self._seen.add(name)
        self._events.setdefault(event.jobid, []).append(event)
        if event.jobid in self._grey and event.type is REGISTRATION:
            self._grey.remove(event.jobid)
            owner = normalise(event.user or "")
            self.jobs[event.jobid] = recompute(self._events[event.jobid], jobid=event.jobid, owner=owner)
        elif event.type is not REGISTRATION and (event.jobid not in self.jobs or event.jobid in self._grey):
            self._grey.add(event.jobid)
            self.jobs[event.jobid] = recompute([], jobid=event.jobid, owner=_GREY)
        else:
            job = self.jobs.setdefault(event.jobid, blank(event.jobid, normalise(event.user or "")))
            self._step(job, event)
        if event.type.name in ("ConnectJob", "DisconnectJob"):
            self._mirror(event)
        for subjob in subjobs_of(event):
            if subjob not in self.jobs:
                self.jobs[subjob] = embryo(event, subjob, event.user)

    def _mirror(self, event: Event) -> None:
        """Tell the other job of a connection."""
        other = parse_cached(event.text("dest_jobid") or "")
        if other in self.jobs:
            mirrored = Event(
                event.type, other, timestamp=_NOW, host="", source=Source.LBServer, seqcode="", user="/CN=lb.ex"
            )
            self._step(self.jobs[other], mirrored)

    def _step(self, job: Job, event: Event) -> None:
        before = bucket(job.status)
        step(job, event)
        parent_text = job.status.parent_job
        if parent_text is None:
            return
        parent_id = parse_cached(parent_text)
        parent = self.jobs.get(parent_id)
        if parent is None:
            return
        target = propagate(parent, before, bucket(job.status))
        if target is not None:
            change = collection_state(parent, parent_id, target, event, now=_NOW, host="lb.ex", user="/CN=lb.ex")
            step(parent, change)

    def status(self, job: JobId, flags: str) -> JobStatus:
        """What a query with these flags is answered, children and history apart."""
        status = self.jobs[job].view()
        if "classadd" not in flags:
            status.jdl = status.matched_jdl = status.condor_jdl = status.rsl = None
        if "childhist_thorough" in flags:
            status.children_hist = self._count(job)
        elif "childhist_fast" not in flags:
            status.children_hist = None
        return status

    def _count(self, parent: JobId) -> list[int]:
        counted = [0] * len(State)
        for job in self.jobs.values():
            if job.status.parent_job == str(parent):
                counted[job.status.state] += 1
        return counted
