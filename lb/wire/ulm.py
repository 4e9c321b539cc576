"""Event lines (ULM): one event, one line of ``KEY=value`` fields (spec: model.md §4).

Lines in the form that C programs write are read by one compiled expression for their event type;
every other acceptable form goes through the general splitter, with the same result.
Reading raises `ParseError` with the codes 1401 to 1405; it never guesses an identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from lb.model.catalogue import (
    BY_FOLDED_NAME,
    BY_NAME,
    LEVEL_CODES,
    LEVEL_NAMES,
    SOURCE_CODES,
    SPECIFIC_KEYS,
    EventType,
)
from lb.model.errors import Code, LBError, ParseError, invalid
from lb.model.event import Event, Value
from lb.model.jobid import JobId, parse_cached
from lb.wire.ulmfields import QUOTED, Field, broken, decode, encode, first, split, without
from lb.wire.ulmvalues import (
    escape,
    read_date,
    read_double,
    read_integer,
    read_taglist,
    reader,
    unescape,
    write_date,
    write_taglist,
    write_value,
)

__all__ = [
    "COMMAND_MARK",
    "MAX_LINE",
    "Command",
    "Field",
    "decode",
    "encode",
    "escape",
    "parse",
    "parse_command",
    "read_date",
    "read_integer",
    "read_taglist",
    "receive",
    "split",
    "unescape",
    "write",
    "write_date",
    "write_taglist",
    "write_value",
]

#: Longest line a logger or server takes, bytes (wire-logging.md §11).
MAX_LINE: Final = 102_400_000

_DATE, _ARR_DATE, _HOST, _LEVEL = "DATE", "ARR_DATE", "HOST", "LVL"
_PRIORITY, _SOURCE, _INSTANCE = "DG.PRIORITY", "DG.SOURCE", "DG.SRC_INSTANCE"
_EVENT, _JOBID, _SEQCODE, _USER, _RECEIPT = "DG.EVNT", "DG.JOBID", "DG.SEQCODE", "DG.USER", "DG.LLLID"

#: The common fields in the order in which a missing one is reported (model.md §4.7).
_MANDATORY: Final = (_DATE, _HOST, _PRIORITY, _JOBID, _SEQCODE, _USER, _SOURCE)
#: What a logger says of a line, and a producer has no say in; the last is an old name of the receipt.
_OF_LOGGERS: Final = frozenset({_USER, _RECEIPT, "DG.LLPID"})

COMMAND_MARK: Final = b'DG.TYPE="command"'

_Reader = Callable[[str], Value | None]


def _incomplete(key: str) -> ParseError:
    return ParseError(Code.MESSAGE_INCOMPLETE, f"Message incomplete, missing or empty field {key}.")


def _duplicate(key: str) -> ParseError:
    return ParseError(Code.KEY_DUPLICITY, f"Key {key} already exists.")


# --- reading --------------------------------------------------------------------------------------------------


def parse(line: bytes, user: str | None = None) -> Event:
    """Read one event line, with or without its final LF.

    `user`: the authenticated identity; it replaces any DG.USER of the line (a logger's reading of its producer).
    Raises `ParseError` 1401 broken, 1402 unknown type, 1403 incomplete, 1404 duplicate key, 1405 misused key.
    """
    text = decode(line)
    matched = _match(text)
    event = _from_form(*matched, user) if matched else None
    return event if event is not None else _from_fields(text, user)


def receive(line: bytes, user: str, receipt: int) -> tuple[Event, bytes]:
    """Read a producer's line as a logger does: the event, and the line to store and forward, without LF.

    The stored line begins with the receipt number and the authenticated `user`; a DG.USER or DG.LLLID of the
    producer is taken out, for identity never comes from a message (P7). Raises as `parse`.
    """
    text = decode(line)
    matched = _match(text)
    event = _from_form(*matched, user) if matched else None
    body = text.rstrip("\n")
    if event is None:
        event = _from_fields(text, user)
        matched = None
    if "\n" in body:  # spools and receivers of the C implementation split lines there
        raise broken()
    if "/" in event.jobid.unique:  # C loggers make a file name of it
        raise _incomplete(_JOBID)
    if matched is None or matched[1][0] is not None or matched[1][9] is not None or text.startswith(_RECEIPT):
        body = without(body, _OF_LOGGERS)
    return event, encode(f'{_RECEIPT}={receipt} {_USER}="{escape(user)}" {body}')


# --- the form of C programs -----------------------------------------------------------------------------------


class _Form(NamedTuple):
    """The C form of one event type: its expression and what its groups hold."""

    type: EventType
    match: Callable[[str], re.Match[str] | None]
    readers: tuple[tuple[str, _Reader], ...]
    mandatory: frozenset[str]


@cache  # one entry an event type
def _form_of(type_: EventType) -> _Form:
    quoted = f'"({QUOTED})" '
    specific = "".join(rf"{re.escape(a.key)}={quoted}" for a in type_.attributes)
    expression = (
        rf"(?:DG\.LLLID=-?\d+ )?(?:DG\.USER={quoted})?DATE=(\d{{14}}\.\d{{6}}) HOST={quoted}PROG=edg-wms LVL=(\w+) "
        rf"DG\.PRIORITY=(-?\d{{1,9}}) DG\.SOURCE={quoted}DG\.SRC_INSTANCE={quoted}"
        rf'DG\.EVNT="{type_.name}" DG\.JOBID={quoted}DG\.SEQCODE={quoted}(?:DG\.USER={quoted})?{specific}\n?\Z'
    )
    return _Form(
        type_,
        re.compile(expression, re.DOTALL | re.ASCII).match,
        tuple((a.name, reader(a)) for a in type_.attributes),
        frozenset(a.name for a in type_.attributes if a.mandatory),
    )


def _match(text: str) -> tuple[_Form, tuple[str | Any, ...]] | None:
    """The form of the line's event type and its groups, when the line is written as C programs write it."""
    mark = text.find(' DG.EVNT="')
    if mark < 0:
        return None
    start = mark + 10
    # No name of a type has more than 40 characters.
    type_ = BY_NAME.get(text[start : max(text.find('"', start, start + 40), start)])
    if type_ is None:
        return None
    form = _form_of(type_)
    found = form.match(text)
    return (form, found.groups()) if found is not None else None


def _from_form(form: _Form, groups: tuple[str | Any, ...], user: str | None) -> Event | None:
    """The event of a matched line; None when something is odd and the general reader has to say what."""
    front_user, date, host, level, priority, source, instance, jobid, seqcode, back_user = groups[:10]
    if front_user is not None and back_user is not None:
        return None
    if user is None:
        user = front_user if back_user is None else back_user
        if user is None:
            return None
        user = unescape(user)
    source_code = SOURCE_CODES.get(source.lower())
    timestamp = read_date(date)
    flags = int(priority)
    if not source_code or not timestamp or flags == -1:
        return None
    try:
        job = parse_cached(unescape(jobid))
    except LBError:
        return None
    attributes: dict[str, Value] = {}
    for (name, read), raw in zip(form.readers, groups[10:], strict=True):
        if raw:
            value = read(unescape(raw) if "\\" in raw else raw)
            if value is not None:
                attributes[name] = value
    if not form.mandatory <= attributes.keys():
        return None
    event = Event.__new__(Event)  # a third of the time of a call with keywords, and this is the hottest path
    event.type = form.type
    event.jobid = job
    event.timestamp = timestamp
    event.host = unescape(host)
    event.source = source_code
    event.seqcode = unescape(seqcode)
    event.user = user
    event.attributes = attributes
    event.src_instance = unescape(instance)
    event.level = LEVEL_CODES.get(level.upper(), 0)
    event.priority = flags
    event.arrived = None
    return event


# --- any other form -------------------------------------------------------------------------------------------


def _read_priority(text: str) -> int | None:
    number = read_integer(text)
    return None if number == -1 else number


def _read_jobid(text: str) -> JobId | None:
    try:
        return parse_cached(text)
    except LBError:
        return None


#: How the common fields are read, None = null; the texts count as given even when they are empty.
_COMMON: Final[dict[str, Callable[[str], str | int | JobId | None]]] = {
    **dict.fromkeys((_HOST, _INSTANCE, _SEQCODE, _USER), lambda text: text),
    **dict.fromkeys((_DATE, _ARR_DATE), lambda text: read_date(text) or None),
    _LEVEL: lambda text: LEVEL_CODES.get(text.upper()),
    _PRIORITY: _read_priority,
    _SOURCE: lambda text: SOURCE_CODES.get(text.lower()) or None,
    _JOBID: _read_jobid,
}


@cache  # one entry an event type
def _readers_of(type_: EventType) -> dict[str, tuple[str, _Reader]]:
    return {a.key: (a.name, reader(a)) for a in type_.attributes}


def _from_fields(text: str, user: str | None) -> Event:
    # Twice over the line: fields in a list would take many times its memory.
    type_ = BY_FOLDED_NAME.get((first(text, _EVENT) or "").lower())
    if type_ is None:
        raise ParseError(Code.EVENT_UNDEFINED, "Unknown or missing event type")
    readers = _readers_of(type_)
    common: dict[str, Any] = {}  # by key, as _COMMON reads them
    attributes: dict[str, Value] = {}
    if user is not None:
        common[_USER] = user
    for key, text_value, _, _ in split(text):
        if key in _COMMON:
            if key == _USER and user is not None:
                continue
            if key in common:
                raise _duplicate(key)
            given = _COMMON[key](text_value)
            if given is not None:
                common[key] = given
        elif key == _EVENT:
            if text_value.lower() != type_.name.lower():
                raise _duplicate(key)
        elif key in readers:
            name, read = readers[key]
            if name in attributes:
                raise _duplicate(key)
            value = read(text_value) if text_value else None
            if value is not None:
                attributes[name] = value
        elif key in SPECIFIC_KEYS:
            raise ParseError(Code.KEY_MISUSE, f"Key {key} shouldn't be used for event type {type_.name}.")
    return _complete(type_, common, attributes)


def _complete(type_: EventType, common: dict[str, Any], attributes: dict[str, Value]) -> Event:
    for key in _MANDATORY:
        if key not in common:
            raise _incomplete(key)
    for attribute in type_.attributes:
        if attribute.mandatory and attribute.name not in attributes:
            raise _incomplete(attribute.key)
    return Event(
        type_,
        common[_JOBID],
        timestamp=common[_DATE],
        arrived=common.get(_ARR_DATE),
        host=common[_HOST],
        level=common.get(_LEVEL, 0),
        priority=common[_PRIORITY],
        source=common[_SOURCE],
        src_instance=common.get(_INSTANCE),
        seqcode=common[_SEQCODE],
        user=common[_USER],
        attributes=attributes,
    )


# --- writing --------------------------------------------------------------------------------------------------


def write(event: Event, *, user: bool = True) -> bytes:
    """The line in the form of C programs, with its final blank and LF; `user`: with DG.USER (model.md §4.5).

    Raises EINVAL for values that no line can carry: NUL, half characters, times without a four-digit year.
    """
    head = (
        f'DATE={write_date(event.timestamp)} HOST="{escape(event.host)}" PROG=edg-wms '
        f"LVL={LEVEL_NAMES.get(event.level, 'UNDEFINED')} DG.PRIORITY={event.priority} "
        f'DG.SOURCE="{event.source_name}" DG.SRC_INSTANCE="{escape(event.src_instance or "")}" '
        f'DG.EVNT="{event.type.name}" DG.JOBID="{escape(str(event.jobid))}" DG.SEQCODE="{escape(event.seqcode)}" '
    )
    who = f'DG.USER="{escape(event.user or "")}" ' if user else ""
    specific = [f'{a.key}="{escape(write_value(a, event.attributes.get(a.name)))}" ' for a in event.type.attributes]
    text = "".join((head, who, *specific, "\n"))
    if "\0" in text:
        raise invalid(f"NUL in a value of event {event.type.name}")
    return encode(text)


# --- commands -------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A logger control line; ``flush`` is the only command (model.md §4.10)."""

    name: str
    jobid: JobId | None  #: None = everything
    timeout: float | None  #: seconds


def parse_command(line: bytes) -> Command:
    """Read a line that contains `COMMAND_MARK`; raises 1401 when broken, EINVAL for a bad job id or no command."""
    text = decode(line)
    name = first(text, "DG.COMMAND")
    if not name:
        raise invalid("command line without DG.COMMAND")
    timeout, jobid = first(text, "DG.TIMEOUT"), first(text, _JOBID)
    return Command(name, parse_cached(jobid) if jobid else None, read_double(timeout) if timeout else None)
