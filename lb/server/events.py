"""Stored event lines as events again, in event order; for answers, histories and notifications."""

from __future__ import annotations

from collections.abc import Iterable

from lb.model.event import Event
from lb.model.seqcode import in_order
from lb.store.interface import StoredEvent
from lb.wire import ulm


def read_event(arrived: int, line: bytes) -> Event:
    """The event of a stored line, and when it arrived (microseconds)."""
    event = ulm.parse(line)
    event.arrived = arrived
    return event


def read_events(stored: Iterable[StoredEvent], *, condor: bool) -> list[Event]:
    """The events of one job; `condor`: whether its sequence codes are those of Condor."""
    return in_order([read_event(*one) for one in stored], condor=condor)
