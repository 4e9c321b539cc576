"""States and events as plain values for JSON: attribute names of the model, names for coded values, times in ISO 8601.

What is null is left out. Bytes that were no UTF-8 become U+FFFD, since JSON has no place for them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lb.model.catalogue import LEVEL_NAMES, Attribute, Kind
from lb.model.event import Event, Value
from lb.model.status import ATTRIBUTES, BY_NAME, STATE_NAMES, JobStatus, StatusAttribute

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Lists with one number a state.
_COUNTS: Final = "children_hist"
_TIMES: Final = "stateEnterTimes"


def iso_time(microseconds: int) -> str:
    """``2008-09-28T05:24:56.355641Z``; the bare number for what no calendar holds."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return str(microseconds)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def clean(text: str) -> str:
    """The text as valid Unicode."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def state_name(state: int) -> str:
    """The name of a state, its number when it has none."""
    return STATE_NAMES[state] if 0 <= state < len(STATE_NAMES) else str(state)


def status_document(status: JobStatus) -> dict[str, Any]:
    """A state; `stateEnterTimes` and `children_hist` by state name, `user_tags` by tag name."""
    found: dict[str, Any] = {"state": state_name(status.state)}
    for attribute in ATTRIBUTES:
        value = getattr(status, attribute.name, None)
        if attribute.name == "state" or value is None or value == attribute.null:
            continue
        found[attribute.name] = _status_value(attribute, value)
    return {name: value for name, value in found.items() if value not in (None, {}, [])}


def _status_value(attribute: StatusAttribute, value: Any) -> Any:
    name = attribute.name
    if name == "children_states":
        return [status_document(child) for child in value]
    if name == _COUNTS:
        return {state: count for state, count in zip(STATE_NAMES, value, strict=True) if count}
    if name == _TIMES:
        return {state: iso_time(at * 1_000_000) for state, at in zip(STATE_NAMES, value, strict=True) if at}
    if attribute.type == "timeval":
        return iso_time(value) if value else None
    if isinstance(value, list):
        if value and isinstance(value[0], tuple | list):
            return {clean(tag): clean(text) for tag, text in value}
        return [clean(entry) if isinstance(entry, str) else entry for entry in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return coded_name(name, value)
    return clean(value) if isinstance(value, str) else value


def coded_name(name: str, value: int) -> str | int:
    """The name of a coded attribute's value; the number itself for attributes without names."""
    attribute = BY_NAME[name]
    if 0 <= value < len(attribute.display):
        return attribute.display[value]
    return next((text for text, number in attribute.codes.items() if number == value), value)


def event_document(event: Event) -> dict[str, Any]:
    """An event: what all have, then the attributes of its type."""
    found: dict[str, Any] = {
        "type": event.type.name,
        "timestamp": iso_time(event.timestamp),
        "arrived": iso_time(event.arrived) if event.arrived else None,
        "host": clean(event.host),
        "level": LEVEL_NAMES.get(event.level, str(event.level)),
        "priority": event.priority,
        "jobId": clean(str(event.jobid)),
        "seqcode": clean(event.seqcode),
        "user": None if event.user is None else clean(event.user),
        "source": event.source_name,
        "src_instance": clean(event.src_instance) if event.src_instance else None,
    }
    for attribute in event.type.attributes:
        value = event.attributes.get(attribute.name)
        if value is not None:
            found[attribute.name] = _event_value(event, attribute, value)
    return {name: value for name, value in found.items() if value is not None}


def _event_value(event: Event, attribute: Attribute, value: Value) -> Any:
    if isinstance(value, tuple):
        return {clean(tag): clean(text) for tag, text in value}
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and attribute.kind is Kind.TIMEVAL:
        return iso_time(value)
    if attribute.kind in (Kind.CODED, Kind.LOGSRC):
        return event.code_name(attribute.name)
    return value
