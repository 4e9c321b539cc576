"""Values of event lines: escapes, dates, numbers, tag lists, and the text form of every attribute (spec: model.md §3).

Reading never fails: a text that means nothing is null, as it is for every peer.
All work is linear in the length of a text, and no number of a peer becomes greater than 64 bits hold.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final

from lb.model.catalogue import SOURCE_CODES, SOURCE_NAMES, Attribute, Kind
from lb.model.errors import invalid
from lb.model.event import Value
from lb.model.jobid import canonical

# --- escapes --------------------------------------------------------------------------------------------------

#: Stands for a pair of backslashes while single ones are taken out: half a character, which decoding never makes.
_BACKSLASH: Final = "\ud800"


def escape(value: str) -> str:
    """The value as it stands between quotes (model.md §4.2)."""
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def unescape(value: str) -> str:
    """Undo `escape`; a backslash before any other character stands for that character."""
    if "\\" not in value:
        return value
    single = value.replace("\\\\", _BACKSLASH)
    return single.replace("\\n", "\n").replace("\\", "").replace(_BACKSLASH, "\\")


# --- dates ----------------------------------------------------------------------------------------------------

_DATE = re.compile(r"(\d{14})(?:\.(\d*))?", re.ASCII)
_EPOCH: Final = date(1970, 1, 1).toordinal()
#: Seconds since the epoch at which the year 10000 begins.
_END_OF_DATES: Final = 253_402_300_800


@lru_cache(maxsize=4096)
def _seconds(digits: str) -> int | None:
    try:
        days = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).toordinal() - _EPOCH
    except ValueError:
        return None
    hours, minutes, seconds = int(digits[8:10]), int(digits[10:12]), int(digits[12:])
    if hours > 23 or minutes > 59 or seconds > 60:  # 60: a leap second
        return None
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return total if 0 <= total < _END_OF_DATES else None


def read_date(text: str) -> int | None:
    """Microseconds since the epoch of ``YYYYMMDDhhmmss[.digits]``, UTC; None when there is no such time from 1970 on.

    The digits after the dot are a whole number of microseconds (``.5`` is 5 µs, model.md §4.6);
    of more than six the first six count, so that nanoseconds do not move an event by minutes.
    """
    found = _DATE.match(text)
    seconds = _seconds(found[1]) if found else None
    if found is None or seconds is None:
        return None
    return seconds * 1_000_000 + int((found[2] or "0")[:6])


def write_date(microseconds: int) -> str:
    """``YYYYMMDDhhmmss.uuuuuu``, UTC; EINVAL outside the years 1970…9999."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    if not 0 <= seconds < _END_OF_DATES:
        raise invalid(f"time {microseconds} µs has no date of four-digit year")
    return f"{_write_seconds(seconds)}.{fraction:06d}"


@lru_cache(maxsize=4096)
def _write_seconds(seconds: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds))


# --- numbers --------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"\s*([+-]?\d+)", re.ASCII)
_DOUBLE = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
#: Signs and digits that a 64-bit number holds in any case.
_INTEGER_LENGTH: Final = 18
#: The greatest double has 309 digits before the point.
_DOUBLE_LENGTH: Final = 400


def read_integer(text: str) -> int:
    """C `atoi`: blanks, sign, digits; 0 without digits, and 0 for numbers beyond 18 digits."""
    found = _INTEGER.match(text)
    return int(found[1]) if found and len(found[1]) <= _INTEGER_LENGTH else 0


def read_double(text: str) -> float:
    """C `strtod` on decimal numbers; 0 for anything else and for numbers too great."""
    found = _DOUBLE.match(text)
    value = float(found[1]) if found and len(found[1]) <= _DOUBLE_LENGTH else 0.0
    return value if math.isfinite(value) else 0.0


def _write_double(value: float) -> str:
    if not math.isfinite(value):
        raise invalid(f"{value} is no quantity")
    return f"{value:f}"


# --- tag lists ------------------------------------------------------------------------------------------------


def read_taglist(text: str) -> tuple[tuple[str, str], ...]:
    """``n=v,n=v`` as pairs; pieces without ``=`` or with an empty value are dropped (model.md §9.1)."""
    pairs = (piece.partition("=") for piece in text.split(","))
    return tuple((name, value) for name, equals, value in pairs if equals and value)


def write_taglist(pairs: tuple[tuple[str, str], ...]) -> str:
    """Pairs as ``n=v,n=v``."""
    return ",".join(f"{name}={value}" for name, value in pairs)


# --- attributes -----------------------------------------------------------------------------------------------

#: How the unescaped, non-empty text of a kind is read; whatever counts as false is null.
_READERS: Final[dict[Kind, Callable[[str], Value | None]]] = {
    Kind.STRING: lambda text: text,
    Kind.PORT: lambda text: read_integer(text) % 65536,
    Kind.DOUBLE: read_double,
    Kind.LOGSRC: lambda text: SOURCE_CODES.get(text.lower()),
    Kind.JOBID: canonical,
    Kind.NOTIFID: canonical,
    Kind.TIMEVAL: read_date,
    Kind.TAGLIST: read_taglist,
}


def reader(attribute: Attribute) -> Callable[[str], Value | None]:
    """A function from the unescaped, non-empty text of an attribute to its value, None = null."""
    null = attribute.null

    def coded(text: str) -> Value | None:
        number = attribute.codes.get(text.upper(), attribute.unknown)
        return None if number == null else number

    def number(text: str) -> Value | None:
        value = read_integer(text)
        return None if value == null else value

    if attribute.kind is Kind.STRING:
        return _READERS[Kind.STRING]
    if attribute.kind in (Kind.CODED, Kind.INT):
        return coded if attribute.kind is Kind.CODED else number
    read = _READERS[attribute.kind]
    return lambda text: read(text) or None


_NULL_TEXTS: Final = {
    Kind.TIMEVAL: write_date(0),
    Kind.DOUBLE: _write_double(0),
    Kind.CODED: "UNDEFINED",
    Kind.LOGSRC: "Undefined",
}


def write_value(attribute: Attribute, value: Value | None) -> str:
    """The text of an attribute's value, unescaped (model.md §3); EINVAL for a time or quantity that has none."""
    kind = attribute.kind
    if value is None:
        return str(attribute.null or 0) if kind in (Kind.INT, Kind.PORT) else _NULL_TEXTS.get(kind, "")
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return write_taglist(value)
    if kind is Kind.DOUBLE:
        return _write_double(value)
    number = int(value)
    if kind is Kind.CODED:
        return attribute.names.get(number, "UNDEFINED")
    if kind is Kind.LOGSRC:
        return SOURCE_NAMES.get(number, "Undefined")
    return write_date(number) if kind is Kind.TIMEVAL else str(number)
