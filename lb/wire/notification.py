"""Notification lines: a job's state on its way to a subscriber (spec: wire-notification.md §3.2, model.md §4.9).

A line travels in an interlogger frame, ``il.frame(write(…))``, and a receiver's reply is ``il.write_reply(il.OK)``.
Nothing here decides whether a notification is believed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lb.model.catalogue import LEVEL_NAMES, LEVEL_SYSTEM, SPECIFIC_KEYS
from lb.model.errors import Code, ParseError, invalid
from lb.model.status import JobStatus
from lb.wire.lbxml import status as status_document
from lb.wire.lbxml.text import escape_bytes, unescape_bytes
from lb.wire.lbxml.tree import ANSWER_LIMITS, Limits, broken
from lb.wire.ulmfields import decode, encode, split
from lb.wire.ulmvalues import escape, read_date, read_integer, write_date


class Notification(msgspec.Struct, frozen=True):
    """One line. `jobstat` is a document of `status.write`, empty where only destination or expiry are told.

    `timestamp`: when it was written, µs since the epoch; `expires`: seconds since the epoch. A destination is
    `dest_host` and `dest_port`, or, when it is not empty, `dest_url`. Texts are empty where the line says nothing.
    """

    notifid: str
    owner: str
    jobstat: bytes
    expires: int
    timestamp: int
    host: str  #: where it was written
    dest_host: str = ""
    dest_port: int = 0
    dest_url: str = ""

    @property
    def destination(self) -> str:
        """``host:port`` or URL."""
        return self.dest_url or f"{self.dest_host}:{self.dest_port}"

    def status(self, limits: Limits = ANSWER_LIMITS) -> JobStatus:
        """The job's state; raises 1407 when there is none or it cannot be read."""
        if not self.jobstat:
            raise broken("notification without a job's state")
        return status_document.read(self.jobstat, limits)


_LEVEL: Final = LEVEL_NAMES[LEVEL_SYSTEM]


def write(notification: Notification) -> bytes:
    """The line as it stands in a frame: with its final blank, without LF (which files and sockets add).

    Raises EINVAL for values that no line can carry.
    """
    n = notification
    head = (
        f'DATE={write_date(n.timestamp)} HOST="{escape(n.host)}" PROG=edg-wms LVL={_LEVEL} '
        f'DG.SOURCE="Undefined" DG.SRC_INSTANCE="" DG.TYPE="notification" '
        f'DG.NOTIFICATION.NOTIFID="{escape(n.notifid)}" DG.NOTIFICATION.OWNER="{escape(n.owner)}" '
        f'DG.NOTIFICATION.DEST_HOST="{escape(n.dest_host)}" DG.NOTIFICATION.DEST_PORT="{n.dest_port}" '
        f'DG.NOTIFICATION.EXPIRES="{n.expires}" DG.NOTIFICATION.JOBSTAT="'
    )
    # A document is bytes, most of it of a large line; the escapes leave only backslashes to be escaped again.
    document = escape_bytes(n.jobstat).replace(b"\\", b"\\\\")
    line = b'%b%b" DG.NOTIFICATION.DEST_URL="%b" ' % (encode(head), document, encode(escape(n.dest_url)))
    if b"\0" in line:
        raise invalid(f"NUL in notification {n.notifid}")
    return line


_PREFIX: Final = "DG.NOTIFICATION."
_TYPE: Final = "DG.TYPE"
#: Keys that mean something in the lines of events only.
_FOREIGN: Final = frozenset({"DG.JOBID", "DG.SEQCODE", "DG.USER", "DG.PRIORITY"}) | {
    key for key in SPECIFIC_KEYS if not key.startswith(_PREFIX)
}


def read(line: bytes) -> Notification:
    """Read a line, with or without its LF; nothing in it is mandatory but its type.

    Raises `ParseError` 1401 broken, 1402 no notification, 1404 duplicate key, 1406 fields of events.
    """
    texts: dict[str, str] = {}
    extra = 0
    for field in split(decode(line)):
        if field.key in texts:
            raise ParseError(Code.KEY_DUPLICITY, f"Key {field.key} already exists.")
        texts[field.key] = field.value
        extra += field.key in _FOREIGN
    if texts.get(_TYPE, "").lower() != "notification":
        raise ParseError(Code.EVENT_UNDEFINED, "line that is no notification")
    if extra:
        raise ParseError(Code.EXTRA_FIELDS, f"There are {extra} extra fields in the logline.")

    def text(name: str) -> str:
        return texts.get(_PREFIX + name, "")

    return Notification(
        notifid=text("NOTIFID"),
        owner=text("OWNER"),
        jobstat=unescape_bytes(encode(text("JOBSTAT"))),
        expires=read_integer(text("EXPIRES")),
        timestamp=read_date(texts.get("DATE", "")) or 0,
        host=texts.get("HOST", ""),
        dest_host=text("DEST_HOST"),
        dest_port=read_integer(text("DEST_PORT")),
        dest_url=text("DEST_URL"),
    )
