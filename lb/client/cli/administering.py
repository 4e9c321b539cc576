"""What commands for administrators share: the server, patience, ages and times, and a sign that something goes on."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from lb.client.cli import Surroundings
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, readable, server

_T = TypeVar("_T")

#: Seconds that a server may take: it works through its whole store.
PATIENCE: Final = 86_400.0
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGE: Final = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)
_STAMP: Final = "%Y%m%d%H%M%S"


def add_common(parser: Parser) -> None:
    """The options of all these commands."""
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    add_output(parser)
    add_connection(parser)


def age(text: str) -> int:
    """Seconds of ``NNN[smhd]``, for argparse."""
    found = _AGE.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else -1
    if not 0 <= seconds < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number of seconds, or with s, m, h, d behind it")
    return seconds


def moment(text: str) -> int:
    """Seconds since the epoch of ``YYYYMMDDHHmmss`` (UTC), for argparse."""
    try:
        return int(datetime.strptime(text, _STAMP).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give YYYYMMDDHHmmss (UTC)") from None


def stamp(seconds: int) -> str:
    """The time as the C tools show it: ``20261123071226.000000``."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_STAMP) + ".000000"


def ctime(seconds: int) -> str:
    """``Mon Nov 23 07:12:26 2026``, in local time, as the C tools show it."""
    return time.ctime(seconds)


def ask(
    given: argparse.Namespace,
    around: Surroundings,
    what: str,
    work: Callable[[Any], Coroutine[Any, Any, _T]],
) -> _T:
    """What the server answers to `work`, which gets an `Administrator`; on a terminal `what` is said meanwhile."""
    from lb.client.administration import Administrator

    patience = given.timeout if given.timeout is not None else PATIENCE
    with open_client(given, around, query_server=given.server, query_timeout=patience) as client, waiting(around, what):

        async def run(session: Any) -> _T:
            return await work(Administrator(session.consumer.carrier, session.settings))

        answer: _T = client.run(run)
        return answer


@contextmanager
def waiting(around: Surroundings, what: str) -> Iterator[None]:
    """Say on a terminal that something goes on."""
    if not around.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=around.stderr).status(what):
        yield


@contextmanager
def progress(around: Surroundings, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; what it yields is called with how many more are done."""
    if not around.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=around.stderr), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
