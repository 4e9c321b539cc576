"""Where things stand on the timeline of a job: states above, the events of each component in a lane below.

The axis is not linear: gaps count by their logarithm, and every column keeps its distance, so that a burst of events
stays legible beside days of waiting. Pure geometry, in units of the drawing; `drawing` makes the picture.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from lb.model.event import Event
from lb.model.status import JobStatus
from lb.web.frame import state_name
from lb.web.text import SECOND, duration, iso

WIDTH: Final = 1000.0
LEFT: Final = 150.0
_MARGIN: Final = 12.0
#: The last state reaches this far beyond the last column.
_TAIL: Final = 28.0
_ROOM: Final = WIDTH - LEFT - _MARGIN - _TAIL - 4
#: With more instants than this, near ones share a place.
COLUMNS: Final = 44
#: Least distance of columns as long as there is room for it.
_BASE: Final = 18.0
_CHARACTER: Final = 7.2
_ROW: Final = 18.0
BAND: Final = 12.0
LANE: Final = 26.0
#: Event types named in the hint of one dot.
_NAMED: Final = 12


class Segment(NamedTuple):
    """Time spent in one state, as a piece of the band."""

    state: int
    x: float
    width: float
    hint: str


class Flag(NamedTuple):
    """The name of a state above the point where it was entered; row 0 is next to the band."""

    state: int
    x: float
    row: int
    leftwards: bool


class Dot(NamedTuple):
    """Events of one lane in one column."""

    x: float
    lane: int
    number: int
    hint: str


class Label(NamedTuple):
    x: float
    text: str


class Layout(NamedTuple):
    """The whole picture; `top` is where the band is, `axis` where the lanes end."""

    segments: list[Segment]
    flags: list[Flag]
    lanes: list[str]
    dots: list[Dot]
    times: list[Label]
    gaps: list[Label]
    top: float
    axis: float
    height: float
    summary: str


class _Mark(NamedTuple):
    """Something at a time: a state entered (`event` is None) or an event."""

    time: int
    order: int
    state: int
    event: Event | None


def layout(status: JobStatus, events: Sequence[Event]) -> Layout | None:
    """The timeline of a job, None when nothing is known of any time."""
    marks = sorted([*_entries(status, events), *(_Mark(event.timestamp, 1, 0, event) for event in events)], key=_when)
    if not marks:
        return None
    columns = _columns(marks)
    xs = _spread([column[0].time for column in columns], min(_BASE, _ROOM / len(columns)))
    entered = [(xs[at], mark) for at, column in enumerate(columns) for mark in column if mark.event is None]
    flags = _flags([(x, mark.state) for x, mark in entered])
    lanes = list(dict.fromkeys(mark.event.source_name for mark in marks if mark.event is not None))
    top = _ROW * (max((flag.row for flag in flags), default=-1) + 1) + 8
    axis = top + BAND + 14 + LANE * len(lanes)
    return Layout(
        segments=_segments(entered, status, max(xs)),
        flags=flags,
        lanes=lanes,
        dots=_dots(columns, xs, lanes),
        times=_times(columns, xs),
        gaps=_gaps(columns, xs),
        top=top,
        axis=axis,
        height=axis + 42,
        summary=_summary(entered, events),
    )


def _when(mark: _Mark) -> tuple[int, int]:
    return mark.time, mark.order


def _entries(status: JobStatus, events: Sequence[Event]) -> list[_Mark]:
    """States with the times they were entered; known to the second, so they are put to the first event in it.

    The present state is the last: what a clock ahead of the others said was entered after it is passed over.
    """
    last = status.stateEnterTimes[status.state] or math.inf
    first: dict[int, int] = {}
    for event in events:
        second = event.timestamp // SECOND
        first[second] = min(first.get(second, event.timestamp), event.timestamp)
    return [
        _Mark(first.get(seconds, seconds * SECOND), 0, state, None)
        for state, seconds in enumerate(status.stateEnterTimes)
        if 0 < seconds <= last and not (seconds == last and state > status.state)
    ]


def _columns(marks: list[_Mark]) -> list[list[_Mark]]:
    """Marks that share a place: those of one instant, and near ones when there are many; two states never do."""
    instants = len({mark.time for mark in marks})
    near = 0.0 if instants <= COLUMNS else _BASE
    places = _spread([mark.time for mark in marks], 0.0)
    columns: list[list[_Mark]] = []
    begin = 0.0
    for mark, place in zip(marks, places, strict=True):
        again = mark.event is None and bool(columns) and any(other.event is None for other in columns[-1])
        same = bool(columns) and (mark.time == columns[-1][-1].time or place - begin < near)
        if same and not again:
            columns[-1].append(mark)
        else:
            columns.append([mark])
            begin = place
    return columns


def _spread(times: Sequence[int], base: float) -> list[float]:
    """Left to right: a base distance for each, the rest of the width by the logarithm of the gaps."""
    weights = [math.log1p((later - earlier) / SECOND) for earlier, later in pairwise(times)]
    spare = _ROOM - base * len(weights)
    total = sum(weights) or 1.0
    places = [LEFT + _MARGIN]
    for weight in weights:
        places.append(places[-1] + base + spare * weight / total)
    return places


def _segments(entered: list[tuple[float, _Mark]], status: JobStatus, last: float) -> list[Segment]:
    segments: list[Segment] = []
    for at, (x, mark) in enumerate(entered):
        if at + 1 < len(entered):
            end, until = entered[at + 1][0], entered[at + 1][1].time
        else:
            end, until = max(last, x) + _TAIL, max(status.lastUpdateTime, mark.time)
        hint = f"{state_name(mark.state)} from {iso(mark.time)}"
        if until > mark.time:
            hint += f", {duration(until - mark.time)}"
        segments.append(Segment(mark.state, x, end - x, hint))
    return segments


def _flags(entered: list[tuple[float, int]]) -> list[Flag]:
    """Names of states, from right to left, each in the lowest row where it is free; lines down then cross no name."""
    taken: list[float] = []
    flags: list[Flag] = []
    for x, state in reversed(entered):
        width = _CHARACTER * len(state_name(state)) + 12
        leftwards = x + width > WIDTH
        begin, end = (x - width, x) if leftwards else (x, x + width)
        row = next((row for row, free in enumerate(taken) if end <= free), len(taken))
        if row == len(taken):
            taken.append(begin)
        taken[: row + 1] = [min(free, begin) for free in taken[: row + 1]]
        flags.append(Flag(state, x, row, leftwards))
    return flags[::-1]


def _dots(columns: list[list[_Mark]], xs: list[float], lanes: list[str]) -> list[Dot]:
    number = {name: at for at, name in enumerate(lanes)}
    dots: list[Dot] = []
    for x, column in zip(xs, columns, strict=True):
        shared: dict[int, list[Event]] = {}
        for mark in column:
            if mark.event is not None:
                shared.setdefault(number[mark.event.source_name], []).append(mark.event)
        dots += [Dot(x, lane, len(events), _hint(events)) for lane, events in shared.items()]
    return dots


def _hint(events: list[Event]) -> str:
    counts = Counter(event.type.name for event in events)
    names = [name if count == 1 else f"{name} ({count})" for name, count in counts.most_common(_NAMED)]
    names += ["…"] if len(counts) > _NAMED else []
    first, last = events[0].timestamp, events[-1].timestamp
    span = f" to {iso(last)}" if last // SECOND > first // SECOND else ""
    return f"{', '.join(names)} at {iso(first)}{span}"


def _times(columns: list[list[_Mark]], xs: list[float]) -> list[Label]:
    """Times below the axis where there is room; the day where it changes."""
    labels: list[Label] = []
    free, day = 0.0, ""
    for x, column in zip(xs, columns, strict=True):
        date, _, clock = iso(column[0].time).removesuffix("Z").partition("T")
        text = clock if date == day else f"{date} {clock}"
        width = _CHARACTER * len(text)
        at = min(x, WIDTH - width)
        if at >= free:
            labels.append(Label(at, text))
            free, day = at + width + 12, date
    return labels


def _gaps(columns: list[list[_Mark]], xs: list[float]) -> list[Label]:
    """How long the wide gaps are."""
    labels: list[Label] = []
    for at in range(len(columns) - 1):
        text = duration(columns[at + 1][0].time - columns[at][-1].time)
        if xs[at + 1] - xs[at] >= _CHARACTER * len(text) + 16:
            labels.append(Label((xs[at] + xs[at + 1]) / 2, text))
    return labels


def _summary(entered: list[tuple[float, _Mark]], events: Sequence[Event]) -> str:
    """The same in words."""
    parts = [f"{state_name(mark.state)} entered at {iso(mark.time)}" for _, mark in entered]
    if events:
        count = "1 event" if len(events) == 1 else f"{len(events):,} events"
        first, last = min(e.timestamp for e in events), max(e.timestamp for e in events)
        parts.append(f"{count} between {iso(first)} and {iso(last)}")
    return "; ".join(parts)
