"""Checking stored states against the events they were made of, and repairing them, while the server runs.

A slice of the jobs at a time, each in one transaction of the writing thread, so that events wait for one slice only.
Checking changes nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.status import STATES, State
from lb.server.batch import Batch
from lb.server.ingest import Ingest
from lb.server.parents import Parents
from lb.state.collection import target
from lb.state.rebuild import differences, rebuild
from lb.store.interface import StoredJob, Writer
from lb.wire import recompute, ulm

#: Subjobs that are looked at together.
_GROUP: Final = 1_000


class Difference(NamedTuple):
    """A job whose stored state is not what its events say."""

    job: str
    attributes: list[
        str
    ]  #: names, those of hidden fields with a leading dot; or the error that kept it from being told


class Report(NamedTuple):
    """What one slice found. `last`: key of its last job, where the next slice begins; None when there is none."""

    checked: int
    last: int | None
    differing: list[Difference]


class Recomputation:
    """For the writing thread."""

    def __init__(self, writer: Writer, ingest: Ingest) -> None:
        self._writer = writer
        self._ingest = ingest

    def __call__(self, after: int = 0, most: int = recompute.MOST, *, repair: bool = False) -> Report:
        """Look at the next jobs behind the key `after`, and bring them right with `repair`; raises `StoreError`.

        A subjob whose class changes by that moves its parent, as an event would.
        """
        names = self._writer.after(after, most)
        differing = []
        with self._ingest.transaction() as batch:
            parents = self._ingest.parents(batch)
            batch.load_anew([unique for _, unique in names])
            for _, unique in names:
                job = batch.known[unique]
                wrong = self._job(job, batch, parents, repair)
                if wrong:
                    differing.append(Difference(str(job.jobid), wrong))
            if not repair:
                batch.changed.clear()
        return Report(len(names), names[-1][0] if len(names) == most else None, differing)

    def _job(self, job: StoredJob, batch: Batch, parents: Parents, repair: bool) -> list[str]:
        try:
            events = [ulm.parse(line) for line in batch.lines_of(job)]
            right = rebuild(job.state, events, jobid=job.jobid, owner=job.owner, families=batch.families)
        except LBError as error:
            return [str(error)]
        wrong = differences(job.state, right)
        right.status.children_hist = self._histogram(job, batch)
        counted = right.status.children_hist != job.state.status.children_hist
        if counted:
            wrong.append("children_hist")
        if wrong and repair:
            job.state = right
            batch.change(job)
            self._relatives(job, events, parents, counted)
        return wrong

    @staticmethod
    def _relatives(job: StoredJob, events: list[Event], parents: Parents, counted: bool) -> None:
        if not events:
            return
        parents.follow(job, events[-1])
        to = target(job.state) if counted else None
        if to is not None:
            parents.bring(job, to, events[-1])

    def _histogram(self, job: StoredJob, batch: Batch) -> list[int] | None:
        """What the counters of a parent have to be by the classes that its subjobs remember."""
        stored = job.state.status.children_hist
        if stored is None:
            return None
        children = self._writer.children(job.jobid.unique)
        histogram, made = [0] * STATES, 0
        for start in range(0, len(children), _GROUP):
            group = children[start : start + _GROUP]
            loaded = self._writer.load(group)
            for unique in group:
                child = batch.known.get(unique) or loaded[unique]
                histogram[child.state.hidden.counted] += 1
                made += child.state.hidden.embryonic
        # A repeated registration may have named fewer than there are; what is not here counts as Unknown.
        histogram[State.Unknown] += max(job.state.status.children_num, made) - sum(histogram)
        return histogram
