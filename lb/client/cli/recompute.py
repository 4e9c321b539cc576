"""``lb recompute``: has a running server check its stored states against their events, or repair them."""

from __future__ import annotations

from typing import Any

from lb.client.cli import FAILURE, SUCCESS, Surroundings
from lb.client.cli.output import write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, readable, server


def run(arguments: list[str], around: Surroundings) -> int:
    """Check or repair; the exit code says whether all states are right now."""
    about = "Check the stored job states of a running server against their events, or repair them. For administrators."
    parser = Parser("recompute", about, around)
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument("--repair", action="store_true", help="store what the events say where it differs")
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    checked, differing = 0, []
    with open_client(given, around, query_server=given.server) as client:
        for answer in client.run(lambda session: _all(session, given.repair)):
            checked += answer.checked
            differing += [(each.job, each.attributes) for each in answer.differing]
    if given.json:
        found = [{"job": job, "attributes": attributes} for job, attributes in differing]
        write_json(around.stdout, {"checked": checked, "repaired": given.repair, "differing": found})
    else:
        if differing:
            write_table(around.stdout, ("JOB", "DIFFERS IN"), [(job, ", ".join(names)) for job, names in differing])
        what = "repaired" if given.repair else "differ from their events"
        around.stdout.write(f"{checked} states checked, {len(differing)} {what}\n")
    return SUCCESS if given.repair or not differing else FAILURE


async def _all(session: Any, repair: bool) -> list[Any]:
    return [answer async for answer in session.consumer.recompute(repair=repair)]
