"""``lb replay FILE…``: replays recorded streams as fresh jobs and shows what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lb.client.cli import FAILURE, SUCCESS, Surroundings
from lb.client.cli.errors import one_line
from lb.client.cli.jobs import write_states
from lb.client.cli.numbers import YEAR, decimal, whole
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, add_connection, add_output, logger, open_client, readable, server
from lb.wire.documents import clean, state_name, status_document

if TYPE_CHECKING:
    from lb.client.recording import Recording
    from lb.client.replay import Report, Stage

#: Rows of the table; more jobs are counted.
_ROWS = 40


def run(arguments: list[str], around: Surroundings) -> int:
    """Replay; succeeds when every recorded event is visible in the end."""
    parser = Parser("replay", "Replay recorded event streams as fresh jobs, and wait until all is visible.", around)
    parser.add_argument("file", nargs="+", type=Path, metavar="FILE", help="one event a line, also compressed by xz")
    parser.add_argument(
        "--server", type=readable(server), metavar="HOST:PORT", help="server of the jobs (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument(
        "--logger", "-m", type=readable(logger), metavar="HOST:PORT", help="logger (GLITE_WMS_LOG_DESTINATION)"
    )
    parser.add_argument("--copies", type=whole(1), default=1, metavar="N", help="replay each file N times")
    parser.add_argument("--rate", type=decimal(0, 1e9), metavar="EVENTS", help="at most so many events a second")
    parser.add_argument(
        "--wait",
        type=decimal(0, YEAR, "seconds"),
        default=60.0,
        metavar="SECONDS",
        help="give up when so long nothing appears (default: 60)",
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)

    from lb.client.blocking import call
    from lb.client.recording import read_file
    from lb.client.replay import Replay

    recordings = [read_file(path) for path in given.file]
    with (
        open_client(given, around, query_server=given.server, logger=given.logger) as client,
        _progress(around, enabled=not given.no_progress) as watch,
    ):

        async def replay(reactor: object) -> Report:
            session = client.session
            target = str(session.settings.query_server)
            work = Replay(reactor, session, server=target, rate=given.rate, patience=given.wait, watch=watch)
            return await work.run(recordings, given.copies)

        report = call(replay)
    unreadable = sum(len(recording.unreadable) for recording in recordings)
    if given.json:
        write_json(around.stdout, _document(report, recordings))
    else:
        _show(report, around)
    _complain(report, recordings, around)
    return SUCCESS if report.complete and not unreadable else FAILURE


@contextmanager
def _progress(around: Surroundings, *, enabled: bool) -> Iterator[Callable[[Stage], None]]:
    """A bar for each stage, on a terminal."""
    if not enabled or not around.stderr.isatty():
        yield lambda stage: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=around.stderr)) as bars:
        tasks = {name: bars.add_task(name, start=False, total=None) for name in ("register", "log", "wait")}

        def watch(stage: Stage) -> None:
            bars.start_task(tasks[stage.name])
            bars.update(tasks[stage.name], completed=stage.done, total=stage.total)

        yield watch


def _document(report: Report, recordings: list[Recording]) -> dict[str, object]:
    return {
        "registered": report.registered,
        "logged": report.logged,
        "seconds": round(report.seconds, 6),
        "complete": report.complete,
        "refused": [{"line": clean(line), "reason": clean(reason)} for line, reason in report.refused],
        "missing": report.missing,
        "unreadable": [
            {"file": recording.name, "line": each.number, "reason": clean(each.reason)}
            for recording in recordings
            for each in recording.unreadable
        ],
        "states": [status_document(status) for status in report.states],
    }


def _show(report: Report, around: Surroundings) -> None:
    ids = {status.jobId for status in report.states}
    subjobs: dict[str, Counter[str]] = {}
    for status in report.states:
        if status.parent_job in ids and status.parent_job is not None:
            subjobs.setdefault(status.parent_job, Counter())[state_name(status.state)] += 1
    tops = [status for status in report.states if status.parent_job not in ids]
    write_states(around, tops[:_ROWS])
    if len(tops) > _ROWS:
        around.stdout.write(f"… and {len(tops) - _ROWS} more jobs; --json shows all\n")
    for parent, counts in islice(subjobs.items(), _ROWS):
        each = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        around.stdout.write(f"subjobs of {parent}: {each}\n")
    visible = f"all visible after {report.seconds:.2f} s" if report.complete else "not all visible"
    around.stdout.write(f"\n{report.registered} jobs registered, {report.logged} events logged, {visible}\n")


def _complain(report: Report, recordings: list[Recording], around: Surroundings) -> None:
    lines = [
        f"{recording.name}:{each.number}: line not replayed: {each.reason}"
        for recording in recordings
        for each in recording.unreadable
    ]
    lines += [f"event refused by the logger: {reason}: {line}" for line, reason in report.refused]
    lines += [
        f"{job}: {count} events not visible: look into the quarantines of logger and server"
        for job, count in report.missing.items()
    ]
    for line in lines:
        around.stderr.write(f"lb replay: {one_line(line)}\n")
