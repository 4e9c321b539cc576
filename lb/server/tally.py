"""What the storing side tells of its work, a batch at a time; whoever counts overrides it.

Told from the writing thread and from the reactor's.
"""

from __future__ import annotations

from collections.abc import Sequence

from lb.wire.il import Reply


class Tally:
    """Counts nothing."""

    def committed(self, events: int, repeated: int, seconds: float) -> None:
        """A transaction with so many new events is done, so many others were there before; `seconds` to write it."""

    def answered(self, replies: Sequence[Reply]) -> None:
        """A batch of events has its replies."""
