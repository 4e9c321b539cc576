"""The history of a job: its events as JSON, inside a state or a notification (spec: wire-query.md §6.4, model.md §11).

Written in the layout of the C server, which scripts compare; read from any JSON of that shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from lb.model.catalogue import BY_NAME, LEVEL_CODES, LEVEL_NAMES, SOURCE_CODES, SOURCE_NAMES, Attribute, Kind
from lb.model.errors import Code, LBError, ParseError
from lb.model.event import Event, Value
from lb.model.jobid import JobId, canonical, parse_cached
from lb.wire.ulm import read_date, read_taglist, write_date, write_taglist

_NULL: Final = "null"
#: Infinities and what would become one have no JSON.
_MAX_DOUBLE: Final = 1e300
_quote = json.JSONEncoder(ensure_ascii=False).encode

# --- writing ----------------------------------------------------------------------------------------------------


def _text(value: str | None) -> str:
    return _NULL if value is None else _quote(value)


def _time(microseconds: int | None) -> str:
    return f'"{write_date(microseconds)}"' if microseconds else _NULL


def _source(number: int) -> str:
    return f'"{SOURCE_NAMES[number]}"' if number and number in SOURCE_NAMES else _NULL


def _attribute(attribute: Attribute, value: Value | None) -> str:
    kind = attribute.kind
    if value is None or value == attribute.null:
        if kind is Kind.DOUBLE:
            return "0.000000"
        return str(attribute.null) if kind is Kind.INT else _NULL
    if isinstance(value, tuple):
        return _quote(write_taglist(value))
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, float):
        return f"{value:f}"
    if kind is Kind.CODED:
        return f'"{attribute.names[value]}"' if value in attribute.names else _NULL
    if kind is Kind.LOGSRC:
        return _source(value)
    return _time(value) if kind is Kind.TIMEVAL else str(value)


def _event(event: Event) -> str:
    fields = [
        ("type", f'"{event.type.name}"'),
        ("timestamp", _time(event.timestamp)),
        ("arrived", _time(event.arrived)),
        ("host", _quote(event.host)),
        ("level", f'"{LEVEL_NAMES[event.level]}"' if event.level in LEVEL_CODES.values() else _NULL),
        ("priority", str(event.priority)),
        ("jobId", _quote(str(event.jobid))),
        ("seqcode", _quote(event.seqcode)),
        ("user", _text(event.user)),
        ("source", _source(event.source)),
        ("src_instance", _text(event.src_instance)),
    ]
    fields += [(a.name, _attribute(a, event.attributes.get(a.name))) for a in event.type.attributes]
    return "{\n" + ",\n".join(f'  "{name}" : {value}' for name, value in fields) + "\n}"


def write_history(events: Iterable[Event]) -> str:
    """The history of `events`, which are in event order."""
    texts = [_event(event) for event in events]
    return "[\n" + ",\n".join(texts) + "\n]" if texts else "[]"


# --- reading ----------------------------------------------------------------------------------------------------


def _malformed(what: str) -> ParseError:
    return ParseError(Code.SERVER_RESPONSE, f"history: {what}")


def _read_text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise _malformed(f"{name} is no text")
    try:
        (value or "").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _malformed(f"{name} has half a character") from None
    return value


def _read_int(fields: dict[str, Any], name: str, null: int) -> int:
    value = fields.get(name, null)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _malformed(f"{name} is no whole number")
    return value


def _read_time(fields: dict[str, Any], name: str) -> int | None:
    text = _read_text(fields, name)
    if text is None:
        return None
    microseconds = read_date(text)
    if microseconds is None:
        raise _malformed(f"{name} is no date")
    return microseconds


def _read_attribute(attribute: Attribute, fields: dict[str, Any]) -> Value | None:
    name, kind = attribute.name, attribute.kind
    if fields.get(name) is None:
        return None
    if kind in (Kind.INT, Kind.PORT):
        return _read_int(fields, name, 0)
    if kind is Kind.DOUBLE:
        number = fields[name]
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise _malformed(f"{name} is no number")
        if not -_MAX_DOUBLE <= number <= _MAX_DOUBLE:  # nor NaN
            raise _malformed(f"{name} is out of range")
        return float(number)
    if kind is Kind.TIMEVAL:
        return _read_time(fields, name)
    text = _read_text(fields, name) or ""
    if kind is Kind.CODED:
        return attribute.codes.get(text.upper(), attribute.unknown)
    if kind is Kind.LOGSRC:
        return SOURCE_CODES.get(text.lower(), 0)
    if kind in (Kind.JOBID, Kind.NOTIFID):
        return canonical(text)
    return read_taglist(text) if kind is Kind.TAGLIST else text


def _read_job(fields: dict[str, Any]) -> JobId:
    try:
        return parse_cached(_read_text(fields, "jobId") or "")
    except LBError as error:
        raise _malformed(error.description) from None


def _read_event(fields: object) -> Event:
    if not isinstance(fields, dict):
        raise _malformed("an event is no object")
    type_ = BY_NAME.get(_read_text(fields, "type") or "")
    if type_ is None:
        raise ParseError(Code.EVENT_UNDEFINED, f"Unknown event type {str(fields.get('type'))[:80]}")
    attributes: dict[str, Value] = {}
    for attribute in type_.attributes:
        value = _read_attribute(attribute, fields)
        # Empty text and an empty list are null, as everywhere in events.
        if value is not None and value != attribute.null and value not in ("", ()):
            attributes[attribute.name] = value
    return Event(
        type_,
        _read_job(fields),
        timestamp=_read_time(fields, "timestamp") or 0,
        arrived=_read_time(fields, "arrived"),
        host=_read_text(fields, "host") or "",
        level=LEVEL_CODES.get((_read_text(fields, "level") or "").upper(), 0),
        priority=_read_int(fields, "priority", -1),
        seqcode=_read_text(fields, "seqcode") or "",
        user=_read_text(fields, "user"),
        source=SOURCE_CODES.get((_read_text(fields, "source") or "").lower(), 0),
        src_instance=_read_text(fields, "src_instance"),
        attributes=attributes,
    )


def read_history(text: str) -> list[Event]:
    """The events of a history; an undefined one (``{}``) is passed over.

    Raises `ParseError` 1408 for what is no history, 1402 for an event type nobody knows.
    """
    try:
        history = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(str(error)) from None
    if not isinstance(history, list):
        raise _malformed("no list of events")
    return [_read_event(fields) for fields in history if fields != {}]
