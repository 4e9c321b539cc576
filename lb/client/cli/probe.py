"""``lb probe``: tells a monitoring system whether a server, and a logger, answer (spec: cli.md §5.4).

One line and the exit codes of monitoring plugins: 0 OK, 1 WARNING, 2 DOWN, 3 UNKNOWN, also for wrong usage.
Nothing is registered or logged unless asked for.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.errors import message_of, one_line
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, add_connection, add_output, logger, open_client, readable, server
from lb.client.cli.subscription import seconds
from lb.model.errors import LBError

if TYPE_CHECKING:
    from lb.client.cli.reaching import Reach

OK, WARNING, DOWN, UNKNOWN = 0, 1, 2, 3
_NAMES: Final = {OK: "OK", WARNING: "WARNING", DOWN: "DOWN", UNKNOWN: "UNKNOWN"}

#: Seconds for each step, unless said otherwise: monitoring systems give up after a minute or so.
_PATIENCE: Final = 20.0
#: What the C probe says when these fail.
_NO_VERSION: Final = "Unable to Get Server Version"
NO_DELIVERY: Final = "Event Delivery Chain (Logger/Interlogger) Not Running"


class _Finding(NamedTuple):
    """What is told: `code` as exit code, and words that say why."""

    code: int
    why: str = ""
    version: str = ""


def run(arguments: list[str], around: Surroundings) -> int:
    """Ask the server for its version, and shake hands with the logger if one is given."""
    about = (
        "Tell a monitoring system whether a server answers, and a logger if one is given. Nothing is registered or "
        "logged without --register. Exit codes: 0 OK, 1 WARNING, 2 DOWN, 3 UNKNOWN."
    )
    parser = Parser("probe", about, around)
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="the server (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument("--logger", "-a", type=readable(logger), metavar="HOST[:PORT]", help="also this logger")
    parser.add_argument("--warn", "-w", type=seconds, metavar="SECONDS", help="WARNING when it takes longer")
    parser.add_argument(
        "--register",
        action="store_true",
        help="also register a job, log its events through the logger, and wait for its end and for the notification "
        "of it; who may purge purges it",
    )
    add_output(parser)
    add_connection(parser)
    try:
        given = parser.parse_args(arguments)
    except SystemExit as ended:
        # DOWN would accuse the service.
        return UNKNOWN if ended.code else SUCCESS
    begin = time.monotonic()
    found = _probed(given, around)
    taken = time.monotonic() - begin
    if found.code == OK and given.warn is not None and taken > given.warn:
        found = found._replace(code=WARNING, why=f"took {taken:.3f} s, more than {given.warn:g} s")
    _show(given, around, found, taken)
    return found.code


def _probed(given: argparse.Namespace, around: Surroundings) -> _Finding:
    from lb.client.cli.reaching import reach

    async def look(way: Reach) -> _Finding:
        try:
            version = (await way.page(way.settings.query_server, "/?version")).strip()
        except LBError as error:
            return _down(_NO_VERSION, error)
        if given.logger is not None:
            try:
                await way.greet(given.logger)
            except LBError as error:
                return _down(NO_DELIVERY, error)
        return _Finding(OK, version=version)

    patience = _PATIENCE if given.timeout is None else given.timeout
    try:
        found = reach(given, around, look, query_server=given.server, query_timeout=patience)
        if found.code == OK and given.register:
            return _lived(given, around, found, patience)
        return found
    except Exception as error:
        # Nobody was asked: settings or credentials are missing or wrong.
        why = message_of(error)
        if why is None:
            raise
        return _Finding(UNKNOWN, why)


def _lived(given: argparse.Namespace, around: Surroundings, found: _Finding, patience: float) -> _Finding:
    """What became of a job that was registered for this."""
    from lb.client.blocking import call
    from lb.client.cli.chain import BrokenError, live

    given.timeout = patience
    with open_client(given, around, query_server=given.server, logger=given.logger) as client:
        try:
            left = call(lambda reactor: live(client.session, reactor, patience))
        except BrokenError as broken:
            return _down(broken.what, broken.error)
    return found if left is None else found._replace(code=WARNING, why=f"traces are left: {message_of(left)}")


def _down(what: str, error: LBError) -> _Finding:
    return _Finding(DOWN, f"{what}: {message_of(error)}")


def _show(given: argparse.Namespace, around: Surroundings, found: _Finding, taken: float) -> None:
    name = _NAMES[found.code]
    if given.json:
        told = {"state": name, "why": found.why, "version": one_line(found.version), "seconds": round(taken, 3)}
        write_json(around.stdout, {key: value for key, value in told.items() if value != ""})
    elif found.code == OK:
        around.stdout.write(f"OK|time={taken:.3f}s\n")
    else:
        around.stdout.write(f"{name}: {one_line(found.why)}\n")
