"""``lb purge``: removes jobs from a server, those that are named or those older than a time in their state."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.administering import add_common, age, ask, progress
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser
from lb.model.errors import LBError
from lb.model.jobid import JobId, parse
from lb.model.status import STATES, State
from lb.wire.lbxml.purge import SERVER_DEFAULT, PurgeFlag, Request

#: Options with an age, by the state that it is for.
_CLASSES: Final = (
    ("aborted", "a", State.Aborted),
    ("cleared", "c", State.Cleared),
    ("cancelled", "n", State.Cancelled),
    ("done", "e", State.Done),
)
#: Named jobs of one request when no dump is wanted: a bar can be drawn, and other requests come between.
_SLICE: Final = 500


def run(arguments: list[str], around: Surroundings) -> int:
    """Purge, or say what would be purged."""
    about = "Remove jobs from a server: the named ones, or those older than a time in their state. For administrators."
    parser = Parser("purge", about, around)
    which = parser.add_argument_group("which jobs", "AGE is NNN[smhd]; without any the server's own ages count")
    for name, letter, _ in _CLASSES:
        which.add_argument(f"--{name}", f"-{letter}", type=age, metavar="AGE", help=f"{name} jobs older than this")
    which.add_argument("--other", "-o", type=age, metavar="AGE", help="jobs in all other states older than this")
    which.add_argument("--jobs", "-j", metavar="FILE", help="these jobs, an id a line; - is standard input")
    parser.add_argument("--dry-run", "-r", action="store_true", help="remove nothing")
    parser.add_argument("--return-list", "-l", action="store_true", help="print the ids of the jobs")
    parser.add_argument("--server-dump", "-s", action="store_true", help="write their events to a file at the server")
    parser.add_argument(
        "--target-runtime", "-t", type=age, default=0, metavar="TIME", help="take so long, to disturb nobody"
    )
    parser.add_argument("--background", "-b", action="store_true", help="do not wait for the end")
    add_common(parser)
    given = parser.parse_args(arguments)
    named = None if given.jobs is None else _named(given.jobs, parser)
    if named is not None and any(getattr(given, name) is not None for name in (*(c[0] for c in _CLASSES), "other")):
        parser.error("give --jobs or ages, not both")
    flags = _flags(given)
    requests = [Request(jobs, _timeouts(given), given.target_runtime, flags) for jobs in _slices(named, flags)]
    jobs: list[str] = []
    files: list[str] = []
    with progress(around, "purging", len(named or ())) as done:

        async def purge(administrator: Any) -> None:
            for request in requests:
                result = await administrator.purge(request)
                jobs.extend(() if result is None else result.jobs or ())
                files.extend(() if result is None or result.server_file is None else [result.server_file])
                done(len(request.jobs or ()))

        ask(given, around, "purging", purge)
    _show(given, around, jobs, files)
    return SUCCESS


def _show(given: argparse.Namespace, around: Surroundings, jobs: list[str], files: list[str]) -> None:
    out = around.stdout
    if given.json:
        document: dict[str, Any] = {"dry_run": given.dry_run, "background": given.background, "server_dumps": files}
        write_json(out, {**document, "jobs": jobs} if given.return_list else document)
        return
    if given.background:
        out.write("The server purges in the background.\n")
        return
    for file in files:
        out.write(f"Server dump: {file}\n")
    if not files:
        out.write("The jobs were not dumped.\n")
    if given.return_list:
        out.write(f"The following jobs {'would be' if given.dry_run else 'were'} purged:\n")
        out.writelines(f"{job}\n" for job in jobs)


def _flags(given: argparse.Namespace) -> PurgeFlag:
    chosen = (
        (not given.dry_run, PurgeFlag.REALLY_PURGE),
        (given.return_list, PurgeFlag.LIST_JOBS),
        (given.server_dump, PurgeFlag.SERVER_DUMP),
        (given.background, PurgeFlag.BACKGROUND),
    )
    flags = PurgeFlag(0)
    for wanted, flag in chosen:
        flags |= flag if wanted else PurgeFlag(0)
    return flags


def _timeouts(given: argparse.Namespace) -> tuple[int, ...]:
    timeouts = [SERVER_DEFAULT if given.other is None else given.other] * STATES
    for name, _, state in _CLASSES:
        seconds = getattr(given, name)
        timeouts[state] = SERVER_DEFAULT if seconds is None else seconds
    return tuple(timeouts)


def _slices(named: Sequence[JobId] | None, flags: PurgeFlag) -> list[tuple[JobId, ...] | None]:
    if named is None:
        return [None]
    if flags & (PurgeFlag.SERVER_DUMP | PurgeFlag.BACKGROUND):
        return [tuple(named)]
    return [tuple(named[start : start + _SLICE]) for start in range(0, len(named), _SLICE)] or [()]


def _named(file: str, parser: Parser) -> list[JobId]:
    text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8", "surrogateescape")
    jobs = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                jobs.append(parse(line.strip()))
            except LBError as error:
                parser.error(f"line {number} of {file}: {error.description}")
    return jobs
