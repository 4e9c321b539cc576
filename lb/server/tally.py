"""What the storing side tells of its work, a batch at a time; whoever counts overrides it.

Told from the writing thread and from the reactor's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lb.wire.il import Reply


class Tally:
    """Counts nothing."""

    def committed(self, events: int, repeated: int, seconds: float) -> None:
        """A transaction with so many new events is done, so many others were there before; `seconds` to write it."""

    def registered(self, jobs: Mapping[int, int]) -> None:
        """Jobs that a transaction registered: job type → number."""

    def answered(self, replies: Sequence[Reply]) -> None:
        """A batch of events has its replies."""


class Tallies(Tally):
    """Tells several."""

    def __init__(self, *tallies: Tally) -> None:
        self._tallies = tallies

    def committed(self, events: int, repeated: int, seconds: float) -> None:
        for each in self._tallies:
            each.committed(events, repeated, seconds)

    def registered(self, jobs: Mapping[int, int]) -> None:
        for each in self._tallies:
            each.registered(jobs)

    def answered(self, replies: Sequence[Reply]) -> None:
        for each in self._tallies:
            each.answered(replies)
