"""Errors with the numbers that the L&B protocols carry (spec: model.md §6.14).

Numbers up to 1400 are Linux errno values, those above are L&B's own.
A raised `LBError` always says what was wrong in words that its sender can act on.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum


class Code(IntEnum):
    """Error numbers of L&B itself."""

    BROKEN_ULM = 1401
    EVENT_UNDEFINED = 1402
    MESSAGE_INCOMPLETE = 1403
    KEY_DUPLICITY = 1404
    KEY_MISUSE = 1405
    EXTRA_FIELDS = 1406
    XML_PARSE = 1407
    SERVER_RESPONSE = 1408
    JOBID_FORMAT = 1409
    DB_INIT = 1410
    DB_CALL = 1411
    MD5_CLASH = 1412
    GSS = 1413
    DNS = 1414
    NO_JOBID = 1415
    NO_INDEX = 1416
    IL_PROTO = 1417
    IL_SYS = 1418
    IL_EVENTS_WAITING = 1419
    COMPARE_EVENTS = 1420
    DB_DEADLOCK = 1421
    DB_LOST_CONNECTION = 1422
    ACCEPTED_OK = 1423


_TEXTS = {
    Code.BROKEN_ULM: "Broken ULM",
    Code.EVENT_UNDEFINED: "Undefined event",
    Code.MESSAGE_INCOMPLETE: "Message incomplete",
    Code.KEY_DUPLICITY: "Duplicate ULM key",
    Code.KEY_MISUSE: "Misuse of ULM key",
    Code.EXTRA_FIELDS: "Warning: extra ULM fields",
    Code.XML_PARSE: "XML Parse error",
    Code.SERVER_RESPONSE: "Server response error",
    Code.JOBID_FORMAT: "Bad JobId format",
    Code.DB_INIT: "Database initialization failed",
    Code.DB_CALL: "Database call failed",
    Code.MD5_CLASH: "MD5 key clash",
    Code.GSS: "GSSAPI Error",
    Code.DNS: "DNS resolver error",
    Code.NO_JOBID: "No JobId specified in context",
    Code.NO_INDEX: "No indexed condition in query",
    Code.IL_PROTO: "LB server (bkserver,lbproxy) store protocol error",
    Code.IL_SYS: "Interlogger internal error",
    Code.IL_EVENTS_WAITING: "Interlogger has events pending",
    Code.COMPARE_EVENTS: "Compared events differ",
    Code.DB_DEADLOCK: "DB deadlock detected",
    Code.DB_LOST_CONNECTION: "DB connection lost",
    Code.ACCEPTED_OK: "Background operation accepted",
}


def text_of(code: int) -> str:
    """The standard text of an error number, e.g. ``No such file or directory`` for 2."""
    try:
        return _TEXTS[Code(code)]
    except ValueError:
        return os.strerror(code) if 0 <= code < Code.BROKEN_ULM else f"Unknown error {code}"


class LBError(Exception):
    """A failure that travels to a peer: a number and a description in words."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(code, description)
        self.code = int(code)
        self.description = description

    def __str__(self) -> str:
        return f"{text_of(self.code)} ({self.description})"


class ParseError(LBError):
    """A line or document that cannot be read; never worth a retry."""


def invalid(description: str) -> LBError:
    """EINVAL: the request itself is wrong."""
    return LBError(errno.EINVAL, description)


def forbidden(description: str) -> LBError:
    """EPERM: the peer may not do this."""
    return LBError(errno.EPERM, description)


def missing(description: str) -> LBError:
    """ENOENT: what was asked for is not here."""
    return LBError(errno.ENOENT, description)


def exists(description: str) -> LBError:
    """EEXIST: what was to be made is here already."""
    return LBError(errno.EEXIST, description)
