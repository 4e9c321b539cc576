"""Failures as one line each: what, where, and what to do about it."""

from __future__ import annotations

import errno
from typing import Final

from lb.model.errors import Code, LBError, text_of
from lb.wire.documents import clean

#: What may help, by error number.
_ADVICE: Final[dict[int, str]] = {
    errno.ECONNREFUSED: "start the service there, or name the right one (--server, --logger, GLITE_WMS_*)",
    errno.ETIMEDOUT: "try again, or give more time with --timeout",
    errno.EADDRINUSE: "choose another port, or none (--address)",
    errno.EADDRNOTAVAIL: "listen on an address of this machine (--address)",
    errno.ENOTCONN: "try again; the log of the service says why it closed",
    errno.EPERM: "ask with the certificate of the owner, or be given the right to by the job or the server's policy",
    errno.EEXIST: "choose another job id, or register without --exclusive",
    errno.E2BIG: "ask for less, or raise the limits (GLITE_WMS_QUERY_JOBS_LIMIT, GLITE_WMS_QUERY_RESULTS)",
    errno.EIDRM: "the server's dumps may still hold it",
    errno.ENOSPC: "free space at the logger, or send less",
    Code.DNS: "check the spelling of the host",
    Code.GSS: "check both certificates and the trusted authorities (--cert, --key, --ca-dir, lb pki init)",
    Code.NO_INDEX: "add a condition on an indexed attribute (owner=…, jobid=…, parent_job=…; lb index shows them)",
}


def message_of(error: Exception) -> str | None:
    """The line for a failure of the world; None for a mistake of the program."""
    from lb.security.credentials import CredentialError  # loaded only where something failed: it takes its time

    if isinstance(error, LBError):
        advice = _ADVICE.get(error.code)
        parts = [text_of(error.code), error.description, advice]
    elif isinstance(error, CredentialError):
        parts = [error.what, error.where, error.advice]
    elif isinstance(error, OSError):
        parts = [error.strerror or str(error), error.filename and str(error.filename)]
    else:
        return None
    return one_line(": ".join(part for part in dict.fromkeys(parts) if part))


def one_line(text: str) -> str:
    """The text without line ends and other control characters, which a peer may have sent."""
    return "".join(c if c.isprintable() else " " for c in clean(text)).strip()
