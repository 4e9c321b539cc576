"""The fold of job families without attempts: a table, one optional order of codes, a fixed first location.

Spec: state-machine.md §§7 to 12. A late event still gives its data, and is reported as in order.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lb.model.catalogue import EventType
from lb.model.event import Event
from lb.state.job import Job
from lb.state.rules import Actions, Table
from lb.state.turn import Outcome, Turn


class Family(msgspec.Struct, frozen=True):
    """How the jobs of one type are folded. Events without a rule count for time and order only."""

    table: Table
    location: str  #: of a job that has none yet
    compare: Callable[[str, str], int] | None = None  #: order of codes; without one no event is late
    keeps_code: bool = True  #: the job remembers its last code
    data: dict[EventType, Actions] = {}  #: what events bring in any case, for families that note it apart

    def fold(self, job: Job, event: Event) -> Outcome:
        """Apply one event to a job of this family."""
        turn = Turn(job, event)
        rule, late = self.table.find(event), self._is_late(job, event)
        if rule is not None and not late:
            if rule.to is not None:
                job.status.state = rule.to
            for action in rule.ok:
                action(turn)
        if turn.outcome is Outcome.SUSPECT:
            return turn.outcome
        if not late:
            turn.record_time()
            # An empty code orders nothing (S31).
            if self.keeps_code and event.seqcode:
                job.hidden.last = event.seqcode
        if rule is not None:
            for action in rule.data:
                action(turn)
        for action in self.data.get(event.type, ()):
            action(turn)
        if job.status.location is None:
            job.status.location = self.location
        return turn.outcome

    def _is_late(self, job: Job, event: Event) -> bool:
        last = job.hidden.last
        return self.compare is not None and last is not None and self.compare(last, event.seqcode) > 0
