"""``lb convert slurm|htcondor FILE``: what a batch system has recorded of its jobs, as events of their family.

The events are printed as lines, or with ``--log`` the jobs are registered and their events logged. Converting a file
again adds only what is new.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO
from zoneinfo import ZoneInfo

from lb.client.cli import FAILURE, SUCCESS, Surroundings
from lb.client.cli.attributes import read_time
from lb.client.cli.errors import one_line
from lb.client.cli.output import write_bytes, write_json
from lb.client.cli.parser import Parser, add_connection, add_output, logger, open_client, readable, server
from lb.client.settings import find_settings
from lb.families import htcondor, slurm
from lb.families.occurrence import Occurrence, Origin, PassedOver
from lb.model.catalogue import BY_NAME
from lb.model.errors import LBError
from lb.model.event import Event
from lb.wire import ulm

if TYPE_CHECKING:
    from lb.client.session import Session

_REGISTRATION: Final = BY_NAME["RegJob"]

#: Lines, the zone of their times, the time of the listing → what they tell.
Converter = Callable[[Iterable[str], tzinfo | None, int], Iterator[Occurrence | PassedOver]]

CONVERTERS: Final[dict[str, Converter]] = {slurm.FAMILY: slurm.convert, htcondor.FAMILY: htcondor.convert}

#: Events held at once: a file may be long, and its jobs have to be registered before their events are logged.
_AT_ONCE: Final = 1000
#: Passed over records that are told one by one; more are counted.
_TOLD: Final = 20


def run(arguments: list[str], around: Surroundings) -> int:
    """Convert; succeeds when every event that was made was also taken."""
    parser = Parser("convert", "Make events of what a batch system has recorded, and print or log them.", around)
    parser.add_argument("system", choices=sorted(CONVERTERS), help="slurm: sacct -P; htcondor: a job event log")
    parser.add_argument("file", metavar="FILE", help="the records, - for standard input")
    parser.add_argument("--place", metavar="NAME", help="cluster or access point of the jobs (default: this machine)")
    parser.add_argument(
        "--server", type=readable(server), metavar="HOST:PORT", help="server of the jobs (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument("--zone", type=_zone, metavar="NAME", help="zone of the times (default: this machine's)")
    parser.add_argument(
        "--time", type=read_time, metavar="TIME", help="when the records were listed, if not now: of states since then"
    )
    parser.add_argument("--log", action="store_true", help="register the jobs and log their events")
    parser.add_argument(
        "--logger", "-m", type=readable(logger), metavar="HOST:PORT", help="logger (GLITE_WMS_LOG_DESTINATION)"
    )
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    passed_over: list[PassedOver] = []
    with _opened(given.file) as file:
        now = int(time.time() * 1_000_000) if given.time is None else given.time
        read = _kept(CONVERTERS[given.system](file, given.zone, now), passed_over)
        code = (_log if given.log else _print)(read, given, around)
    for each in passed_over[:_TOLD]:
        around.stderr.write(f"lb convert: {one_line(f'{given.file}:{each.line}: passed over: {each.reason}')}\n")
    if len(passed_over) > _TOLD:
        around.stderr.write(f"lb convert: {given.file}: {len(passed_over) - _TOLD} more records passed over\n")
    return code


def _zone(text: str) -> tzinfo:
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no time zone, as Europe/Prague or UTC are") from None


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # the process's own
        yield sys.stdin
        return
    with open(name, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        yield file


def _kept(read: Iterable[Occurrence | PassedOver], passed_over: list[PassedOver]) -> Iterator[Occurrence]:
    for each in read:
        if isinstance(each, PassedOver):
            passed_over.append(each)
        else:
            yield each


def _origin(given: argparse.Namespace, server: str, user: str) -> Origin:
    return Origin(given.system, given.place or socket.getfqdn(), server, user)


def _print(occurrences: Iterable[Occurrence], given: argparse.Namespace, around: Surroundings) -> int:
    settings = find_settings(around.environ, {"query_server": given.server})
    for event in _origin(given, str(settings.query_server), "").events(occurrences):
        write_bytes(around.stdout, ulm.write(event, user=False))
    return SUCCESS


def _log(occurrences: Iterable[Occurrence], given: argparse.Namespace, around: Surroundings) -> int:
    registered = logged = 0
    refused: list[str] = []

    def refuse(line: bytes, error: LBError) -> None:
        refused.append(f"event refused by the logger: {error.description}: {ulm.decode(line[:200])}")

    with open_client(given, around, query_server=given.server, logger=given.logger) as client:
        session = client.session
        events = _origin(given, str(session.settings.query_server), session.identity).events(occurrences)
        while some := list(islice(events, _AT_ONCE)):
            registrations = [event for event in some if event.type is _REGISTRATION]
            client.run(lambda session, them=registrations: _register(session, them))
            registered += len(registrations)
            logged += client.log_many([event for event in some if event.type is not _REGISTRATION], refused=refuse)
    if given.json:
        write_json(around.stdout, {"registered": registered, "logged": logged, "refused": len(refused)})
    else:
        around.stdout.write(f"{registered} jobs registered, {logged} events logged\n")
    for line in refused:
        around.stderr.write(f"lb convert: {one_line(line)}\n")
    return FAILURE if refused else SUCCESS


async def _register(session: Session, registrations: list[Event]) -> None:
    for event in registrations:
        await session.producer.store(event)
