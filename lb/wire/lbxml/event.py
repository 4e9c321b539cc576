"""The event document ``<edg_wll_Event>`` (spec: wire-query.md §6.3).

Written from the event catalogue in the layout of the C server; coded values travel as numbers, sources as names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from lb.model.catalogue import BY_NAME, SOURCE_CODES, SOURCE_NAMES, EventType, Kind
from lb.model.errors import Code, LBError, ParseError
from lb.model.event import Event, Value
from lb.model.jobid import JobId, canonical, parse_cached
from lb.wire.lbxml.status import read_time, write_time
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import Node, broken
from lb.wire.ulm import read_integer, read_taglist, write_taglist

TAG: Final = "edg_wll_Event"

_CLOSING: Final = b"      </edg_wll_Event>\r\n"
#: Priority 0 is a value; what stands for none is -1.
_NO_PRIORITY: Final = -1

# --- writing ----------------------------------------------------------------------------------------------------


def _write_int(value: Any) -> bytes:
    return b"%d" % value


def _write_source(value: Any) -> bytes:
    return SOURCE_NAMES.get(value, "Undefined").encode("ascii")


_WRITERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.STRING: escape,
    Kind.INT: _write_int,
    Kind.PORT: _write_int,
    Kind.DOUBLE: lambda value: b"%f" % value,
    Kind.CODED: _write_int,
    Kind.LOGSRC: _write_source,
    Kind.JOBID: escape,
    Kind.NOTIFID: escape,
    Kind.TIMEVAL: write_time,
    Kind.TAGLIST: lambda pairs: escape(write_taglist(pairs)),
}

#: name, null value, default when absent (None = leave out), writer, opening, closing
_Field = tuple[str, Value | None, Value | None, Callable[[Any], bytes], bytes, bytes]


@cache  # one entry an event type
def _form(type_: EventType) -> tuple[bytes, tuple[_Field, ...]]:
    fields: list[_Field] = []
    for attribute in type_.attributes:
        name = attribute.name.encode("ascii")
        # A double has no null on the wire: it is always there (wire-query.md §4.4).
        double = attribute.kind is Kind.DOUBLE
        fields.append(
            (
                attribute.name,
                None if double else attribute.null,
                0.0 if double else None,
                _WRITERS[attribute.kind],
                b"\t\t\t<%b>" % name,
                b"</%b>\r\n" % name,
            )
        )
    return b'      <edg_wll_Event name="%b">\r\n' % type_.name.encode("ascii"), tuple(fields)


def write(event: Event) -> bytes:
    """The document with its line end, indented as in an answer."""
    opening, fields = _form(event.type)
    parts = [opening]
    if event.timestamp:
        parts.append(b"\t\t\t<timestamp>%b</timestamp>\r\n" % write_time(event.timestamp))
    if event.arrived:
        parts.append(b"\t\t\t<arrived>%b</arrived>\r\n" % write_time(event.arrived))
    parts.append(b"\t\t\t<host>%b</host>\r\n" % escape(event.host))
    if event.level:
        parts.append(b"\t\t\t<level>%d</level>\r\n" % event.level)
    if event.priority != _NO_PRIORITY:
        parts.append(b"\t\t\t<priority>%d</priority>\r\n" % event.priority)
    parts.append(
        b"\t\t\t<jobId>%b</jobId>\r\n\t\t\t<seqcode>%b</seqcode>\r\n"
        % (escape(str(event.jobid)), escape(event.seqcode))
    )
    if event.user is not None:
        parts.append(b"\t\t\t<user>%b</user>\r\n" % escape(event.user))
    if event.source:
        parts.append(b"\t\t\t<source>%b</source>\r\n" % _write_source(event.source))
    if event.src_instance is not None:
        parts.append(b"\t\t\t<src_instance>%b</src_instance>\r\n" % escape(event.src_instance))
    attributes = event.attributes
    for name, null, default, write_value, opening, closing in fields:
        value = attributes.get(name, default)
        if value is not None and value != null:
            parts += (opening, write_value(value), closing)
    parts.append(_CLOSING)
    return b"".join(parts)


# --- reading ----------------------------------------------------------------------------------------------------


def _read_int(text: str) -> int:
    return read_integer(text) if text else -1


def _read_double(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value and math.isfinite(value) else None


def _read_source(text: str) -> int:
    return SOURCE_CODES.get(text.strip().lower(), 0)


_READERS: Final[dict[Kind, Callable[[str], Value | None]]] = {
    Kind.STRING: lambda text: unescape(text) or None,
    Kind.INT: _read_int,
    Kind.PORT: _read_int,
    Kind.DOUBLE: _read_double,
    Kind.CODED: _read_int,
    Kind.LOGSRC: _read_source,
    Kind.JOBID: lambda text: canonical(unescape(text)),
    Kind.NOTIFID: lambda text: canonical(unescape(text)),
    Kind.TIMEVAL: lambda text: read_time(text) or None,
    Kind.TAGLIST: lambda text: read_taglist(unescape(text)) or None,
}


@cache  # one entry an event type
def _readers(type_: EventType) -> dict[str, tuple[Value | None, Callable[[str], Value | None]]]:
    return {a.name: (a.null, _READERS[a.kind]) for a in type_.attributes}


def _job(text: str | None) -> JobId:
    if text is None:
        raise broken("event without a job id")
    try:
        return parse_cached(unescape(text))
    except LBError as error:
        raise broken(error.description) from None


def from_node(node: Node) -> Event:
    """The event that an ``<edg_wll_Event>`` element holds; raises 1402 for a type nobody knows, 1407 without job id."""
    type_ = BY_NAME.get(node.attributes.get("name", ""))
    if type_ is None:
        raise ParseError(Code.EVENT_UNDEFINED, f"Unknown event type {node.attributes.get('name', '')[:80]}")
    readers = _readers(type_)
    attributes: dict[str, Value] = {}
    common: dict[str, str] = {}
    # A type's own fields come after the common ones and share no name with them.
    for child in node.children:
        found = readers.get(child.tag)
        if found is None:
            common[child.tag] = child.text
        else:
            null, read_value = found
            value = read_value(child.text)
            if value is not None and value != null:
                attributes[child.tag] = value
    user = common.get("user")
    instance = common.get("src_instance")
    return Event(
        type_,
        _job(common.get("jobId")),
        timestamp=read_time(common.get("timestamp", "")),
        arrived=read_time(common.get("arrived", "")) or None,
        host=unescape(common.get("host", "")),
        level=read_integer(common.get("level", "")),
        priority=read_integer(common["priority"]) if "priority" in common else _NO_PRIORITY,
        seqcode=unescape(common.get("seqcode", "")),
        user=None if user is None else unescape(user),
        source=_read_source(common.get("source", "")),
        src_instance=None if instance is None else unescape(instance),
        attributes=attributes,
    )
