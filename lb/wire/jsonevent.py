"""Events read from JSON documents of the form that `lb.wire.documents` writes.

Strict: a member that nobody knows, a value of another kind or a name that means nothing is EINVAL, never passed over.
Who logs an event is not for its document to say; whoever takes one in puts the authenticated name into it (P7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from lb.model.catalogue import BY_FOLDED_NAME, LEVEL_CODES, SOURCE_CODES, Attribute, EventType, Kind, Source
from lb.model.errors import Code, LBError, ParseError, invalid
from lb.model.event import Event, Value
from lb.model.jobid import JobId, parse_cached
from lb.model.seqcode import Sequence, flavour_of_flesh

#: Members that every event has or may have.
COMMON: Final = (
    "type",
    "timestamp",
    "arrived",
    "host",
    "level",
    "priority",
    "jobId",
    "seqcode",
    "user",
    "source",
    "src_instance",
)
#: Those without which there is no event; the others have defaults.
MANDATORY: Final = ("type", "jobId")
#: Numbers of the catalogue are C ints; infinities and what would become one have no line.
_INT: Final = 1 << 31
_MAX_PORT: Final = 65_535
_MAX_DOUBLE: Final = 1e300
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Defaults(NamedTuple):
    """What an event has that its document does not tell."""

    timestamp: int  #: microseconds since the epoch
    host: str
    source: int = Source.Application


def read_event(document: object, defaults: Defaults) -> Event:
    """The event of a decoded JSON value; raises `LBError` EINVAL and `ParseError` 1402 (no such type)."""
    if not isinstance(document, dict):
        raise invalid("an event is a JSON object")
    type_ = _type(document)
    for name in document:
        if name not in COMMON and name not in type_.by_name:
            raise invalid(f"an event {type_.name} has no member {name[:80]!r}")
    source = _source(document, "source") or defaults.source
    return Event(
        type_,
        _job(document),
        timestamp=_time(document, "timestamp") or defaults.timestamp,
        arrived=_time(document, "arrived"),
        host=defaults.host if document.get("host") is None else _text(document, "host"),
        level=_level(document),
        priority=_whole(document, "priority", 0, _INT) or 0,
        seqcode=_seqcode(document, type_, source),
        user=None if document.get("user") is None else _text(document, "user"),
        source=source,
        src_instance="" if document.get("src_instance") is None else _text(document, "src_instance"),
        attributes=_attributes(document, type_),
    )


def _wrong(name: str, right: str) -> LBError:
    return invalid(f"{name} is not {right}")


def _type(document: Mapping[str, Any]) -> EventType:
    name = document.get("type")
    type_ = BY_FOLDED_NAME.get(name.lower()) if isinstance(name, str) else None
    if type_ is None:
        raise ParseError(Code.EVENT_UNDEFINED, f"unknown or missing event type {str(name)[:80]!r}")
    return type_


def _job(document: Mapping[str, Any]) -> JobId:
    if document.get("jobId") is None:
        raise invalid("an event without jobId")
    return parse_cached(_text(document, "jobId"))


def _seqcode(document: Mapping[str, Any], type_: EventType, source: int) -> str:
    """The code given, or that of a first event of its source."""
    if document.get("seqcode") is not None:
        return _text(document, "seqcode")
    sequence = Sequence(source, flavour_of_flesh(type_.flesh))
    sequence.increment()
    return sequence.text


def _level(document: Mapping[str, Any]) -> int:
    if document.get("level") is None:
        return LEVEL_CODES["SYSTEM"]
    return _named(document, "level", {**LEVEL_CODES, "UNDEFINED": 0})


def _attributes(document: Mapping[str, Any], type_: EventType) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    for attribute in type_.attributes:
        if document.get(attribute.name) is not None:
            value = _READERS[attribute.kind](document, attribute)
            # Empty text and an empty list are null, as everywhere in events.
            if value != attribute.null and value not in ("", ()):
                attributes[attribute.name] = value
        if attribute.mandatory and attribute.name not in attributes:
            raise invalid(f"an event {type_.name} needs {attribute.name}")
    return attributes


# --- values -----------------------------------------------------------------------------------------------------


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise _wrong(name, "a text")
    return value


def _whole(document: Mapping[str, Any], name: str, least: int, end: int) -> int | None:
    value = document.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not least <= value < end):
        raise _wrong(name, f"a whole number from {least} to {end - 1}")
    return value


def _named(document: Mapping[str, Any], name: str, codes: Mapping[str, int]) -> int:
    """The number of a name; of a number that has no name, itself, as documents write it."""
    value = document[name]
    if isinstance(value, int) and not isinstance(value, bool) and -_INT <= value < _INT:
        return value
    number = codes.get(value.upper()) if isinstance(value, str) else None
    if number is None:
        raise _wrong(name, "one of " + ", ".join(codes))
    return number


def _source(document: Mapping[str, Any], name: str) -> int:
    if document.get(name) is None:
        return Source.Undefined
    number = SOURCE_CODES.get(_text(document, name).lower())
    if number is None:
        raise _wrong(name, "one of " + ", ".join(source.name for source in Source))
    return number


def _time(document: Mapping[str, Any], name: str) -> int | None:
    if document.get(name) is None:
        return None
    try:
        moment = datetime.fromisoformat(_text(document, name))
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        raise _wrong(name, "a time in ISO 8601, such as 2026-11-25T09:30:00.250000Z") from None
    if since < timedelta():
        raise _wrong(name, "a time since 1970")
    return since // _MICROSECOND


def _double(document: Mapping[str, Any], attribute: Attribute) -> Value:
    value = document[attribute.name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _MAX_DOUBLE:
        raise _wrong(attribute.name, "a number")
    return float(value)


def _number(document: Mapping[str, Any], attribute: Attribute, least: int, end: int) -> Value:
    return _whole(document, attribute.name, least, end) or 0


def _identifier(document: Mapping[str, Any], attribute: Attribute) -> Value:
    try:
        return str(parse_cached(_text(document, attribute.name)))
    except LBError as error:
        raise _wrong(attribute.name, f"an id: {error.description}") from None


def _tags(document: Mapping[str, Any], attribute: Attribute) -> Value:
    value = document[attribute.name]
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _wrong(attribute.name, "an object of texts")
    for name, text in value.items():
        if not text or set("=,") & set(name) or "," in text:  # what a line could not tell apart (model.md §9.1)
            raise _wrong(attribute.name, "an object of texts without commas, and of names without = and commas")
    return tuple(value.items())


_READERS: Final[dict[Kind, Callable[[Mapping[str, Any], Attribute], Value]]] = {
    Kind.STRING: lambda document, attribute: _text(document, attribute.name),
    Kind.INT: lambda document, attribute: _number(document, attribute, -_INT, _INT),
    Kind.PORT: lambda document, attribute: _number(document, attribute, 0, _MAX_PORT + 1),
    Kind.DOUBLE: _double,
    Kind.CODED: lambda document, attribute: _named(document, attribute.name, attribute.codes),
    Kind.LOGSRC: lambda document, attribute: _source(document, attribute.name),
    Kind.JOBID: _identifier,
    Kind.NOTIFID: _identifier,
    Kind.TIMEVAL: lambda document, attribute: _time(document, attribute.name) or 0,
    Kind.TAGLIST: _tags,
}
