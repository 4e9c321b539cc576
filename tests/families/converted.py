"""What tests of converters look at: what was converted and what was not, and the jobs that come of it."""

from __future__ import annotations

from collections.abc import Iterable

from lb.families.occurrence import Occurrence, PassedOver
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.state.fold import blank, step
from lb.state.job import Job


def sorted_out(converted: Iterable[Occurrence | PassedOver]) -> tuple[list[Occurrence], list[PassedOver]]:
    """What was converted, and what was passed over, each in its order."""
    everything = list(converted)
    return (
        [each for each in everything if isinstance(each, Occurrence)],
        [each for each in everything if isinstance(each, PassedOver)],
    )


def folded(events: Iterable[Event]) -> dict[JobId, Job]:
    """Jobs after all these events, in this order."""
    jobs: dict[JobId, Job] = {}
    for event in events:
        step(jobs.setdefault(event.jobid, blank(event.jobid, event.user)), event)
    return jobs
