"""``lb history JOBID…``: shows the states that jobs went through, event by event.

Servers keep the present state only: former ones are made of the events here, by the rules that servers follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lb.client.cli import FAILURE, SUCCESS, Surroundings, compat
from lb.client.cli.arrivals import add_fields, field_text
from lb.client.cli.errors import message_of
from lb.client.cli.output import visible, write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, read_job, readable
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId, parse
from lb.model.query import NO_FLAGS
from lb.state import fold
from lb.state.job import Job
from lb.state.registration import REGISTRATION, embryo
from lb.wire.documents import iso_time, state_name

_HEADS: Final = ("TIME", "STATE", "EVENT", "SOURCE")


def run(arguments: list[str], around: Surroundings) -> int:
    """Show the states of jobs; a job that cannot be shown does not keep the others from being shown."""
    about = "Show the states that jobs went through: a line an event, with the state after it."
    parser = Parser("history", about, around)
    parser.add_argument("jobid", nargs="+", type=readable(read_job), metavar="JOBID")
    parser.add_argument("--changes", "-c", action="store_true", help="only events that changed the state")
    add_fields(parser, "--fields", "-f", default=())
    compat.add_compat(parser, "state_history")
    add_output(parser)
    add_connection(parser, asking=True)
    given = parser.parse_args(arguments)
    if given.compat and given.json:
        parser.error("choose one of --compat and --json")
    documents: list[dict[str, Any]] = []
    failed = False
    with open_client(given, around) as client:
        for jobid in given.jobid:
            try:
                events, job = client.run(lambda session, jobid=jobid: _ask(session, jobid))
            except LBError as error:
                failed = True
                line = compat.failure("lb history", "edg_wll_JobLog", error) if given.compat else None
                around.stderr.write(line or f"lb history: {jobid}: {message_of(error)}\n")
                continue
            rows = list(_rows(events, job, given.fields, changes=given.changes))
            if given.json:
                documents.append({"jobId": str(jobid), "states": [_document(row, given.fields) for row in rows]})
            elif given.compat:
                for row in rows:
                    around.stdout.write("\t".join(visible(cell).replace("\n", " ") for cell in row) + "\n")
            else:
                write_table(around.stdout, (*_HEADS, *given.fields), rows, title=str(jobid))
                around.stdout.write("\n")
    if given.json:
        write_json(around.stdout, documents)
    return FAILURE if failed else SUCCESS


async def _ask(session: Any, jobid: JobId) -> tuple[list[Event], Job]:
    """The events of a job, its registration first, and the job before all of them."""
    events: list[Event] = await session.consumer.events(jobid)
    registration = next((event for event in events if event.type is REGISTRATION), None)
    if registration is not None:
        # Codes that cannot be read sort before it.
        return sorted(events, key=lambda event: event is not registration), fold.blank(jobid, registration.user)
    return events, await _unborn(session, jobid)


async def _unborn(session: Any, jobid: JobId) -> Job:
    """A job without a registration of its own: most often its parent's has made it."""
    status = await session.consumer.status(jobid, NO_FLAGS)
    if status.parent_job is not None:
        for event in await session.consumer.events(parse(status.parent_job)):
            if jobid in fold.subjobs_of(event):
                return embryo(event, jobid, status.owner)
    return fold.blank(jobid, status.owner)


def _rows(events: Sequence[Event], job: Job, fields: tuple[str, ...], *, changes: bool) -> Iterator[list[str]]:
    """Time, state, event, source and fields after each event."""
    state: int | None = None
    for event in events:
        fold.step(job, event)
        status = job.status
        if not changes or status.state != state:
            values = (field_text(status, name) for name in fields)
            yield [iso_time(event.timestamp), state_name(status.state), event.type.name, event.source_name, *values]
        state = status.state


def _document(row: list[str], fields: tuple[str, ...]) -> dict[str, str]:
    names = ("timestamp", "state", "event", "source", *fields)
    return dict(zip(names, row, strict=True))
