"""What a description of a job family may say: its form, and the checks that find everything wrong in it.

A check never stops at the first problem, and says for each where it is and what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final, Literal

import msgspec

from lb.model.status import BY_NAME as STATUS
from lb.model.status import STATE_CODES, State
from lb.state.generic.description import (
    Attribute,
    EventKind,
    Rule,
    Scalar,
    StateKind,
    Transition,
    Type,
    Value,
    read,
)

FORMAT: Final = 1
#: In ``from``: every state that is not terminal; every state.
NOT_TERMINAL, ALL = "*", "**"

#: Attributes of the job status that an attribute may be shown as, beside its tag.
SHOWABLE: Final = (
    "ce_node",
    "condorId",
    "cancelReason",
    "destination",
    "exit_code",
    "failure_reasons",
    "globusId",
    "localId",
    "location",
    "reason",
    "suspend_reason",
    "ui_host",
)
#: The tag of the exact state has this name.
RESERVED: Final = "state"

#: Standard states that a job never leaves by itself, and those that no description may use.
_FINAL: Final = frozenset({State.Done, State.Cleared, State.Aborted, State.Cancelled})
_UNUSABLE: Final = frozenset({State.Undefined, State.Unknown, State.Purged})
_USABLE: Final = tuple(state.name for state in State if state not in _UNUSABLE)

_FAMILY_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_LOWER_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_STATE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)


class StateEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``[states.NAME]``."""

    standard: str
    done: Literal["OK", "FAILED", "CANCELLED"] | None = None
    terminal: bool = False
    suspended: bool = False


class AttributeEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``[attributes.NAME]``."""

    type: Type = Type.TEXT
    rule: Rule = Rule.LAST
    status: str | None = None


class EventEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``[events.NAME]``."""

    attributes: list[str] = []


class TransitionEntry(msgspec.Struct, forbid_unknown_fields=True, rename={"sources": "from"}):
    """An element of ``transitions``."""

    event: str
    to: str
    sources: str | list[str] = NOT_TERMINAL
    when: dict[str, str | int | float | bool | list[str | int | float | bool]] = {}


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """A whole file."""

    format: int
    name: str
    initial: str
    states: dict[str, StateEntry]
    events: dict[str, EventEntry]
    transitions: list[TransitionEntry]
    title: str = ""
    order: Literal["time", "code"] = "time"
    attributes: dict[str, AttributeEntry] = {}


_ENTRIES: Final[dict[str, type[msgspec.Struct]]] = {
    "states": StateEntry,
    "attributes": AttributeEntry,
    "events": EventEntry,
}
_PLACE: Final = re.compile(r"(.*) - at `(?:key in )?\$\.?(.*)`", re.DOTALL)


def misshapen(raw: dict[str, Any]) -> list[str]:
    """What in a parsed file is no `Document`; of each entry of its tables the first problem."""
    problems: list[str] = []
    rest = dict(raw)
    for table, entry_type in _ENTRIES.items():
        entries = raw.get(table)
        if isinstance(entries, dict):
            rest[table] = {}
            for name, entry in entries.items():
                problems += _misfit(entry, entry_type, f"{table}.{name}")
    return [*_misfit(rest, Document, ""), *problems]


def _misfit(value: Any, wanted: type[msgspec.Struct], place: str) -> Iterator[str]:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        what, below = found.groups() if found else (str(error), "")
        yield f"{'.'.join(part for part in (place, below) if part) or 'the file'}: {what}"


class Checked:
    """A document and the parts of the family made of it; parts with problems are left out or harmless."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.states: dict[str, StateKind] = {}
        self.attributes: dict[str, Attribute] = {}
        self.events: dict[str, EventKind] = {}
        self.transitions: list[Transition] = []


def check(checked: Checked) -> list[str]:
    """Make the parts of a family; returns what is wrong, in the order of the file."""
    problems = [*_head(checked.document), *_states(checked), *_attributes(checked), *_events(checked)]
    problems += _transitions(checked)
    _collect_events(checked)
    # Ways through a table that is wrong would only be reported a second time.
    return problems or [*_shadowed(checked), *_ways(checked)]


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1)
    return f"no {kind} {name!r}" + (f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}")


def _twins(place: str, names: Collection[str]) -> Iterator[str]:
    """Names that differ in case only mean the same in the protocol."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            yield f"{place}.{name}: duplicate name, {seen[name.lower()]!r} differs in case only"
        seen[name.lower()] = name


def _head(document: Document) -> Iterator[str]:
    if document.format != FORMAT:
        yield f"format: {document.format} is not known; this version of lb reads format {FORMAT}"
    if not _FAMILY_NAME.fullmatch(document.name):
        yield f"name: {document.name!r} is no name of a family: lower-case letters, digits, _ and -, at most 32"


def _states(checked: Checked) -> Iterator[str]:
    document = checked.document
    yield from _twins("states", document.states)
    for name, entry in document.states.items():
        place = f"states.{name}"
        code = STATE_CODES.get(entry.standard.lower())
        standard = State.Unknown if code is None else State(code)
        if not _STATE_NAME.fullmatch(name):
            yield f"{place}: {name!r} is no name of a state: letters, digits, _ and -, at most 64"
        if code is None or standard in _UNUSABLE:
            yield f"{place}.standard: {_unknown('standard state', entry.standard, _USABLE)}"
        elif entry.terminal != (standard in _FINAL):
            which = "terminal states are" if entry.terminal else "a state that is not terminal is not"
            yield f"{place}.standard: {standard.name}; {which} shown as Done, Cleared, Aborted or Cancelled"
        if (entry.done is not None) != (standard is State.Done):
            yield f"{place}.done: belongs to states with the standard state Done, and each of them needs it"
        if entry.suspended and standard is not State.Running:
            yield f"{place}.suspended: belongs to states with the standard state Running"
        done = STATUS["done_code"].codes[entry.done] if entry.done else -1
        checked.states[name] = StateKind(name, standard, done, entry.terminal, entry.suspended)
    if document.initial not in document.states:
        yield f"initial: {_unknown('state', document.initial, document.states)}"
    elif document.states[document.initial].terminal:
        yield f"initial: {document.initial} is terminal"


def _attributes(checked: Checked) -> Iterator[str]:
    entries = checked.document.attributes
    shown: dict[str, str] = {}
    for name, entry in entries.items():
        place = f"attributes.{name}"
        if not _LOWER_NAME.fullmatch(name):
            yield f"{place}: {name!r} is no name of an attribute: lower-case letters, digits, _ and -, at most 64"
        if name == RESERVED:
            yield f"{place}: the exact state is shown under this name"
        status = entry.status
        if status is not None:
            if status not in SHOWABLE:
                yield f"{place}.status: {_unknown('attribute of the status to show it as', status, SHOWABLE)}"
            elif (STATUS[status].type == "int") != (entry.type is Type.INT and entry.rule is not Rule.APPEND):
                yield f"{place}.status: {status} is {'one int' if STATUS[status].type == 'int' else 'a text'}"
            elif status in shown:
                yield f"{place}.status: {status} shows {shown[status]} already"
            shown[status] = name
        checked.attributes[name] = Attribute(name, entry.type, entry.rule, status)
    carried = {name for event in checked.document.events.values() for name in event.attributes}
    for name in entries:
        if name not in carried:
            yield f"attributes.{name}: no event carries it"


def _events(checked: Checked) -> Iterator[str]:
    document = checked.document
    for name, entry in document.events.items():
        place = f"events.{name}"
        if not _LOWER_NAME.fullmatch(name):
            yield f"{place}: {name!r} is no name of an event: lower-case letters, digits, _ and -, at most 64"
        for number, attribute in enumerate(entry.attributes):
            if attribute not in document.attributes:
                yield f"{place}.attributes[{number}]: {_unknown('attribute', attribute, document.attributes)}"
            elif attribute in entry.attributes[:number]:
                yield f"{place}.attributes[{number}]: duplicate name {attribute!r}"


def _transitions(checked: Checked) -> Iterator[str]:
    document = checked.document
    for number, row in enumerate(document.transitions):
        place = f"transitions[{number}]"
        if row.event not in document.events:
            yield f"{place}.event: {_unknown('event', row.event, document.events)}"
        if row.to not in document.states:
            yield f"{place}.to: {_unknown('state', row.to, document.states)}"
        sources: set[str] = set()
        given = [row.sources] if isinstance(row.sources, str) else row.sources
        if not given:
            yield f"{place}.from: empty; a state, a list of states, {NOT_TERMINAL!r} or {ALL!r}"
        for name in given:
            if name in (NOT_TERMINAL, ALL):
                sources |= {state.name for state in checked.states.values() if name == ALL or not state.terminal}
            elif name in document.states:
                sources.add(name)
            else:
                yield f"{place}.from: {_unknown('state', name, document.states)}"
        conditions: list[tuple[str, frozenset[Value]]] = []
        for name, wanted in row.when.items():
            carried = document.events[row.event].attributes if row.event in document.events else ()
            if name not in carried:
                yield f"{place}.when.{name}: {_unknown(f'attribute of event {row.event}', name, carried)}"
                continue
            values: list[Scalar] = list(wanted) if isinstance(wanted, list) else [wanted]
            type_ = document.attributes[name].type if name in document.attributes else Type.TEXT
            known = [(value, read(type_, value)) for value in values]
            yield from (f"{place}.when.{name}: {value!r} is no {type_.value}" for value, got in known if got is None)
            conditions.append((name, frozenset(got for _, got in known if got is not None)))
        checked.transitions.append(Transition(row.event, frozenset(sources), row.to, tuple(conditions)))


def _collect_events(checked: Checked) -> None:
    for name, entry in checked.document.events.items():
        rows = tuple(number for number, row in enumerate(checked.transitions) if row.event == name)
        bound: dict[str, dict[Value, tuple[int, ...]]] = {}
        for number in rows:
            for attribute, values in checked.transitions[number].when[:1]:
                for value in values:
                    by_value = bound.setdefault(attribute, {})
                    by_value[value] = (*by_value.get(value, ()), number)
        free = tuple(number for number in rows if not checked.transitions[number].when)
        checked.events[name] = EventKind(name, tuple(entry.attributes), rows, free, bound)


def _shadowed(checked: Checked) -> Iterator[str]:
    """Rows that never count because earlier ones of the same event take all that they would."""
    for kind in checked.events.values():
        for index, number in enumerate(kind.rows):
            row = checked.transitions[number]
            left = set(row.sources)
            for earlier in kind.rows[:index]:
                if _covers(checked.transitions[earlier], row):
                    left -= checked.transitions[earlier].sources
            if not left:
                yield f"transitions[{number}]: never taken, earlier ones of event {kind.name} take all that it would"


def _covers(earlier: Transition, later: Transition) -> bool:
    """Whether every event that fits `later` fits `earlier`."""
    wanted = dict(later.when)
    return all(name in wanted and wanted[name] <= values for name, values in earlier.when)


def _ways(checked: Checked) -> Iterator[str]:
    forward: dict[str, set[str]] = {name: set() for name in checked.states}
    backward: dict[str, set[str]] = {name: set() for name in checked.states}
    for row in checked.transitions:
        for source in row.sources:
            forward[source].add(row.to)
            backward[row.to].add(source)
    reachable = _reached(forward, [checked.document.initial])
    ending = _reached(backward, [state.name for state in checked.states.values() if state.terminal])
    for name in checked.states:
        if name not in reachable:
            yield f"states.{name}: cannot be reached from the initial state {checked.document.initial}"
        elif name not in ending:
            yield f"states.{name}: no way leads from it to a terminal state"


def _reached(edges: dict[str, set[str]], starts: Iterable[str]) -> set[str]:
    reached = set(starts)
    pending = list(reached)
    while pending:
        new = edges[pending.pop()] - reached
        reached |= new
        pending += new
    return reached
