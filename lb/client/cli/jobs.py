"""``lb jobs``: lists the jobs of whoever asks."""

from __future__ import annotations

import errno

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.output import write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, readable, server
from lb.model.errors import LBError
from lb.model.status import JobStatus
from lb.wire.documents import coded_name, iso_time, state_name, status_document


def run(arguments: list[str], around: Surroundings) -> int:
    """List the own jobs on a server."""
    parser = Parser("jobs", "List the own jobs on a server.", around)
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    add_output(parser)
    add_connection(parser, asking=True)
    given = parser.parse_args(arguments)
    with open_client(given, around, query_server=given.server) as client:
        try:
            jobs: list[JobStatus] = client.own_jobs()
        except LBError as error:
            if error.code != errno.ENOENT:
                raise
            jobs = []
    if given.json:
        write_json(around.stdout, [status_document(job) for job in jobs])
    else:
        write_states(around, jobs)
        around.stdout.write(f"\nFound {len(jobs)} jobs\n")
    return SUCCESS


def write_states(around: Surroundings, jobs: list[JobStatus]) -> None:
    """A table of jobs and their states."""
    rows = [
        (
            job.jobId or "",
            str(coded_name("jobtype", job.jobtype)),
            state_name(job.state),
            iso_time(job.stateEnterTime) if job.stateEnterTime else "",
        )
        for job in jobs
    ]
    write_table(around.stdout, ("JOB", "TYPE", "STATE", "SINCE"), rows)
