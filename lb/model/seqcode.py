"""Sequence codes: the text by which events are ordered without synchronised clocks (spec: model.md §7).

Pure functions on the text as it travels; producers keep a code with `Sequence`.
Where the C implementation is undefined the required behaviour of §7.3 is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cmp_to_key, lru_cache
from typing import Any, Final

from lb.model.catalogue import FLESH_SEQCODE, Source
from lb.model.errors import invalid
from lb.model.event import Event


class Flavour(Enum):
    """How a producer keeps its code."""

    NORMAL = "NORMAL"
    DUPLICATE = "DUPLICATE"
    CREAM = "CREAM"
    PBS = "PBS"
    CONDOR = "CONDOR"


_NORMAL_WIDTHS: Final = {"UI": 6, "NS": 10, "WM": 6, "BH": 10, "JSS": 6, "LM": 6, "LRMS": 6, "APP": 6, "LBS": 6}
_PBS_WIDTHS: Final = {"CLIENT": 6, "SERVER": 10, "SCHED": 6, "SMOM": 6, "MOM": 6}

NORMAL_COUNTERS: Final = tuple(_NORMAL_WIDTHS)
PBS_COUNTERS: Final = tuple(_PBS_WIDTHS)
UI, NS, WM, BH, JSS, LM, LRMS, APP, LBS = range(len(NORMAL_COUNTERS))

#: The counter that each source increments; the others have none.
_NORMAL_COUNTER: Final = {int(source): number for number, source in enumerate(list(Source)[1:10])}
_PBS_COUNTER: Final = {
    int(source): number
    for number, source in enumerate(
        (Source.PBSClient, Source.PBSServer, Source.PBSScheduler, Source.PBSMomSuperior, Source.PBSMom)
    )
}

#: A counter as `scanf` reads it. Beyond 18 digits nobody counts; such a code cannot be read.
_COUNTER: Final = r"=\s*([+-]?\d{1,18})(?!\d)"
_NORMAL = re.compile(":".join(label + _COUNTER for label in NORMAL_COUNTERS[:-1]) + rf"(?::LBS{_COUNTER})?", re.ASCII)
_PBS = re.compile(":".join(label + _COUNTER for label in PBS_COUNTERS), re.ASCII)
_CONDOR = re.compile(r"TIMESTAMP=(.{14}):POS=(.{10}):EV\.CODE=([0-9]{3}):SRC=(.)", re.DOTALL)
_CONDOR_REGISTRATION = 17

Counters = tuple[int, ...]

#: Longest code that is remembered: what a peer sends must not fill the memory.
_REMEMBERED: Final = 512


def _counters(found: re.Match[str] | None) -> Counters | None:
    return tuple(_unsigned(int(number or 0)) for number in found.groups()) if found else None


def _unsigned(number: int) -> int:
    return number if number >= 0 else number % 2**32


@lru_cache(maxsize=8192)
def _parse_normal(code: str) -> Counters | None:
    return _counters(_NORMAL.match(code))


@lru_cache(maxsize=1024)
def _parse_pbs(code: str) -> Counters | None:
    return _counters(_PBS.match(code))


def parse_normal(code: str) -> Counters | None:
    """The nine counters of a gLite code, None when it cannot be read; a missing LBS is 0, negative ones wrap."""
    return _parse_normal(code) if len(code) <= _REMEMBERED else _counters(_NORMAL.match(code))


def parse_pbs(code: str) -> Counters | None:
    """The five counters of a PBS code, None when it cannot be read."""
    return _parse_pbs(code) if len(code) <= _REMEMBERED else _counters(_PBS.match(code))


def format_normal(counters: Iterable[int]) -> str:
    return ":".join(
        f"{label}={n:0{width}d}" for (label, width), n in zip(_NORMAL_WIDTHS.items(), counters, strict=True)
    )


def format_pbs(counters: Iterable[int]) -> str:
    return ":".join(f"{label}={n:0{width}d}" for (label, width), n in zip(_PBS_WIDTHS.items(), counters, strict=True))


NULL_NORMAL: Final = format_normal([0] * len(NORMAL_COUNTERS))
NULL_PBS: Final = format_pbs([0] * len(PBS_COUNTERS))


def component(code: str, counter: int) -> int:
    """One counter of a gLite code (`UI` … `LBS`), -1 when the code cannot be read."""
    counters = parse_normal(code)
    return counters[counter] if counters else -1


def compare(a: str, b: str) -> int:
    """-1, 0 or 1: PBS order when both are PBS codes, else gLite order; two unreadable codes are equal."""
    if a == b:
        return 0
    parse = parse_pbs if "SMOM=" in a and "SMOM=" in b else parse_normal
    return _compare_counters(parse(a), parse(b))


def compare_pbs(a: str, b: str) -> int:
    """Order of PBS jobs' events; a side that cannot be read makes it -1, equal codes are equal (S22)."""
    left, right = parse_pbs(a), parse_pbs(b)
    if a == b or (left is not None and left == right):
        return 0
    return -1 if left is None or right is None or left < right else 1


def compare_condor(a: str, b: str) -> int:
    """Order of Condor jobs' events as intended (model.md §7.3, S23): registration first, time, position, source.

    One code that cannot be read makes it -1, whichever it is; two such codes are equal.
    """
    if a == b:
        return 0
    left, right = _CONDOR.match(a), _CONDOR.match(b)
    if left is None or right is None:
        return 0 if left is right else -1
    if int(left[3]) == _CONDOR_REGISTRATION:
        return -1
    if int(right[3]) == _CONDOR_REGISTRATION:
        return 1
    if left[1] != right[1]:
        return -1 if left[1] < right[1] else 1
    if left[4] == right[4]:
        return (left[2] > right[2]) - (left[2] < right[2])
    for strongest in "ms":
        if strongest in (left[4], right[4]):
            return 1 if left[4] == strongest else -1
    return 0


def _compare_counters(left: Counters | None, right: Counters | None) -> int:
    if left is None:
        return 0 if right is None else -1
    if right is None:
        return 1
    return (left > right) - (left < right)


def _compare_times(a: Event, b: Event) -> int:
    return (a.timestamp > b.timestamp) - (a.timestamp < b.timestamp)


def _readable(code: str) -> bool:
    return parse_normal(code) is not None or parse_pbs(code) is not None


def _compare_events(a: Event, b: Event) -> int:
    order = compare(a.seqcode, b.seqcode)
    if order or not (_readable(a.seqcode) and _readable(b.seqcode)):
        return order
    return _compare_times(a, b)


def _compare_condor_events(a: Event, b: Event) -> int:
    readable = _CONDOR.match(a.seqcode) is not None
    if readable != (_CONDOR.match(b.seqcode) is not None):
        return 1 if readable else -1
    if not readable:
        return 0
    order = compare_condor(a.seqcode, b.seqcode)
    if order == compare_condor(b.seqcode, a.seqcode):  # two registrations: each would come before the other
        order = 0
    return order or _compare_times(a, b)


def in_order(events: Iterable[Event], *, condor: bool = False) -> list[Event]:
    """Events of a job in event order: code, then time, then arrival.

    Events whose code cannot be read come first, in the order of their arrival (S54).
    """
    return sorted(events, key=event_key(condor=condor))


def event_key(*, condor: bool = False) -> Callable[[Event], Any]:
    """The sort key of `in_order`; of equal keys the one that arrived first comes first."""
    return cmp_to_key(_compare_condor_events if condor else _compare_events)


def lower_lm(code: str) -> str:
    """The code with its LM counter set to 0: what an Accepted or Transfer of LogMonitor leaves as last code."""
    counters = parse_normal(code)
    if counters is None:
        return code
    return format_normal((*counters[:LM], 0, *counters[LM + 1 :]))


class Sequence:
    """The code that one producer keeps for one job (model.md §7.2).

    `text` is what the next event carries; `increment` after (or, when taking a job over, before) each event.
    """

    def __init__(
        self, source: int, flavour: Flavour = Flavour.NORMAL, code: str | None = None, *, now: int = 0
    ) -> None:
        """`now` (epoch seconds) becomes the own counter of a DUPLICATE code. Raises EINVAL for an unreadable code."""
        if not 1 <= source <= max(Source):
            raise invalid(f"source {source} cannot keep a sequence code")
        self.source = source
        self.flavour = flavour
        self._text = ""
        self._counters: list[int] = []
        if flavour is Flavour.CONDOR:
            self._text = (code or "")[:68]
        elif flavour is Flavour.PBS:
            self._counters = list(self._read(parse_pbs(code) if code else (0,) * len(PBS_COUNTERS)))
        elif flavour is Flavour.CREAM:
            self._counters = list((parse_normal(code) if code else None) or (0,) * len(NORMAL_COUNTERS))
        else:
            self._counters = list(self._read(parse_normal(code) if code else (0,) * len(NORMAL_COUNTERS)))
            if flavour is Flavour.DUPLICATE and source in _NORMAL_COUNTER:
                self._counters[_NORMAL_COUNTER[source]] = now

    @staticmethod
    def _read(counters: Counters | None) -> Counters:
        if counters is None:
            raise invalid("edg_wll_SetSequenceCode(): syntax error in sequence code")
        return counters

    @property
    def text(self) -> str:
        if self.flavour is Flavour.CONDOR:
            return self._text
        return (format_pbs if self.flavour is Flavour.PBS else format_normal)(self._counters)

    def increment(self) -> None:
        """One more event of the own source; sources without a counter in this flavour change nothing."""
        counter = (_PBS_COUNTER if self.flavour is Flavour.PBS else _NORMAL_COUNTER).get(self.source)
        if counter is not None and self._counters:
            self._counters[counter] += 1


def flavour_of_flesh(flesh: str) -> Flavour:
    """The flavour that events of a flesh use by custom, e.g. PBS for PBS events."""
    return Flavour[FLESH_SEQCODE[flesh]]
