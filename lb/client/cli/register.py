"""``lb register``: registers a job directly with its server."""

from __future__ import annotations

import sys

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.attributes import read_source
from lb.client.cli.numbers import whole
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, read_job, readable, server
from lb.model import jobid
from lb.model.catalogue import BY_NAME, Source

_JOB_TYPES = tuple(name.lower() for name in BY_NAME["RegJob"].by_name["jobtype"].codes)
#: The variable that carries the id in the output, by job type (scripts read it).
_VARIABLES = {"dag": "EDG_WL_DAG_JOBID", "collection": "EDG_WL_COLLECTION_JOBID"}


def run(arguments: list[str], around: Surroundings) -> int:
    """Register a job; prints its id and the sequence code for its next event."""
    parser = Parser("register", "Register a job with its server and print its sequence code.", around)
    parser.add_argument("--jobid", "-j", type=readable(read_job), help="the job's id (default: a fresh one)")
    parser.add_argument(
        "--server",
        "-m",
        type=readable(server),
        metavar="HOST:PORT",
        help="server for a fresh id (GLITE_WMS_QUERY_SERVER)",
    )
    parser.add_argument(
        "--type", "-t", type=str.lower, choices=_JOB_TYPES, help="type of the job (default: simple, with --subjobs dag)"
    )
    parser.add_argument("--jdl", "-l", metavar="FILE", help="file with the job's description, - for standard input")
    parser.add_argument("--ns", help="network server (default: the job's server)")
    parser.add_argument("--parent", type=readable(read_job), metavar="JOBID", help="parent job")
    parser.add_argument("--subjobs", "-n", type=whole(0), default=0, metavar="N", help="number of subjobs to make")
    parser.add_argument("--seed", "-e", help="seed of the subjobs' ids")
    parser.add_argument("--reader", action="append", default=[], metavar="DN", help="who else may read the job")
    parser.add_argument("--exclusive", "-E", action="store_true", help="fail if the job is registered already")
    parser.add_argument(
        "--source",
        "-s",
        type=read_source,
        metavar="NAME",
        default=Source.UserInterface,
        help="who registers it (default: UserInterface)",
    )
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    kind = given.type or ("dag" if given.subjobs else "simple")
    description = _read(given.jdl) if given.jdl else ""
    with open_client(given, around, query_server=given.server) as client:
        job = given.jobid or jobid.create(str(client.session.settings.query_server))
        code = client.register(
            job,
            kind,
            jdl=description,
            ns=given.ns,
            parent=given.parent,
            nsubjobs=given.subjobs,
            seed=given.seed,
            wms_dn=given.reader,
            exclusive=given.exclusive,
            source=given.source,
        )
    subjobs = list(map(str, jobid.subjobs(job, given.subjobs, given.seed))) if given.subjobs else []
    if given.json:
        write_json(around.stdout, {"jobId": str(job), "sequence": code, "subjobs": subjobs})
        return SUCCESS
    if given.jobid is None:
        around.stdout.write(f"new jobid: {job}\n\n")
    around.stdout.write(f'{_VARIABLES.get(kind, "EDG_JOBID")}="{job}"\nEDG_WL_SEQUENCE="{code}"\n')
    for number, subjob in enumerate(subjobs):
        around.stdout.write(f'EDG_WL_SUB_JOBID[{number}]="{subjob}"\n')
    return SUCCESS


def _read(name: str) -> str:
    if name == "-":
        data = sys.stdin.buffer.read()
    else:
        with open(name, "rb") as file:
            data = file.read()
    return data.decode("utf-8", "surrogateescape")
