"""Printing notifications as they arrive: the line of the C command, or one JSON document each.

The reactor runs in its own thread; this one waits, prints, and comes back for the next, which acknowledges the last.
"""

from __future__ import annotations

import argparse
import errno
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from lb.client.cli import Surroundings
from lb.client.cli.output import visible, write_json
from lb.model.errors import LBError
from lb.model.status import ATTRIBUTES, BY_NAME, JobStatus
from lb.wire.documents import iso_time, state_name, status_document
from lb.wire.ulm import write_taglist

if TYPE_CHECKING:
    from lb.client.receiver import Received

_FIELDS: Final = tuple(a.name for a in ATTRIBUTES if a.sent and not a.structured)

#: Gets the next notification within so many seconds (None = any time), or None at the end, or raises ETIMEDOUT.
Next = Callable[[float | None], "Received | None"]


def add_fields(
    parser: argparse.ArgumentParser, option: str = "--fields", *more: str, default: tuple[str, ...] = ("owner",)
) -> None:
    """The option that chooses fields of a state."""
    parser.add_argument(
        option,
        *more,
        dest="fields",
        type=_read_fields,
        default=default,
        metavar="NAME,…",
        help=f"fields of the state to print after its name (default: {','.join(default) or 'none'})",
    )


def _read_fields(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in _FIELDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no field {unknown[0][:80]!r} of a state; there are {', '.join(_FIELDS)}")
    return names


def field_text(status: JobStatus, name: str) -> str:
    """A field as it stands in the status document, without its escapes; empty for null text."""
    value = getattr(status, name)
    if value is None:
        return ""
    if isinstance(value, list):
        return write_taglist(tuple(value))
    if BY_NAME[name].type == "timeval":
        seconds, fraction = divmod(value, 1_000_000)
        return f"{seconds}.{fraction:06d}"
    return str(int(value)) if isinstance(value, int) else str(value)


def write_arrival(around: Surroundings, received: Received, fields: tuple[str, ...], *, json: bool) -> None:
    """Print one notification and let it be seen at once."""
    status = received.status
    if json:
        document = {
            "notifId": str(received.notifid),
            "timestamp": iso_time(received.notification.timestamp),
            "status": status_document(status),
        }
        write_json(around.stdout, document)
    else:
        cells = [status.jobId or "", state_name(status.state), *(field_text(status, name) for name in fields)]
        line = "".join(visible(cell).replace("\n", " ") + "\t" for cell in cells)
        around.stdout.write(line + "\n")
    around.stdout.flush()


def print_arrivals(
    around: Surroundings, arrivals: Next, fields: tuple[str, ...], *, json: bool, running: float | None
) -> bool:
    """Print until there are no more; True when the time (`running` seconds altogether) was over before."""
    end = None if running is None else time.monotonic() + running
    while True:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return True
        try:
            received = arrivals(left)
        except LBError as error:
            if error.code == errno.ETIMEDOUT and end is not None and time.monotonic() >= end:
                return True
            raise
        if received is None:
            return False
        write_arrival(around, received, fields, json=json)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the program that called us
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def receiving(client: Any, source: Any) -> Next:
    """The notifications of a receiver or watch of this client."""

    def receive(patience: float | None) -> Received | None:
        received: Received | None = client.run(lambda session: source.receive(patience))
        return received

    return receive
