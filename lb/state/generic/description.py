"""A job family as a site describes it: states, attributes, events and the table of transitions.

Only values; how they are read from a file and what is refused is in `lb.state.generic.loading`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from math import inf, isfinite
from typing import Final

import msgspec

from lb.model.status import State

#: Values as they travel in events.
Scalar = str | int | float | bool | None
#: Values as conditions compare them.
Value = str | int | float | bool

#: Longest text of one value that a status shows, characters; events keep theirs whole.
MAX_TEXT: Final = 4096
#: What a cut text ends with.
ELLIPSIS: Final = "…"

_INT_BITS: Final = 63
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Type(Enum):
    """Types of attributes."""

    TEXT = "text"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TIME = "time"


class Rule(Enum):
    """Which of the values that events brought an attribute shows."""

    SET = "set"
    LAST = "last"
    FIRST = "first"
    APPEND = "append"


class StateKind(msgspec.Struct, frozen=True):
    """A state of a family and how it looks to those who know the standard states only."""

    name: str
    standard: State
    done_code: int = -1  #: only with the standard state Done
    terminal: bool = False  #: left only by transitions that name it
    suspended: bool = False


class Attribute(msgspec.Struct, frozen=True):
    """An attribute of a family."""

    name: str
    type: Type
    rule: Rule
    status: str | None = None  #: attribute of the job status that shows it as well


class Transition(msgspec.Struct, frozen=True):
    """One row of the table: an event, met in one of the states `sources`, leads to the state `to`."""

    event: str
    sources: frozenset[str]
    to: str
    when: tuple[tuple[str, frozenset[Value]], ...] = ()  #: attributes of the event and the values they must have

    def fits(self, given: dict[str, Value]) -> bool:
        """Whether the values of an event meet the conditions."""
        return all(given.get(name) in values for name, values in self.when)


class EventKind(msgspec.Struct, frozen=True):
    """A kind of event; `rows` are the numbers of its transitions, in the order of the table."""

    name: str
    attributes: tuple[str, ...]
    rows: tuple[int, ...]
    free: tuple[int, ...]  #: rows without a condition
    bound: dict[str, dict[Value, tuple[int, ...]]]  #: the others, by their first condition: attribute, then value

    def fitting(self, given: dict[str, Value], transitions: tuple[Transition, ...]) -> tuple[int, ...]:
        """The rows whose conditions the values of an event meet, in the order of the table."""
        if not self.bound:
            return self.free
        found = [row for name, rows in self.bound.items() if name in given for row in rows.get(given[name], ())]
        return tuple(sorted([*self.free, *(row for row in found if transitions[row].fits(given))]))


class Family(msgspec.Struct, frozen=True, eq=False):
    """A job family. All names of events and attributes are in lower case."""

    name: str
    title: str
    initial: str  #: state of a job that was registered
    by_code: bool  #: events are ordered by sequence code, then time; else by time, then code
    states: dict[str, StateKind]
    attributes: dict[str, Attribute]
    events: dict[str, EventKind]
    transitions: tuple[Transition, ...]
    digest: str  #: of the file: a state made by another one is made anew
    prefix: str  #: of the names of the user tags that carry events and show attributes


def _text(given: Scalar) -> Value | None:
    if isinstance(given, bool):
        return "true" if given else "false"
    return given if isinstance(given, str) else str(given)


def _int(given: Scalar) -> Value | None:
    if isinstance(given, str) and len(given) <= _INT_BITS:
        try:
            given = int(given)
        except ValueError:
            return None
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) >> _INT_BITS:
        return None
    return given


def _float(given: Scalar) -> Value | None:
    if isinstance(given, bool) or given is None:
        return None
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _bool(given: Scalar) -> Value | None:
    if isinstance(given, str):
        return {"true": True, "false": False}.get(given.lower())
    return given if isinstance(given, bool) else None


def _time(given: Scalar) -> Value | None:
    """Microseconds since the epoch, of seconds since the epoch or a text of ISO 8601 (UTC if it does not say)."""
    if isinstance(given, str):
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            return None
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    seconds = _float(given)
    microseconds = inf if seconds is None else float(seconds) * 1_000_000
    return round(microseconds) if isfinite(microseconds) else None


_READERS: Final[dict[Type, Callable[[Scalar], Value | None]]] = {
    Type.TEXT: _text,
    Type.INT: _int,
    Type.FLOAT: _float,
    Type.BOOL: _bool,
    Type.TIME: _time,
}


def read(type_: Type, given: Scalar) -> Value | None:
    """The value of a given scalar, None when it is no value of that type."""
    return None if given is None else _READERS[type_](given)


def show(type_: Type, value: Value) -> str:
    """A value as the status shows it."""
    if type_ is Type.TIME:
        try:
            moment = _EPOCH + timedelta(microseconds=int(value))
        except OverflowError:
            return str(value)
        return moment.isoformat().replace("+00:00", "Z")
    text = str(_text(value))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + ELLIPSIS
