"""``lb events JOBID``: shows the events of a job."""

from __future__ import annotations

from lb.client.cli import FAILURE, SUCCESS, Surroundings, compat
from lb.client.cli.output import write_bytes, write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, read_job, readable
from lb.model.catalogue import LEVEL_CODES
from lb.model.errors import LBError
from lb.model.event import Event
from lb.wire import ulm
from lb.wire.documents import event_document, iso_time


def run(arguments: list[str], around: Surroundings) -> int:
    """Show the events of a job in event order."""
    parser = Parser("events", "Show the events of a job.", around)
    parser.add_argument("jobid", type=readable(read_job), metavar="JOBID")
    parser.add_argument("--ulm", action="store_true", help="print event lines, as lb replay reads them")
    parser.add_argument(
        "--level",
        type=str.upper,
        choices=tuple(LEVEL_CODES),
        default="SYSTEM",
        help="up to which level (default: SYSTEM)",
    )
    compat.add_compat(parser, "job_log")
    add_output(parser)
    add_connection(parser, asking=True)
    given = parser.parse_args(arguments)
    if given.ulm + given.json + given.compat > 1:
        parser.error("choose one of --ulm, --compat and --json")
    level = LEVEL_CODES[given.level]
    with open_client(given, around) as client:
        try:
            events: list[Event] = client.run(lambda session: session.consumer.events(given.jobid, level=level))
        except LBError as error:
            if not given.compat:
                raise
            around.stderr.write(compat.failure("lb events", "edg_wll_JobLog", error))
            return FAILURE
    if given.json:
        write_json(around.stdout, [event_document(event) for event in events])
    elif given.ulm or given.compat:
        write_bytes(around.stdout, b"".join(map(ulm.write, events)))
        if given.compat:
            around.stdout.write(compat.found(len(events), "events"))
    else:
        write_events(around, events)
        around.stdout.write(compat.found(len(events), "events"))
    return SUCCESS


def write_events(around: Surroundings, events: list[Event], *, jobs: bool = False) -> None:
    """A table of events; `jobs`: with the job of each."""
    heads = (*(("JOB",) if jobs else ()), "TIME", "SOURCE", "EVENT", "ATTRIBUTES")
    rows = [
        (
            *((str(event.jobid),) if jobs else ()),
            *(iso_time(event.timestamp), event.source_name, event.type.name, _attributes(event)),
        )
        for event in events
    ]
    write_table(around.stdout, heads, rows)


def _attributes(event: Event) -> str:
    document = event_document(event)
    return ", ".join(f"{a.name}={document[a.name]}" for a in event.type.attributes if a.name in document)
