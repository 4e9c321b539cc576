"""The documents of ``POST /notifRequest``: registrations for notifications (spec: wire-query.md §8.5).

`write_request` and `read_result` are the client's side, `read_request` and `write_result` the server's; a request
that is read has sound conditions, but who may ask it, and whether the id is known, is for the server to say.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from lb.model import notifid, query
from lb.model.errors import LBError, invalid
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Flag, Group, Query
from lb.wire.lbxml import conditions
from lb.wire.lbxml.status import error_attributes, error_of
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, REQUEST_LIMITS, Limits, Node, broken, parse
from lb.wire.ulm import read_integer

_REQUEST: Final = "edg_wll_NotifRequest"
_RESULT: Final = "edg_wll_NotifResult"

#: What C servers store of a destination, bytes (model.md §2).
MAX_ADDRESS: Final = 200


class Function(Enum):
    """What is asked; the values are the names of the wire."""

    NEW = "New"
    BIND = "Bind"
    CHANGE = "Change"
    REFRESH = "Refresh"
    DROP = "Drop"


class ChangeOp(IntEnum):
    """What Change does; only REPLACE does anything."""

    NOOP = 0
    REPLACE = 1
    ADD = 2
    REMOVE = 3


class Request(msgspec.Struct, frozen=True):
    """One request. `validity`: seconds since the epoch, None = the server's default.

    `address` is as the client wrote it (``host:port``, ``:::port``, a URL); the host may have to be filled in
    (wire-notification.md §1.5). `groups` may hold job ids and CHANGED; an owner of None is the asker.
    """

    function: Function
    notifid: JobId
    address: str | None = None
    groups: tuple[Group, ...] = ()
    flags: Flag = NO_FLAGS
    change: ChangeOp = ChangeOp.NOOP
    validity: int | None = None


class Result(NamedTuple):
    """An answer: the effective validity (seconds since the epoch; None with Change and Drop), or the error."""

    validity: int | None
    error: LBError | None


# --- writing ----------------------------------------------------------------------------------------------------

#: Functions whose requests carry a validity.
_TIMED: Final = frozenset({Function.NEW, Function.BIND, Function.REFRESH})


def write_request(asked: Request) -> bytes:
    """The document of a request, as C clients write it."""
    parts = [
        b'<edg_wll_NotifRequest function="%b">\r\n' % asked.function.value.encode("ascii"),
        b"\t<flags>%b</flags>\r\n" % query.write_flags(asked.flags).encode("ascii"),
        b"\t\t\t<notifId>%b</notifId>\r\n" % escape(str(asked.notifid)),
    ]
    if asked.address is not None:
        parts.append(b"\t\t\t<clientAddress>%b</clientAddress>\r\n" % escape(asked.address))
    parts.append(
        b"\t\t\t<notifChangeOp>EDG_WLL_NOTIF_%b</notifChangeOp>\r\n" % asked.change.name.encode("ascii"),
    )
    if asked.function in _TIMED:
        parts.append(b"\t\t\t<requestedValidity>%d</requestedValidity>\r\n" % (asked.validity or 0))
    if asked.groups:
        parts.append(conditions.write(Query(jobs=asked.groups)))
    parts.append(b"</edg_wll_NotifRequest>\r\n")
    return b"".join(parts)


def write_result(validity: int | None = None, error: LBError | None = None) -> bytes:
    """The document of an answer; `http_status.status_of(Operation.NOTIFICATION, …)` says under which status."""
    opening = b"" if error is None else error_attributes(error)
    valid = b"" if validity is None else b"\t\t\t<validity>%d</validity>\r\n" % validity
    return b"<edg_wll_NotifResult%b>\r\n%b</edg_wll_NotifResult>\r\n" % (opening, valid)


# --- reading ----------------------------------------------------------------------------------------------------

_FUNCTIONS: Final = {function.value.lower(): function for function in Function}
_CHANGES: Final = {f"edg_wll_notif_{change.name.lower()}": change for change in ChangeOp}


def _read_function(root: Node) -> Function:
    if root.tag.lower() != _REQUEST.lower():
        raise broken(f"<{root.tag[:80]}> where <{_REQUEST}> was expected")
    name = next((text for key, text in root.attributes.items() if key.lower() == "function"), "")
    found = _FUNCTIONS.get(name.strip().lower())
    if found is None:
        raise invalid(f"Unknown function {name[:80]!r} of a notification request")
    return found


def _read_address(node: Node) -> str | None:
    address = unescape(node.text).strip()
    if len(address) > MAX_ADDRESS:
        raise invalid(f"Address parameter of {len(address)} characters, at most {MAX_ADDRESS} are taken")
    return address or None


def _read_validity(node: Node) -> int | None:
    seconds = read_integer(node.text)
    return seconds if seconds > 0 else None


def _read_groups(node: Node) -> tuple[Group, ...]:
    groups, events = conditions.read(node)
    if events:
        raise invalid("event conditions are not supported in a registration for notifications")
    if groups:
        query.check_jobs(Query(jobs=groups))
    return groups


#: Element → field, and how it is read.
_ELEMENTS: Final[dict[str, tuple[str, Callable[[Node], Any]]]] = {
    "flags": ("flags", lambda node: query.read_flags(unescape(node.text))),
    "notifid": ("notifid", lambda node: notifid.parse(unescape(node.text).strip())),
    "clientaddress": ("address", _read_address),
    "notifchangeop": ("change", lambda node: _CHANGES.get(node.text.strip().lower(), ChangeOp.NOOP)),
    "requestedvalidity": ("validity", _read_validity),
    "and": ("groups", _read_groups),
}
#: Functions that say where notifications go.
_ADDRESSED: Final = frozenset({Function.NEW, Function.BIND})


def read_request(data: bytes, limits: Limits = REQUEST_LIMITS) -> Request:
    """Read a request; raises 1407 (answered with 400), and EINVAL for a function, id, address or conditions unsound."""
    root = parse(data, limits)
    function = _read_function(root)
    fields: dict[str, Any] = {}
    for child in root.children:
        known = _ELEMENTS.get(child.tag.lower())
        if known is None:
            raise conditions.unexpected(child, _REQUEST)
        name, read = known
        if name in fields:
            raise broken(f"<{child.tag}> twice in <{_REQUEST}>")
        fields[name] = read(child)
    if "notifid" not in fields:
        raise invalid("Malformed notification ID: there is none in the request")
    if function in _ADDRESSED and fields.get("address") is None:
        raise invalid("Address parameter not given")
    return Request(function=function, **fields)


def read_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> Result:
    """Read an answer; raises 1407 for what is none. A validity that comes with an error means nothing."""
    root = parse(data, limits)
    if root.tag != _RESULT:
        raise broken(f"<{root.tag[:80]}> where <{_RESULT}> was expected")
    error = error_of(root)
    validity = next((child for child in root.children if child.tag == "validity"), None)
    return Result(None if validity is None or error is not None else _read_validity(validity), error)
