"""The fold of jobs of described families: registrations and user tags in, exact and standard state out.

Events are ordered by their keys; one that comes late is put in its place and what followed is taken again, back to
`MAX_STEPS` events that moved the job. Earlier than that it still gives its values, and is reported as late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from zlib import crc32

import msgspec

from lb.model.catalogue import BY_NAME
from lb.model.event import Event
from lb.model.seqcode import compare, parse_normal
from lb.state.generic.description import Family, Rule, Scalar, StateKind, Type, Value, read, show
from lb.state.generic.memory import (
    MAX_STEPS,
    Kept,
    Key,
    Memory,
    Position,
    Step,
    add_step,
    keep_all,
    keep_first,
    keep_last,
)
from lb.state.job import Job
from lb.state.registration import REGISTRATION, link_parent
from lb.state.turn import MICROSECONDS, Outcome, Turn

#: Descriptions by the name of their family.
Families = Mapping[str, Family]

#: How a registration names a family in its attribute ``ns``: ``family:NAME``, ``family:NAME@PLACE``.
SCHEME: Final = "family:"
#: The shown attribute that tells the exact state.
STATE: Final = "state"

_USER_TAG: Final = BY_NAME["UserTag"]
_SIMPLE: Final = REGISTRATION.by_name["jobtype"].codes["SIMPLE"]
_UNREADABLE: Final = (-1, *[0] * 8)
_INT32: Final = 1 << 31

_given_decoder: Final = msgspec.json.Decoder(dict[str, Scalar])


def named_family(registration: Event) -> str | None:
    """The name of the family that a registration asks for, None when it asks for none."""
    ns = registration.attributes.get("ns")
    if not isinstance(ns, str) or not ns.startswith(SCHEME) or registration.number("jobtype") != _SIMPLE:
        return None
    return ns.removeprefix(SCHEME).partition("@")[0].lower()


def begin(job: Job, family: Family) -> Memory:
    """Make a job without events one of a family."""
    memory = Memory(family.name, family.digest, Position(family.initial), Position(family.initial))
    job.hidden.generic = memory
    return memory


def fold(job: Job, event: Event, family: Family) -> Outcome:
    """Apply one event to a job of a family, in place."""
    memory = job.hidden.generic or begin(job, family)
    if memory.digest != family.digest:
        _adopt(memory, family)
    if event.type is REGISTRATION:
        _register(job, event, family, memory)
        outcome = Outcome.OK
    elif event.type is _USER_TAG:
        outcome = _tagged(event, family, memory)
    else:
        # What else the protocol knows says nothing about the states of this family.
        outcome = Outcome.OK
    if outcome is not Outcome.SUSPECT:
        status, hidden = job.status, job.hidden
        status.lastUpdateTime = max(status.lastUpdateTime, event.timestamp)
        if parse_normal(event.seqcode) is not None and (hidden.last is None or compare(event.seqcode, hidden.last) > 0):
            hidden.last = event.seqcode
    _show(job, family, memory)
    return outcome


def _adopt(memory: Memory, family: Family) -> None:
    """Go on under a changed description: what is settled stays, as far as the new one knows it."""
    if memory.now.state not in family.states:
        memory.now.state = family.initial
    memory.base = memory.now.copy()
    memory.settled = memory.steps[-1].key if memory.steps else memory.settled
    memory.steps.clear()
    memory.values = {name: kept for name, kept in memory.values.items() if name in family.attributes}
    memory.digest = family.digest


def _register(job: Job, event: Event, family: Family, memory: Memory) -> None:
    """Take what every registration tells; only the first one enters the initial state."""
    status = job.status
    jdl = event.text("jdl")
    if jdl is not None:
        job.set_text("jdl", jdl)
    if status.network_server is None:
        status.network_server = event.text("ns")
        link_parent(Turn(job, event))
        standard = family.states[family.initial].standard
        memory.base.entered = event.timestamp
        memory.base.times[standard] = event.timestamp // MICROSECONDS
        _retake(memory, family)


# --- tags -------------------------------------------------------------------------------------------------------


def _tagged(event: Event, family: Family, memory: Memory) -> Outcome:
    name = (event.text("name") or "").lower()
    if not name.startswith(family.prefix):
        key = _key_of(event, family)
        held = memory.tags.get(name)
        if held is None or key > held.key:
            memory.tags[name] = Kept(key, event.text("value"))
        return Outcome.OK
    kind = family.events.get(name.removeprefix(family.prefix))
    given = _given(event.text("value"))
    if kind is None or given is None:
        return Outcome.SUSPECT
    key = _key_of(event, family)
    readable = True
    values: dict[str, Value] = {}
    for attribute in given.keys() & set(kind.attributes):
        value = read(family.attributes[attribute].type, given[attribute])
        if value is not None:
            values[attribute] = value
        elif given[attribute] is not None:
            readable = False
    for attribute in kind.attributes:
        _take(memory, family, attribute, key, values.get(attribute))
    outcome = Outcome.OK if readable and given.keys() <= set(kind.attributes) else Outcome.SUSPECT
    rows = kind.fitting(values, family.transitions)
    if rows and not _move(memory, family, Step(key, event.timestamp, rows)):
        return Outcome.LATE
    return outcome


def _given(text: str | None) -> dict[str, Scalar] | None:
    """The attributes in the value of a tag, by lower-case name; None when it is no JSON object of plain values."""
    if text is None:
        return {}
    try:
        # JSON is UTF-8; bytes that are none are shown as question marks, the event keeps them.
        given = _given_decoder.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return {name.lower(): value for name, value in given.items()}


def _key_of(event: Event, family: Family) -> Key:
    code = parse_normal(event.seqcode) or _UNREADABLE
    told = f"{event.source} {event.text('name')} {event.text('value')}"
    tie = crc32(told.encode("utf-8", "surrogatepass"))
    return (*code, event.timestamp, tie) if family.by_code else (event.timestamp, *code, tie)


_KEEPERS: Final[dict[Rule, Callable[[list[Kept], Kept], None]]] = {
    Rule.SET: keep_last,
    Rule.LAST: keep_last,
    Rule.FIRST: keep_first,
    Rule.APPEND: keep_all,
}


def _take(memory: Memory, family: Family, name: str, key: Key, value: Value | None) -> None:
    attribute = family.attributes[name]
    if value is None and attribute.rule is not Rule.SET:
        return
    text = None if value is None else show(attribute.type, value)
    _KEEPERS[attribute.rule](memory.values.setdefault(name, []), Kept(key, text))


# --- states -----------------------------------------------------------------------------------------------------


def _move(memory: Memory, family: Family, step: Step) -> bool:
    """Put a step in its place; False when what it would change is settled."""
    if memory.settled is not None and step.key <= memory.settled:
        return False
    if add_step(memory.steps, step):
        _advance(memory.now, step, family)
    else:
        _retake(memory, family)
    while len(memory.steps) > MAX_STEPS:
        oldest = memory.steps.pop(0)
        _advance(memory.base, oldest, family)
        memory.settled = oldest.key
    return True


def _retake(memory: Memory, family: Family) -> None:
    memory.now = memory.base.copy()
    for step in memory.steps:
        _advance(memory.now, step, family)


def _advance(position: Position, step: Step, family: Family) -> None:
    """Take the first row of a step that leads on from here, if there is one."""
    for row in step.rows:
        transition = family.transitions[row]
        if position.state in transition.sources:
            before = family.states[position.state].standard
            after = family.states[transition.to].standard
            position.state = transition.to
            if after != before:
                position.entered = step.time
                position.times[after] = step.time // MICROSECONDS
            return


# --- what is shown ----------------------------------------------------------------------------------------------


def _show(job: Job, family: Family, memory: Memory) -> None:
    status = job.status
    kind = family.states[memory.now.state]
    status.state = kind.standard
    status.done_code = kind.done_code
    status.suspended = kind.suspended
    status.stateEnterTime = memory.now.entered
    status.stateEnterTimes = memory.now.times.copy()
    status.location = f"this is {family.name}"
    status.reason = _reason(kind)
    tags = [(family.prefix + STATE, kind.name)]
    for name, attribute in family.attributes.items():
        held = memory.values.get(name)
        text = _text(held) if held else None
        if text is not None:
            tags.append((family.prefix + name, text))
        if attribute.status is not None:
            _show_as(job, attribute.status, attribute.type, text)
    tags += [(name, memory.tags[name].text or "") for name in sorted(memory.tags)]
    status.user_tags = tags


def _reason(kind: StateKind) -> str | None:
    """Clients that show no tags still tell the exact state, where the standard one does not say as much."""
    return None if kind.name.lower() == kind.standard.name.lower() else kind.name


def _text(held: list[Kept]) -> str | None:
    if len(held) == 1:
        return held[0].text
    texts = [kept.text for kept in held if kept.text is not None]
    return "\n".join(texts) if texts else None


def _show_as(job: Job, name: str, type_: Type, text: str | None) -> None:
    if type_ is Type.INT:
        number = 0 if text is None else int(text)
        setattr(job.status, name, number if -_INT32 <= number < _INT32 else 0)
    elif text is not None or name not in ("reason", "location"):
        setattr(job.status, name, text)
