"""Errors as they travel: the protocol's number and its text in one line, read back on the other side.

Perspective Broker carries the name of an exception's class and its text; no other class of ours may leave a server.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.spread import pb

from lb.model.errors import LBError, invalid


class RefusedError(pb.Error):
    """What a caller is told: ``NUMBER TEXT``, numbers as everywhere in L&B (spec: model.md §6)."""

    def __init__(self, error: LBError) -> None:
        super().__init__(f"{error.code} {error.description or ''}".rstrip())


class Guarded(pb.Referenceable):
    """An object of ours that strangers call: a call that makes no sense is answered, not logged with a traceback."""

    def remoteMessageReceived(self, broker: Any, message: str, args: Any, kw: Any) -> Any:
        """Make a call; raises `RefusedError` for what cannot be called so."""
        try:
            return super().remoteMessageReceived(broker, message, args, kw)
        except pb.Error:
            raise
        except Exception as error:
            raise RefusedError(invalid(f"{message[:80]}: {type(error).__name__}")) from None


def error_of(error: Exception) -> LBError:
    """The error that a remote call failed with; what is no refusal of ours is a broken peer, EIO."""
    kind = getattr(error, "remoteType", b"")
    name = kind.decode("utf-8", "replace") if isinstance(kind, bytes) else str(kind)
    number, _, description = str(error).partition(" ")
    if name.endswith(RefusedError.__name__) and number.lstrip("-").isdigit():
        return LBError(int(number), description)
    return LBError(errno.EIO, f"the server could not answer: {error}")
