"""``lb watch``: follows jobs from now until it is ended; registers, receives, keeps valid, and drops at the end."""

from __future__ import annotations

import time
from typing import Any

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.arrivals import add_fields, ended_by_signals, print_arrivals, receiving
from lb.client.cli.following import follow
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, read_job, readable
from lb.client.cli.subscription import (
    ON_CHANGE,
    about_jobs,
    add_address,
    add_conditions,
    add_server,
    groups_of,
    listening_arguments,
    place_of,
    seconds,
    server_for,
)
from lb.client.settings import Address
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Flag, Group, Query


def run(arguments: list[str], around: Surroundings) -> int:
    """Print states as they change, the present ones first."""
    parser = Parser("watch", "Follow jobs: print their states, and each change of them, until interrupted.", around)
    parser.add_argument("jobid", nargs="*", type=readable(read_job), metavar="JOBID", help="the jobs")
    add_conditions(parser, jobs=False)
    parser.add_argument(
        "--query",
        type=readable(_read_query),
        default=(),
        metavar="TEXT",
        help="as in web addresses: status=done|=running&…",
    )
    parser.add_argument("--every", action="store_true", help="each update, also those that change no state")
    parser.add_argument("--new", action="store_true", help="without the present states")
    parser.add_argument("--for", dest="running", type=seconds, metavar="SECONDS", help="end after so long")
    parser.add_argument("--sender", action="append", default=[], metavar="DN", help="also believe this sender")
    add_address(parser)
    add_server(parser)
    add_fields(parser, "--fields", "-f")
    add_output(parser)
    add_connection(parser, asking=True)
    given = parser.parse_args(arguments)
    where = listening_arguments(place_of(given))
    with open_client(given, around) as client, ended_by_signals():
        groups = (*groups_of(given, client.session.identity), *given.query)
        if not given.jobid and not groups:
            parser.error("say which jobs: JOBID…, --own, --owner, --query, …")
        if given.pb:
            found = _by_server(given.jobid, groups, given.server, client.session.settings)
            if len(found) != 1:
                parser.error("over Perspective Broker jobs of one server are followed; give --server")
            ((server, conditions),) = found
            follow(client, Query(jobs=conditions), server, given, around)
            return SUCCESS
        if not given.every:
            groups = (*groups, ON_CHANGE)
        registrations = _by_server(given.jobid, groups, given.server, client.session.settings)
        flags = NO_FLAGS if given.new else Flag.BOOTSTRAP

        async def listen(session: Any) -> Any:
            return session.watch(session.receiver(known=(), believed=given.sender, **where))

        async def register(session: Any) -> None:
            for server, conditions in registrations:
                await watch.add(conditions, server=server, flags=flags)

        watch = client.run(listen)
        try:
            client.run(register)
            print_arrivals(around, receiving(client, watch), given.fields, json=given.json, running=given.running)
        finally:
            client.run(lambda session: watch.close())
    return SUCCESS


def _read_query(text: str) -> tuple[Group, ...]:
    from lb.model.grammar import read_query

    return read_query(text, round(time.time())).jobs


def _by_server(
    jobs: list[JobId], groups: tuple[Group, ...], given: Address | None, settings: Any
) -> list[tuple[Address, tuple[Group, ...]]]:
    """One registration a server: jobs are known to the server in their ids."""
    if not jobs:
        return [(server_for(given, (), settings), groups)]
    found: dict[Address, list[JobId]] = {}
    for job in jobs:
        found.setdefault(given or Address(job.host, job.port), []).append(job)
    return [(server, about_jobs(those) + groups) for server, those in found.items()]
