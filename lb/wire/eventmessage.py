"""Events as messages of brokers carry them: lines, or JSON objects with the same attributes (docs/protocol.md).

Who logs an event is told by whoever read the message's origin; only where nobody does, the event itself is believed.
"""

from __future__ import annotations

import errno
from typing import Any, Final

import msgspec

from lb.model.errors import LBError, invalid
from lb.wire import ulm
from lb.wire.jsonevent import Defaults, read_event

#: Type of a body that is lines; not of text, since lines may hold bytes that are no UTF-8.
LINES: Final = "application/x-ulm"
#: A message may come again: what tells its events from others must not depend on when it came (P3).
_DEFAULTS: Final = Defaults(timestamp=0, host="")
_NEEDED: Final = ("timestamp", "host")
_JSON_BEGINS: Final = (b"{", b"[")


def read_lines(body: bytes, user: str | None, most: int) -> list[bytes | LBError]:
    """The event lines of a body, and errors in the place of those that are none.

    `user`: who logs all of them, None: each tells. Raises E2BIG for more than `most` events, EINVAL for none at all.
    """
    if body.lstrip()[:1] in _JSON_BEGINS:
        return [_from_document(document, user) for document in _documents(body, most)]
    lines = [line.removesuffix(b"\r") for line in _split(body, most) if line.strip(b" \t\r\0")]
    if not lines:
        raise invalid("there is no event in the message")
    return [_from_line(line, user) for line in lines]


def _split(body: bytes, most: int) -> list[bytes]:
    # Counted first: a list of nothing but line feeds would take many times their memory.
    if body.count(b"\n") > most and body.rstrip(b"\n").count(b"\n") >= most:
        raise LBError(errno.E2BIG, f"more than {most} events in one message")
    return body.rstrip(b"\n\0").split(b"\n")


def _from_line(line: bytes, user: str | None) -> bytes | LBError:
    if len(line) > ulm.MAX_LINE:
        return LBError(errno.E2BIG, f"an event of {len(line)} bytes, at most {ulm.MAX_LINE} are taken")
    if user is None:
        return line
    try:
        return ulm.receive(line, user, 0)[1]
    except LBError as error:
        return error


def _documents(body: bytes, most: int) -> list[Any]:
    """The values of one JSON text, or of one on each line; errors in the place of those that are none."""
    found = _decoded(body)
    if isinstance(found, LBError) and b"\n" in body.strip():
        found = [_decoded(line) for line in _split(body, most) if line.strip()]
    if not isinstance(found, list):
        return [found]
    if len(found) > most:
        raise LBError(errno.E2BIG, f"{len(found)} events in one message, at most {most} are taken")
    if not found:
        raise invalid("there is no event in the message")
    return found


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return invalid(f"no JSON: {error}")


def _from_document(document: Any, user: str | None) -> bytes | LBError:
    if isinstance(document, LBError):
        return document
    try:
        event = read_event(document, _DEFAULTS)
        for name in _NEEDED:
            if document.get(name) is None:
                raise invalid(f"an event in a message needs its {name}: the message may come twice")
        event.user = event.user if user is None else user
        if event.user is None:
            raise invalid("an event of a source that tells its users needs its user")
        event.arrived = None
        return ulm.write(event)
    except LBError as error:
        return error
