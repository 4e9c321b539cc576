"""Messages that producers send to brokers through a logger: made with ids of their own, refused in words.

Whoever sends a message again after an error sends the same one, with the same id, so that receivers know it.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from lb.model.catalogue import Priority
from lb.model.errors import Code, LBError
from lb.wire import dglog
from lb.wire.tunnel import Message

TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"


def new_id() -> str:
    """An id that no other message has."""
    return str(uuid.uuid4())


def new_message(
    destination: str,
    body: bytes | str,
    *,
    now: float,
    host: str,
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
    persistent: bool = True,
    lifetime: float | None = None,
    priority: int | None = None,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    id: str | None = None,
    synchronous: bool = False,
    make_id: Callable[[], str] = new_id,
) -> Message:
    """A message of this moment and this machine for ``x-msg://BROKER/DESTINATION``.

    `now`: seconds since the epoch; `lifetime`: seconds after which nobody wants it. Text is sent as UTF-8; without a
    content type it is plain text, and bytes are just bytes. `synchronous`: its sender waits until the broker has it.
    """
    kind = content_type or (TEXT if isinstance(body, str) else BINARY)
    moment = int(now * 1_000_000)
    return Message(
        destination=destination,
        body=body.encode() if isinstance(body, str) else body,
        id=id or make_id(),
        timestamp=moment,
        host=host,
        content_type=kind,
        headers=headers or {},
        persistent=persistent,
        expires=None if lifetime is None else moment + int(lifetime * 1_000_000),
        priority=priority,
        correlation_id=correlation_id,
        reply_to=reply_to,
        flags=int(Priority.LOCAL | Priority.SYNC if synchronous else Priority.LOCAL),
    )


_EVENTS_ONLY: Final = (
    "this logger forwards events only (it answers 1402, as the C implementation does): "
    "send to {0} through an lb-logger that has the broker"
)
#: What answers of a logger mean to a message: code of the error, and words about its destination.
_ANSWERS: Final[Mapping[int, tuple[int, str]]] = {
    Code.EVENT_UNDEFINED: (errno.EOPNOTSUPP, _EVENTS_ONLY),
    errno.ENOENT: (errno.ENOENT, "the logger has no broker for {0}: it is started with --broker NAME=URL"),
    errno.EPERM: (errno.EACCES, "the logger does not let us send to {0}: by its policy, or without a certificate"),
    errno.EINVAL: (errno.EINVAL, "the logger cannot use {0}, or something else that the message says"),
    errno.ENOSPC: (errno.ENOSPC, "the logger has no room for {0}"),
    errno.EAGAIN: (errno.EAGAIN, "the logger has the message for {0} and will publish it, but it is not confirmed yet"),
    Code.IL_SYS: (
        errno.EREMOTEIO,
        "the broker refused the message for {0}, or it expired before; it is in the logger's quarantine",
    ),
}


def tunnelling_error(code: int, destination: str) -> LBError | None:
    """What the sender of a message is told of the logger's answer, None for success."""
    if code not in _ANSWERS:
        return dglog.error_of(code)
    number, words = _ANSWERS[code]
    return LBError(number, words.format(destination))
