"""``lb load``: has a server take in a dump or an archive of its own directories."""

from __future__ import annotations

from lb.client.cli import FAILURE, SUCCESS, Surroundings
from lb.client.cli.administering import add_common, ask, stamp
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, read_job, readable


def run(arguments: list[str], around: Surroundings) -> int:
    """Load a file; the exit code says whether all of it was taken."""
    about = "Load a dump or an archive at the server; what is there already stays as it is. For administrators."
    parser = Parser("load", about, around)
    parser.add_argument("--file", "-f", required=True, metavar="PATH", help="a file of the server's own")
    parser.add_argument("--job", "-j", type=readable(read_job), metavar="JOBID", help="this job of an archive only")
    add_common(parser)
    given = parser.parse_args(arguments)
    path = given.file if given.job is None else f"{given.file}#{given.job.unique}"
    result = ask(given, around, "loading", lambda administrator: administrator.load(path))
    if given.json:
        write_json(around.stdout, {"unloaded": result.server_file, "from": result.since, "to": result.until})
    else:
        around.stdout.write("Load result:\n")
        if result.server_file is not None:
            around.stdout.write(f"- Unloaded events were stored into the server file '{result.server_file}'.\n")
        for name, seconds in (("from", result.since), ("to", result.until)):
            around.stdout.write(f"- {name}: {seconds} (i.e. {stamp(seconds)}).\n")
    return SUCCESS if result.server_file is None else FAILURE
