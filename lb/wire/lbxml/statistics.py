"""The documents of ``POST /statsRequest``: rates and durations of jobs (spec: wire-query.md §8.4)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import msgspec

from lb.model.errors import LBError, invalid
from lb.model.query import Attribute, Condition, Group, Operator, Query
from lb.model.status import STATE_CODES, STATE_NAMES, State
from lb.wire.lbxml import conditions, fields
from lb.wire.lbxml.text import unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, REQUEST_LIMITS, Limits, Node, broken

_REQUEST: Final = "edg_wll_StatsRequest"
_RESULT: Final = "edg_wll_StatsResult"


class Function(Enum):
    """What is asked; the values are the names of the wire."""

    RATE = "Rate"
    DURATION = "Duration"
    DURATION_FROM_TO = "DurationFromTo"


class Request(msgspec.Struct, frozen=True):
    """One request; `since`, `until`: seconds since the epoch, `minor`: done code of the last state named."""

    function: Function
    base: State
    since: int
    until: int
    final: State = State.Undefined
    minor: int = 0
    groups: tuple[Group, ...] = ()


class Figure(msgspec.Struct, frozen=True):
    """The figures of one group: a rate (1/s), or a mean duration (s) and its index of dispersion (s)."""

    group: str
    rate: float | None = None
    duration: float | None = None
    dispersion: float | None = None


class Result(msgspec.Struct, frozen=True):
    """An answer: between which times it was counted, with which resolutions (s) at both ends."""

    since: int
    until: int
    resolution_since: int = 0
    resolution_until: int = 0
    figures: tuple[Figure, ...] = ()


def by_destination(destination: str) -> tuple[Group, ...]:
    """The one condition that is supported; an empty text stands for all."""
    return ((Condition(Attribute.DESTINATION, Operator.EQUAL, destination),),)


# --- writing ----------------------------------------------------------------------------------------------------


def write_request(asked: Request) -> bytes:
    """The document of a request, as C clients write it."""
    lines = [fields.element("base_state", STATE_NAMES[asked.base])]
    if asked.function is Function.DURATION_FROM_TO:
        lines.append(fields.element("final_state", STATE_NAMES[asked.final]))
    numbers = (("minor", asked.minor), ("from", asked.since), ("to", asked.until))
    lines += [fields.element(name, str(number)) for name, number in numbers]
    lines.append(conditions.write(Query(jobs=asked.groups)))
    return fields.document(_REQUEST, lines, attributes=b' function="%b"' % asked.function.value.encode("ascii"))


def _write_figure(figure: Figure) -> bytes:
    lines = fields.element("group", figure.group)
    for name in ("rate", "duration", "dispersion"):
        value = getattr(figure, name)
        if value is not None:
            lines += fields.element(name, f"{value:.6f}")
    return b"\t\t<stat>\n%b\t\t</stat>\n" % lines


def write_result(result: Result, error: LBError | None = None) -> bytes:
    """The document of an answer; one with an error repeats the times that were asked for."""
    numbers = (
        ("from", result.since),
        ("to", result.until),
        ("res_from", result.resolution_since),
        ("res_to", result.resolution_until),
    )
    lines = [fields.element(name, str(number)) for name, number in numbers]
    return fields.document(_RESULT, [*lines, *map(_write_figure, result.figures)], error)


# --- reading ----------------------------------------------------------------------------------------------------

_FUNCTIONS: Final = {function.value.lower(): function for function in Function}


def _read_state(text: str) -> State:
    code = STATE_CODES.get(text.lower())
    if code is None:
        raise invalid(f"unknown job state {text[:80]!r}")
    return State(code)


def _read_number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        raise invalid(f"{text[:80]!r} is no number")
    return int(text)


#: Element → field, and how its text is read.
_ELEMENTS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "base_state": ("base", _read_state),
    "final_state": ("final", _read_state),
    "minor": ("minor", _read_number),
    "from": ("since", _read_number),
    "to": ("until", _read_number),
}


def read_request(data: bytes, limits: Limits = REQUEST_LIMITS) -> Request:
    """Read a request; raises 1407 (answered with 400), and EINVAL for what makes no sense."""
    root, found = fields.read_root(data, _REQUEST, (*_ELEMENTS, "and"), limits)
    name = next((text for key, text in root.attributes.items() if key.lower() == "function"), "")
    function = _FUNCTIONS.get(name.strip().lower())
    if function is None:
        raise invalid(f"unknown function {name[:80]!r} of a request for statistics")
    read: dict[str, Any] = {"base": State.Undefined, "since": 0, "until": 0}
    for tag, (field, of_text) in _ELEMENTS.items():
        if tag in found:
            read[field] = of_text(unescape(found[tag].text).strip())
    groups, events = conditions.read(found["and"]) if "and" in found else ((), ())
    if events:
        raise invalid("event conditions are not supported in a request for statistics")
    return Request(function, groups=groups, **read)


def _read_figure(node: Node) -> Figure:
    found = {child.tag: unescape(child.text).strip() for child in node.children}
    try:
        numbers = {name: float(found[name]) for name in ("rate", "duration", "dispersion") if name in found}
    except ValueError:
        raise broken("a figure that is no number") from None
    return Figure(found.get("group", ""), **numbers)


def read_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> Result:
    """The answer; raises the error it carries, or 1407 when it is no such document."""
    root = fields.read_answer(data, _RESULT, limits)
    since, until, resolution_since, resolution_until = (
        _read_number(fields.child_text(root, name) or "0") for name in ("from", "to", "res_from", "res_to")
    )
    figures = tuple(_read_figure(child) for child in root.children if child.tag == "stat")
    return Result(since, until, resolution_since, resolution_until, figures)
