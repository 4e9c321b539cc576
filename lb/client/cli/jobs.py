"""``lb jobs``: lists the jobs of whoever asks, or of another owner as far as they may be read."""

from __future__ import annotations

import errno

from lb.client.cli import FAILURE, SUCCESS, Surroundings, compat
from lb.client.cli.output import visible, write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, readable, server
from lb.model.errors import LBError
from lb.model.query import Attribute, Condition, Operator, Query
from lb.model.status import JobStatus
from lb.wire.documents import coded_name, iso_time, state_name, status_document


def run(arguments: list[str], around: Surroundings) -> int:
    """List the jobs of one owner on a server."""
    parser = Parser("jobs", "List the own jobs on a server, or those of another owner.", around)
    parser.add_argument("--owner", "-o", metavar="DN", help="whose jobs (default: the own ones)")
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    parser.add_argument("--no-states", "-n", action="store_true", help="only the ids of the jobs")
    compat.add_compat(parser, "user_jobs")
    add_output(parser)
    add_connection(parser, asking=True)
    given = parser.parse_args(arguments)
    if given.compat and given.json:
        parser.error("choose one of --compat and --json")
    asked = Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, given.owner),),))
    ids: list[str] = []
    jobs: list[JobStatus] = []
    with open_client(given, around, query_server=given.server) as client:
        try:
            if given.no_states:
                ids = client.run(lambda session: session.consumer.job_ids(asked))
            else:
                jobs = client.jobs(asked)
        except LBError as error:
            if error.code != errno.ENOENT:
                if not given.compat:
                    raise
                around.stderr.write(compat.failure("lb jobs", "edg_wll_UserJobs", error))
                return FAILURE
    if given.json:
        write_json(around.stdout, ids if given.no_states else [status_document(job) for job in jobs])
    elif given.no_states:
        around.stdout.write(compat.ids_list(ids) if given.compat else "".join(f"{visible(job)}\n" for job in ids))
    elif given.compat:
        around.stdout.write(compat.jobs_list(jobs))
    else:
        write_states(around, jobs)
        around.stdout.write(compat.found(len(jobs), "jobs"))
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
