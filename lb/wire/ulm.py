"""Event lines (ULM): one event, one line of ``KEY=value`` fields (spec: model.md §4).

Lines in the form that C programs write are read by one compiled expression for their event type;
every other acceptable form goes through the general splitter, with the same result.
Reading raises `ParseError` with the codes 1401–1405; it never guesses an identity.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from lb.model.catalogue import (
    BY_FOLDED_NAME,
    BY_NAME,
    LEVEL_CODES,
    LEVEL_NAMES,
    SOURCE_CODES,
    SOURCE_NAMES,
    SPECIFIC_KEYS,
    Attribute,
    EventType,
    Kind,
)
from lb.model.errors import Code, LBError, ParseError
from lb.model.event import Event, Value
from lb.model.jobid import JobId, canonical, parse_cached

#: Longest line a logger or server takes, bytes (wire-logging.md §9).
MAX_LINE: Final = 102_400_000

_QUOTED = r'[^"\\]*+(?:\\.[^"\\]*+)*+'  # possessive: a line that does not fit is refused in linear time
_VALUE = rf'[^ \t\n"=\\]*+(?:"{_QUOTED}"(?=[ \t\n\r\v\f]|\Z)[^ \t\n"=\\]*+)*+'
_KEY = r"[A-Za-z0-9.\-_]++"
#: A field, or a word that is no field and is passed over.
_TOKEN = re.compile(rf"[ \t]*+(?:({_KEY})=(?![ \t])({_VALUE})|({_VALUE}))(?=[ \t\n]|\Z)", re.DOTALL)

#: The common fields of the parser in the order in which a missing one is reported (model.md §4.7).
_DATE, _ARR_DATE, _HOST, _LEVEL = "DATE", "ARR_DATE", "HOST", "LVL"
_PRIORITY, _SOURCE, _INSTANCE = "DG.PRIORITY", "DG.SOURCE", "DG.SRC_INSTANCE"
_EVENT, _JOBID, _SEQCODE, _USER, _LLLID = "DG.EVNT", "DG.JOBID", "DG.SEQCODE", "DG.USER", "DG.LLLID"

COMMAND_MARK: Final = b'DG.TYPE="command"'


class Field(NamedTuple):
    """One field: key in upper case, value without quotes and escapes, its place in the text."""

    key: str
    value: str
    start: int
    end: int


# --- values ---------------------------------------------------------------------------------------------------


def escape(value: str) -> str:
    """The value as it stands between quotes."""
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def unescape(value: str) -> str:
    """Undo `escape`; a backslash before any other byte stands for that byte."""
    if "\\" not in value:
        return value
    # Pairs of backslashes first, so that what is left of each piece has single escapes only.
    return "\\".join(_unescape_piece(piece) for piece in value.split("\\\\"))


def _unescape_piece(piece: str) -> str:
    piece = piece.replace('\\"', '"').replace("\\n", "\n")
    return re.sub(r"\\(.)", r"\1", piece, flags=re.DOTALL) if "\\" in piece else piece


@lru_cache(maxsize=4096)
def _seconds(digits: str) -> int | None:
    try:
        return calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%S"))
    except ValueError:
        return None


_DATE_TEXT = re.compile(r"(\d{14})(?:\.(\d*))?", re.ASCII)


def read_date(text: str) -> int | None:
    """Microseconds since the epoch; the digits after the dot are an integer number of microseconds."""
    found = _DATE_TEXT.match(text)
    seconds = _seconds(found[1]) if found else None
    if found is None or seconds is None:
        return None
    return seconds * 1_000_000 + int((found[2] or "0")[:9])


def write_date(microseconds: int) -> str:
    """``YYYYMMDDhhmmss.uuuuuu``, UTC; EINVAL outside the years 1970…9999."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    if not 0 <= seconds < 253_402_300_800:
        raise LBError(22, f"time {microseconds} µs has no date of four-digit year")
    return f"{_write_seconds(seconds)}.{fraction:06d}"


@lru_cache(maxsize=4096)
def _write_seconds(seconds: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds))


_INTEGER = re.compile(r"\s*([+-]?\d+)", re.ASCII)
_DOUBLE = re.compile(r"\s*([+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))", re.ASCII)


def read_integer(text: str) -> int:
    """C `atoi`: blanks, sign, digits; 0 without digits. Longer numbers than 64 bits hold are cut to 0."""
    found = _INTEGER.match(text)
    return int(found[1]) if found and len(found[1]) < 20 else 0


def _read_double(text: str) -> float:
    found = _DOUBLE.match(text)
    return float(found[1]) if found else 0.0


def read_taglist(text: str) -> tuple[tuple[str, str], ...]:
    """``n=v,n=v`` as pairs; pieces without ``=`` or with an empty value are dropped (model.md §9.1)."""
    pairs = (piece.partition("=") for piece in text.split(","))
    return tuple((name, value) for name, equals, value in pairs if equals and value)


def write_taglist(pairs: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{name}={value}" for name, value in pairs)


def _reader(attribute: Attribute) -> Callable[[str], Value | None]:
    """How the unescaped, non-empty text of an attribute is read; None = null."""
    kind, null = attribute.kind, attribute.null

    def coded(text: str) -> Value | None:
        number = attribute.codes.get(text.upper(), attribute.unknown)
        return None if number == null else number

    def number(text: str) -> Value | None:
        value = read_integer(text)
        return None if value == null else value

    def port(text: str) -> Value | None:
        return read_integer(text) % 65536 or None

    return {
        Kind.STRING: lambda text: text,
        Kind.INT: number,
        Kind.PORT: port,
        Kind.DOUBLE: lambda text: _read_double(text) or None,
        Kind.CODED: coded,
        Kind.LOGSRC: lambda text: SOURCE_CODES.get(text.lower()) or None,
        Kind.JOBID: canonical,
        Kind.NOTIFID: canonical,
        Kind.TIMEVAL: lambda text: read_date(text) or None,
        Kind.TAGLIST: lambda text: read_taglist(text) or None,
    }[kind]


def write_value(attribute: Attribute, value: Value | None) -> str:
    """The text of an attribute's value, unescaped (model.md §3)."""
    kind = attribute.kind
    if value is None:
        if kind is Kind.TIMEVAL:
            return write_date(0)
        if kind is Kind.DOUBLE:
            return "0.000000"
        if kind in (Kind.INT, Kind.PORT):
            return str(attribute.null or 0)
        return {Kind.CODED: "UNDEFINED", Kind.LOGSRC: "Undefined"}.get(kind, "")
    if isinstance(value, tuple):
        return write_taglist(value)
    if kind is Kind.CODED and isinstance(value, int):
        return attribute.names.get(value, "UNDEFINED")
    if kind is Kind.LOGSRC and isinstance(value, int):
        return SOURCE_NAMES.get(value, "Undefined")
    if kind is Kind.TIMEVAL and isinstance(value, int):
        return write_date(value)
    return f"{value:f}" if kind is Kind.DOUBLE else str(value)


# --- the splitter ---------------------------------------------------------------------------------------------


def split(text: str) -> Iterator[Field]:
    """The fields of a line in order; raises 1401 where the line is broken (model.md §4.3)."""
    end_of_line = len(text)
    position, seen = 0, False
    while position < end_of_line:
        token = _TOKEN.match(text, position)
        if token is None:
            raise _broken()
        if token[1] is not None:
            seen = True
            yield Field(token[1].upper(), _value(token[2]), token.start(1), token.end())
        position = token.end()
        if text.startswith("\n", position):
            if text[position:].strip():
                raise _broken()
            break
    if not seen:
        raise _broken()


def _value(raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] == '"':
        raw = raw[1:-1]
    return unescape(raw)


def _broken() -> ParseError:
    return ParseError(Code.BROKEN_ULM, "ULM parse error")


def _incomplete(key: str) -> ParseError:
    return ParseError(Code.MESSAGE_INCOMPLETE, f"Message incomplete, missing or empty field {key}.")


def _undefined() -> ParseError:
    return ParseError(Code.EVENT_UNDEFINED, "Unknown or missing event type")


def decode(line: bytes) -> str:
    """The line as text: up to the first NUL, one CR before the final LF dropped."""
    if b"\0" in line:
        line = line[: line.index(b"\0")]
    if line.endswith(b"\r\n"):
        line = line[:-2] + b"\n"
    return line.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# --- reading events -------------------------------------------------------------------------------------------


class _Form(NamedTuple):
    """The C form of one event type: its expression and what its groups hold."""

    type: EventType
    match: Callable[[str], re.Match[str] | None]
    readers: tuple[tuple[str, Callable[[str], Value | None]], ...]
    mandatory: frozenset[str]


def _form(type_: EventType) -> _Form:
    quoted = f'"({_QUOTED})" '
    specific = "".join(rf"{re.escape(a.key)}={quoted}" for a in type_.attributes)
    expression = (
        rf"(?:DG\.LLLID=-?\d+ )?(?:DG\.USER={quoted})?DATE=(\d{{14}}\.\d{{6}}) HOST={quoted}PROG=edg-wms LVL=(\w+) "
        rf"DG\.PRIORITY=(-?\d{{1,9}}) DG\.SOURCE={quoted}DG\.SRC_INSTANCE={quoted}"
        rf'DG\.EVNT="{type_.name}" DG\.JOBID={quoted}DG\.SEQCODE={quoted}(?:DG\.USER={quoted})?{specific}\n?\Z'
    )
    return _Form(
        type_,
        re.compile(expression, re.DOTALL | re.ASCII).match,
        tuple((a.name, _reader(a)) for a in type_.attributes),
        frozenset(a.name for a in type_.attributes if a.mandatory),
    )


@lru_cache(maxsize=None)  # one entry an event type
def _form_of(name: str) -> _Form | None:
    type_ = BY_NAME.get(name)
    return _form(type_) if type_ else None


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
    body = text.removesuffix("\n")
    if event is None:
        event = _from_fields(text, user)
        matched = None
    if "\n" in body:  # spools and receivers of the C implementation split lines there
        raise _broken()
    if "/" in event.jobid.unique:  # C loggers make a file name of it
        raise _incomplete(_JOBID)
    if matched is None or matched[1][0] is not None or matched[1][9] is not None or text.startswith(_LLLID):
        body = _without(body, (_USER, _LLLID))
    return event, encode(f'{_LLLID}={receipt} {_USER}="{escape(user)}" {body}')


_Groups = tuple[str | None, ...]


def _match(text: str) -> tuple[_Form, _Groups] | None:
    """The form of the line's event type and its groups, when the line is written as C programs write it."""
    mark = text.find(' DG.EVNT="')
    if mark < 0:
        return None
    start = mark + 10
    form = _form_of(text[start : text.find('"', start, start + 40)])
    found = form.match(text) if form is not None else None
    return (form, found.groups()) if form is not None and found is not None else None


def _from_form(form: _Form, groups: _Groups, user: str | None) -> Event | None:
    """The event of a matched line; None when something is odd and the general reader has to say what."""
    front_user, date, host, level, priority, source, instance, jobid, seqcode, back_user = groups[:10]
    assert date is not None and host is not None and level is not None and priority is not None  # noqa: PT018
    assert source is not None and instance is not None and jobid is not None and seqcode is not None  # noqa: PT018
    if front_user is not None and back_user is not None:
        return None
    if user is None:
        user = front_user if back_user is None else back_user
        if user is None:
            return None
        user = unescape(user)
    source_code = SOURCE_CODES.get(source.lower())
    timestamp = read_date(date)
    if not source_code or not timestamp or priority == "-1":
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
    event = Event.__new__(Event)
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
    event.priority = int(priority)
    event.arrived = None
    return event


@lru_cache(maxsize=None)  # one entry an event type
def _readers_of(type_: EventType) -> dict[str, tuple[str, Callable[[str], Value | None]]]:
    return {a.key: (a.name, _reader(a)) for a in type_.attributes}


#: Common keys whose empty text counts as given (model.md §4.7).
_TEXT_KEYS: Final = frozenset({_HOST, _INSTANCE, _SEQCODE, _USER})


def _read_common(key: str, text: str) -> Value | JobId | None:
    """Value of a common field, None = null."""
    if key in _TEXT_KEYS:
        return text
    if key in (_DATE, _ARR_DATE):
        return read_date(text) or None
    if key == _LEVEL:
        return LEVEL_CODES.get(text.upper(), 0) or None
    if key == _PRIORITY:
        number = read_integer(text)
        return None if number == -1 else number
    if key == _SOURCE:
        return SOURCE_CODES.get(text.lower()) or None
    try:
        return parse_cached(text)
    except LBError:
        return None


_COMMON_KEYS: Final = _TEXT_KEYS | {_DATE, _ARR_DATE, _LEVEL, _PRIORITY, _SOURCE, _JOBID}


def _from_fields(text: str, user: str | None) -> Event:
    fields = list(split(text))
    type_ = BY_FOLDED_NAME.get(next((f.value for f in fields if f.key == _EVENT), "").lower())
    if type_ is None:
        raise _undefined()
    readers = _readers_of(type_)
    common: dict[str, Value | JobId] = {}
    attributes: dict[str, Value] = {}
    if user is not None:
        common[_USER] = user
    for key, value, _, _ in fields:
        if key in _COMMON_KEYS:
            if key == _USER and user is not None:
                continue
            if key in common:
                raise _duplicate(key)
            read_value = _read_common(key, value)
            if read_value is not None:
                common[key] = read_value
        elif key == _EVENT:
            if value.lower() != type_.name.lower():
                raise _duplicate(key)
        elif key in readers:
            name, read = readers[key]
            if name in attributes:
                raise _duplicate(key)
            converted = read(value) if value else None
            if converted is not None:
                attributes[name] = converted
        elif key in SPECIFIC_KEYS:
            raise ParseError(Code.KEY_MISUSE, f"Key {key} shouldn't be used for event type {type_.name}.")
    return _complete(type_, common, attributes)


def _duplicate(key: str) -> ParseError:
    return ParseError(Code.KEY_DUPLICITY, f"Key {key} already exists.")


def _complete(type_: EventType, common: dict[str, Value | JobId], attributes: dict[str, Value]) -> Event:
    for key in (_DATE, _HOST, _PRIORITY, _JOBID, _SEQCODE, _USER, _SOURCE):
        if key not in common:
            raise _incomplete(key)
    for attribute in type_.attributes:
        if attribute.mandatory and attribute.name not in attributes:
            raise _incomplete(attribute.key)
    jobid = common[_JOBID]
    assert isinstance(jobid, JobId)
    return Event(
        type_,
        jobid,
        timestamp=_number(common[_DATE]),
        arrived=_number(common[_ARR_DATE]) if _ARR_DATE in common else None,
        host=str(common[_HOST]),
        level=_number(common.get(_LEVEL, 0)),
        priority=_number(common[_PRIORITY]),
        source=_number(common[_SOURCE]),
        src_instance=str(common[_INSTANCE]) if _INSTANCE in common else None,
        seqcode=str(common[_SEQCODE]),
        user=str(common[_USER]),
        attributes=attributes,
    )


def _number(value: Value | JobId) -> int:
    assert isinstance(value, int)
    return value


# --- writing and rewriting ------------------------------------------------------------------------------------


def write(event: Event, *, user: bool = True) -> bytes:
    """The line in the form of C programs, with its final blank and LF; `user`: with DG.USER (model.md §4.5)."""
    parts = [
        f'DATE={write_date(event.timestamp)} HOST="{escape(event.host)}" PROG=edg-wms '
        f"LVL={LEVEL_NAMES.get(event.level, 'UNDEFINED')} DG.PRIORITY={event.priority} "
        f'DG.SOURCE="{event.source_name}" DG.SRC_INSTANCE="{escape(event.src_instance or "")}" '
        f'DG.EVNT="{event.type.name}" DG.JOBID="{event.jobid}" DG.SEQCODE="{escape(event.seqcode)}" '
    ]
    if user:
        parts.append(f'DG.USER="{escape(event.user or "")}" ')
    parts += [f'{a.key}="{escape(write_value(a, event.attributes.get(a.name)))}" ' for a in event.type.attributes]
    parts.append("\n")
    return encode("".join(parts))


def _without(text: str, keys: tuple[str, ...]) -> str:
    pieces, position = [], 0
    for field in split(text):
        if field.key in keys:
            pieces.append(text[position : field.start])
            position = field.end
            if text.startswith(" ", position):
                position += 1
    pieces.append(text[position:])
    return "".join(pieces)


# --- commands -------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A logger control line; ``flush`` is the only command (model.md §4.10)."""

    name: str
    jobid: JobId | None  #: None = everything
    timeout: float | None  #: seconds


def parse_command(line: bytes) -> Command:
    """Read a line that contains `COMMAND_MARK`; raises 1401 when broken, EINVAL for a bad job id or no command."""
    values = {field.key: field.value for field in split(decode(line))}
    name = values.get("DG.COMMAND", "")
    if not name:
        raise LBError(22, "command line without DG.COMMAND")
    timeout = values.get("DG.TIMEOUT")
    jobid = values.get(_JOBID)
    return Command(name, parse_cached(jobid) if jobid else None, _read_double(timeout) if timeout else None)
