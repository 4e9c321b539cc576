"""Values of event attributes from the command line: numbers are parsed, names looked up, nothing is guessed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lb.model.catalogue import SOURCE_CODES, SOURCE_NAMES, Attribute, Kind
from lb.model.errors import LBError
from lb.model.event import Value
from lb.model.jobid import parse
from lb.wire import ulm

_EPOCH_SECONDS: Final = re.compile(r"(\d{1,11})(?:\.(\d{1,6}))?", re.ASCII)
_MAX_PORT: Final = 65535


def read_time(text: str) -> int:
    """Microseconds since the epoch from ``YYYYMMDDhhmmss[.uuuuuu]``, epoch seconds, or ISO 8601 (UTC if unsaid)."""
    found = ulm.read_date(text) if re.fullmatch(r"\d{14}(\.\d{1,6})?", text, re.ASCII) else None
    if found is not None:
        return found
    seconds = _EPOCH_SECONDS.fullmatch(text)
    if seconds is not None:
        return int(seconds[1]) * 1_000_000 + int((seconds[2] or "").ljust(6, "0"))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(text, "a time: ISO 8601, YYYYMMDDhhmmss or seconds since the epoch") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def reader(attribute: Attribute) -> Callable[[str], Value]:
    """How the text of an attribute is read; raises `argparse.ArgumentTypeError` that says what would be right."""

    def integer(text: str) -> Value:
        if re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII) is None or not -(1 << 31) <= int(text) < 1 << 31:
            raise _wrong(text, "a number of 32 bits")
        return int(text)

    def port(text: str) -> Value:
        if re.fullmatch(r"\d{1,5}", text, re.ASCII) is None or int(text) > _MAX_PORT:
            raise _wrong(text, "a port")
        return int(text)

    def double(text: str) -> Value:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not abs(value) < 1e300:
            raise _wrong(text, "a number")
        return value

    def coded(text: str) -> Value:
        number = attribute.codes.get(text.upper())
        if number is None:
            raise _wrong(text, "one of " + ", ".join(attribute.codes))
        return number

    def source(text: str) -> Value:
        return read_source(text)

    def identifier(text: str) -> Value:
        try:
            return str(parse(text.strip()))
        except LBError as error:
            raise argparse.ArgumentTypeError(error.description) from None

    def taglist(text: str) -> Value:
        pairs = ulm.read_taglist(text)
        if ulm.write_taglist(pairs) != text:
            raise _wrong(text, "name=value,name=value")
        return pairs

    readers: dict[Kind, Callable[[str], Value]] = {
        Kind.STRING: str,
        Kind.INT: integer,
        Kind.PORT: port,
        Kind.DOUBLE: double,
        Kind.CODED: coded,
        Kind.LOGSRC: source,
        Kind.JOBID: identifier,
        Kind.NOTIFID: identifier,
        Kind.TIMEVAL: read_time,
        Kind.TAGLIST: taglist,
    }
    return readers[attribute.kind]


def read_source(text: str) -> int:
    """The number of a source by its name, without case."""
    number = SOURCE_CODES.get(text.lower())
    if not number:
        raise _wrong(text, "one of " + ", ".join(sorted(name for number, name in SOURCE_NAMES.items() if number)))
    return number


def describe(attribute: Attribute) -> str:
    """What the value of an attribute looks like."""
    if attribute.kind is Kind.CODED:
        return ", ".join(attribute.codes)
    return {
        Kind.INT: "a number",
        Kind.PORT: "a port",
        Kind.DOUBLE: "a number",
        Kind.LOGSRC: "a source",
        Kind.JOBID: "a job id",
        Kind.NOTIFID: "a notification id",
        Kind.TIMEVAL: "a time",
        Kind.TAGLIST: "name=value,name=value",
    }.get(attribute.kind, "text")


def _wrong(text: str, right: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text[:80]!r} is not {right}")
