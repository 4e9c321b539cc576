"""``lb query``: finds jobs or events by conditions, written as in addresses of pages or as in files for query_ext."""

from __future__ import annotations

import argparse
import errno
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from lb.client.cli import FAILURE, SUCCESS, Surroundings, compat, conditions
from lb.client.cli.errors import message_of
from lb.client.cli.events import write_events
from lb.client.cli.jobs import write_states
from lb.client.cli.numbers import whole
from lb.client.cli.output import visible, write_json
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, readable, server
from lb.client.cli.status import show
from lb.model import grammar, query
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.query import Flag, Group, Query, Results
from lb.model.status import JobStatus
from lb.wire.documents import event_document, state_name, status_document

_WHOLE: Final = Flag.CLASSADD | Flag.CHILDREN | Flag.CHILDSTAT


class _Form(NamedTuple):
    """How results are shown: all of a query as text, or each as a document."""

    text: Callable[[Surroundings, list[Any]], None]
    document: Callable[[Any], Any]
    noun: str


def run(arguments: list[str], around: Surroundings) -> int:
    """Ask each query; that nothing matches is no failure."""
    parser = _parser(around)
    given = parser.parse_args(arguments)
    if given.compat and given.json:
        parser.error("choose one of --compat and --json")
    given.events = given.events or bool(given.event)
    try:
        queries = [_limited(each, given) for each in _queries(given)]
        for each in queries:
            (query.check_events if given.events else query.check_jobs)(each)
    except LBError as error:
        parser.error(error.description or "this cannot be asked")
    if not queries:
        parser.error("no condition given")
    form = _form(given)
    documents: list[Any] = []
    code = SUCCESS
    with open_client(given, around, query_server=given.server) as client:
        for each in queries:
            results, failed = _ask(client, given, each)
            if failed is not None:
                code = FAILURE
                call = "edg_wll_QueryEvents" if given.events else "edg_wll_QueryJobs"
                line = compat.failure("lb query", call, failed) if given.compat else None
                around.stderr.write(line or f"lb query: {message_of(failed)}\n")
            if given.json:
                documents += map(form.document, results)
            elif results or failed is None:
                form.text(around, results)
                if not given.compat and not given.no_states:
                    around.stdout.write(compat.found(len(results), form.noun))
    if given.json:
        write_json(around.stdout, documents)
    return code


def _parser(around: Surroundings) -> Parser:
    about = (
        "Find jobs, or events of jobs. All conditions have to be met: CONDITION as in addresses of pages "
        "(status=done|=running), LINE as the C command query_ext reads it (colour = red; colour = blue), which "
        'also names tags, JDL attributes and times (time > "2026-11-25 12:00:00" running).'
    )
    parser = Parser("query", about, around)
    parser.add_argument("condition", nargs="*", metavar="CONDITION", help="on jobs: status=done|=running")
    parser.add_argument(
        "--where", "-w", type=_line(conditions.JOBS), action="append", default=[], metavar="LINE", help="one on jobs"
    )
    parser.add_argument(
        "--event",
        type=_line(conditions.EVENTS),
        action="append",
        default=[],
        metavar="LINE",
        help="one on events; finds events instead of jobs",
    )
    parser.add_argument("--events", "-e", action="store_true", help="find events instead of jobs")
    parser.add_argument(
        "--file",
        "-i",
        metavar="FILE",
        help="file of queries, - for standard input: blocks of lines; with --events every second is on events",
    )
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument("--limit", type=whole(1), default=0, metavar="N", help="at most so many results")
    parser.add_argument(
        "--results",
        "-r",
        type=str.lower,
        choices=("limited", "all", "none"),
        help="what to give when more match than the limit allows (default: as the server does)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--states", "-s", action="store_true", help="whole states, as lb status shows them")
    form.add_argument("--no-states", "-n", action="store_true", help="only the ids of the jobs")
    compat.add_compat(parser, "query_ext")
    add_output(parser)
    add_connection(parser, asking=True)
    return parser


def _line(words: Mapping[str, query.Attribute]) -> Callable[[str], Group]:
    return readable(lambda text: conditions.read_line(text, words))


def _queries(given: argparse.Namespace) -> Iterator[Query]:
    """The one of the arguments, or one after another from the file, each with the conditions of the arguments."""
    jobs: tuple[Group, ...] = tuple(given.where)
    if given.condition:
        jobs = (*grammar.read_conditions(given.condition, int(time.time())).jobs, *jobs)
    events: tuple[Group, ...] = tuple(given.event)
    if given.file is None:
        if jobs or events:
            yield Query(jobs=jobs, events=events)
        return
    blocks = conditions.read_blocks(_read(given.file).splitlines())
    for block in blocks:
        more = conditions.read_block(next(blocks, ()), conditions.EVENTS) if given.events else ()
        yield Query(jobs=(*jobs, *conditions.read_block(block, conditions.JOBS)), events=(*events, *more))


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    with open(name, "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")


def _limited(asked: Query, given: argparse.Namespace) -> Query:
    results = Results.UNDEFINED if given.results is None else Results[given.results.upper()]
    flags = _WHOLE if given.states else query.NO_FLAGS
    return msgspec.structs.replace(asked, soft_limit=given.limit, results=results, flags=flags)


def _ask(client: Any, given: argparse.Namespace, asked: Query) -> tuple[list[Any], LBError | None]:
    """What matches, and the error beside it: an answer cut at a limit has both."""
    from lb.client.consumer import CutAnswerError  # with the reactor, which needs some time to load

    async def find(session: Any) -> list[Any]:
        consumer = session.consumer
        if given.events:
            return list(await consumer.events(asked))
        return list(await consumer.jobs(asked))

    try:
        return client.run(find), None
    except CutAnswerError as error:
        return error.results, error
    except LBError as error:
        return [], None if error.code == errno.ENOENT else error


def _form(given: argparse.Namespace) -> _Form:
    if given.events:
        return _Form(_compat_events if given.compat else _all_events, event_document, "events")
    if given.no_states or (given.compat and not given.states):
        return _Form(_compat_ids if given.compat else _ids, _id, "jobs")
    if given.compat:
        return _Form(_compat_states, status_document, "jobs")
    return _Form(_states if given.states else write_states, status_document, "jobs")


def _all_events(around: Surroundings, events: list[Event]) -> None:
    write_events(around, events, jobs=True)


def _compat_events(around: Surroundings, events: list[Event]) -> None:
    for event in events:
        around.stdout.write(f"event: {event.type.name:<11} (jobid {visible(str(event.jobid))})\n")


def _id(job: JobStatus) -> str:
    return visible(job.jobId or "")


def _ids(around: Surroundings, jobs: list[JobStatus]) -> None:
    for job in jobs:
        around.stdout.write(f"{_id(job)}\n")


def _compat_ids(around: Surroundings, jobs: list[JobStatus]) -> None:
    for job in jobs:
        around.stdout.write(f"jobId: {_id(job)}\n")


def _states(around: Surroundings, jobs: list[JobStatus]) -> None:
    for job in jobs:
        show(status_document(job), around)


def _compat_states(around: Surroundings, jobs: list[JobStatus]) -> None:
    for job in jobs:
        around.stdout.write(f"jobId: {_id(job)}\nSTATUS:\t{state_name(job.state)}\n")
        around.stdout.write(compat.status_block(job))
