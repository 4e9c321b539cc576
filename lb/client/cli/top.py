"""``lb top``: a live view of the own jobs: how many are in which state, and which changed last."""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.numbers import decimal
from lb.client.cli.output import visible, write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, readable, server
from lb.client.consumer import CutAnswerError
from lb.model.errors import LBError
from lb.model.query import Query, Results, own_jobs
from lb.model.status import STATE_NAMES, JobStatus, State
from lb.wire.documents import iso_time, state_name

#: Jobs that are looked at, at most.
_MOST: Final = 10_000
#: Jobs that are shown.
_SHOWN: Final = 15
#: Characters of the bars.
_BAR: Final = 40
_NAMES: Final = ("job", "state", "changed", "destination", "reason")
_HEADS: Final = ("JOB", "STATE", "CHANGED", "DESTINATION", "REASON")
_COLOURS: Final[dict[int, str]] = {
    State.Running: "green",
    State.Done: "cyan",
    State.Cleared: "bright_black",
    State.Aborted: "red",
    State.Cancelled: "yellow",
}


class View(NamedTuple):
    """What is shown: jobs by state, the latest ones first; `cut`: there are more than were looked at."""

    counts: dict[int, int]
    latest: list[JobStatus]
    total: int
    cut: bool


def run(arguments: list[str], around: Surroundings) -> int:
    """Show jobs until interrupted; once when nobody watches."""
    parser = Parser("top", "Watch the own jobs on a server: how many are in which state, which changed last.", around)
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument(
        "--interval", "-i", type=decimal(0.1, 3600, "seconds"), default=2.0, metavar="SECONDS", help="between two looks"
    )
    parser.add_argument("--once", action="store_true", help="look once")
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    with open_client(given, around, query_server=given.server) as client:
        if given.json:
            write_json(around.stdout, _document(_look(client)))
        elif given.once or not around.stdout.isatty():
            _print(around, _look(client))
        else:
            _watch(around, (_look(client) for _ in iter(int, 1)), given.interval)
    return SUCCESS


def _query() -> Query:
    return msgspec.structs.replace(own_jobs(), soft_limit=_MOST, results=Results.LIMITED)


def _look(client: Any) -> View:
    cut = False
    try:
        jobs: list[JobStatus] = client.jobs(_query())
    except CutAnswerError as error:
        jobs, cut = error.results, True
    except LBError as error:
        if error.code != errno.ENOENT:
            raise
        jobs = []
    return view(jobs, cut=cut)


def view(jobs: list[JobStatus], *, cut: bool = False) -> View:
    """What is shown of jobs."""
    latest = sorted(jobs, key=lambda job: job.lastUpdateTime, reverse=True)[:_SHOWN]
    return View(dict(Counter(int(job.state) for job in jobs)), latest, len(jobs), cut)


def _row(job: JobStatus) -> tuple[str, ...]:
    return (
        job.jobId or "",
        state_name(job.state),
        iso_time(job.lastUpdateTime)[:19].replace("T", " "),
        job.destination or "",
        (job.reason or "").replace("\n", " ")[:60],
    )


def _document(shown: View) -> dict[str, Any]:
    return {
        "total": shown.total,
        "cut": shown.cut,
        "states": {STATE_NAMES[state]: count for state, count in sorted(shown.counts.items())},
        "latest": [
            dict(zip(("job", "state", "changed", "destination", "reason"), _row(j), strict=True)) for j in shown.latest
        ],
    }


def _print(around: Surroundings, shown: View) -> None:
    rows = [(STATE_NAMES[state], str(count)) for state, count in sorted(shown.counts.items())]
    write_table(around.stdout, ("STATE", "JOBS"), rows)
    around.stdout.write(f"{_total(shown)}\n\n")
    write_table(around.stdout, _HEADS, map(_row, shown.latest))


def _total(shown: View) -> str:
    return f"{shown.total} jobs" + (", there are more" if shown.cut else "")


def _watch(around: Surroundings, views: Iterator[View], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=around.stdout)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for shown in views:
            live.update(drawn(shown), refresh=True)
            time.sleep(interval)


def drawn(shown: View) -> Any:
    """The view for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    states = Table(title=Text(_total(shown)), title_justify="left", header_style="bold", box=None)
    for head in ("STATE", "JOBS", ""):
        states.add_column(head, justify="right" if head == "JOBS" else "left")
    most = max(shown.counts.values(), default=1)
    for state, count in sorted(shown.counts.items()):
        bar = Text("█" * max(1, count * _BAR // most), style=_COLOURS.get(state, "blue"))
        states.add_row(Text(STATE_NAMES[state]), str(count), bar)
    latest = Table(title=Text("changed last"), title_justify="left", header_style="bold", box=None)
    for head in _HEADS:
        latest.add_column(head, overflow="ellipsis", no_wrap=True)
    for job in shown.latest:
        cells = [Text(visible(cell)) for cell in _row(job)]
        cells[1].stylize(_COLOURS.get(job.state, "blue"))
        latest.add_row(*cells)
    return Group(states, Text(), latest)
