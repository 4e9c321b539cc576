"""What goes into the writing thread and what comes out of it, beside the events themselves."""

from __future__ import annotations

from typing import NamedTuple

from lb.security.identity import Identity
from lb.wire import il


class Submission(NamedTuple):
    """A line and who handed it in."""

    line: bytes
    peer: Identity
    arrived: int | None = None  #: microseconds since the epoch, of one that arrived before; None is now


class Unstored(il.Reply):
    """A reply that speaks of the store, not of the event: whoever sent it comes again, and nothing may overtake it."""


class Stream:
    """Lines that came one after another, and whose order counts (P4)."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        #: Why nothing that follows is taken: one of the lines could not be stored.
        self.ended: Unstored | None = None
