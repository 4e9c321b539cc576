"""``make million [JOBS=1000000] [STORE=dir]``: a server with very many jobs stored, asked and fed; prints a table.

A store that is given is kept for the next run and only made when it is not there; else it is temporary: 4 kB a job.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final, NamedTuple
from urllib.parse import quote

from bench import filling
from bench.__main__ import machine
from bench.crowd import Crowd
from bench.frame import HEADING, SERVER, Measurement, Row, line
from bench.load import ask, pipelined, together
from bench.site import Site, check
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Operator, Query, Results, Value, log_of_job, of_job
from lb.model.status import State
from lb.security import pki
from lb.wire import http, il
from lb.wire.lbxml import requests
from tests.processes.daemon import replies

_JOBS: Final = 1_000_000
#: Questions of each kind, or as many as are answered in so many seconds.
_QUERIES: Final = 400
_PATIENCE: Final = 10.0
_LIMIT: Final = 100  #: jobs in an answer
_EVENTS: Final = 30_000
_FED: Final = 100  #: jobs that get them
_CLIENTS: Final = 100
#: Seconds between the questions of each of them.
_PAUSES: Final = (1.0, 0.2, 0.0)
_PAGE_AGENT: Final = "bench"
_DATABASE: Final = "lb.sqlite"
#: Who asks may read everything: an answer is what was found.
_POLICY: Final = 'resource "LB" {\n%s}\n'
_PERMITTED: Final = ("READ_ALL", "REGISTER_JOBS", "LOG_WMS_EVENTS", "LOG_GENERAL_EVENTS")


class _Stored(NamedTuple):
    """What is in the store: some jobs, some collections, the time (s) of the oldest job's last event."""

    jobs: Sequence[JobId]
    collections: Sequence[JobId]
    oldest: int


def _stored(database: Path, random: Random) -> _Stored:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (last,) = connection.execute("SELECT max(id) FROM jobs").fetchone()
        keys = [random.randint(1, last) for _ in range(10 * _QUERIES)]
        rows = connection.execute(
            f"SELECT host, port, unique_part FROM jobs WHERE id IN ({','.join(map(str, keys))})"
        ).fetchall()
        parents = connection.execute("SELECT DISTINCT parent FROM jobs WHERE parent > '' LIMIT 100").fetchall()
        (oldest,) = connection.execute("SELECT arrived FROM events ORDER BY id LIMIT 1").fetchone()
    jobs = [JobId(*row) for row in rows]
    random.shuffle(jobs)
    return _Stored(jobs, [JobId(jobs[0].host, jobs[0].port, parent) for (parent,) in parents], oldest // 1_000_000)


#: Makes the requests of one kind.
Asking = Callable[[_Stored, Random], bytes]


def _jobs(
    attribute: Attribute,
    value: Value | None,
    until: Value | None = None,
    *,
    operator: Operator = Operator.EQUAL,
    name: str | None = None,
) -> bytes:
    condition = Condition(attribute, operator, value, until, name=name)
    query = Query(jobs=((condition,),), soft_limit=_LIMIT, results=Results.LIMITED)
    return http.request("POST", "/queryJobs", requests.write_jobs(query))


def _hour(stored: _Stored, random: Random) -> bytes:
    since = stored.oldest + random.randrange(filling.SPAN - 3_600)
    return _jobs(Attribute.LASTUPDATETIME, since, since + 3_600, operator=Operator.WITHIN)


def _since(stored: _Stored, random: Random) -> bytes:
    since = stored.oldest + random.randrange(filling.SPAN // 2)
    return _jobs(Attribute.LASTUPDATETIME, since, operator=Operator.GREATER)


def _owner(random: Random) -> str:
    return f"/DC=org/DC=example/CN=user {random.randrange(filling.OWNERS)}"


def _experiment(random: Random) -> str:
    return f"e{random.randrange(filling.EXPERIMENTS):02d}"


def _get(path: str) -> bytes:
    return f"GET {quote(path, safe='/?=&<>')} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {_PAGE_AGENT}\r\n\r\n".encode()


#: Kinds of questions; those of the query protocol first, then the JSON API, then pages.
_KINDS: Final[dict[str, Asking]] = {
    "status of a job": lambda stored, random: http.request(
        "POST", "/queryJobs", requests.write_jobs(of_job(random.choice(stored.jobs)))
    ),
    "events of a job": lambda stored, random: http.request(
        "POST", "/queryEvents", requests.write_events(log_of_job(random.choice(stored.jobs)))
    ),
    "own jobs": lambda stored, random: _jobs(Attribute.OWNER, None),
    "jobs of an owner": lambda stored, random: _jobs(Attribute.OWNER, _owner(random)),
    "subjobs": lambda stored, random: _jobs(Attribute.PARENT, random.choice(stored.collections)),
    "jobs that run": lambda stored, random: _jobs(Attribute.STATUS, State.Running),
    "jobs not ended": lambda stored, random: _jobs(Attribute.STATUS, State.Done, operator=Operator.LESS),
    "jobs with a tag": lambda stored, random: _jobs(Attribute.USERTAG, _experiment(random), name="experiment"),
    "jobs of an hour": _hour,
    "jobs since a day": _since,
    "JSON: a job": lambda stored, random: _get(f"/api/v1/jobs/{random.choice(stored.jobs).unique}"),
    "JSON: own jobs, any page": lambda stored, random: _get(
        f"/api/v1/jobs?limit={_LIMIT}&cursor={random.choice(stored.jobs).unique}"
    ),
    "JSON: jobs that run": lambda stored, random: _get(f"/api/v1/jobs?limit={_LIMIT}&status=running"),
    "page: a job": lambda stored, random: _get(f"/{random.choice(stored.jobs).unique}"),
    "page: own jobs": lambda stored, random: _get("/"),
    "page: own jobs, further": lambda stored, random: _get(f"/?before={random.randrange(2_000, len(stored.jobs))}"),
    "page: jobs that run": lambda stored, random: _get("/?query=status=running"),
    "page: jobs of an hour": lambda stored, random: _get(
        f"/?query=lastupdatetime>{stored.oldest + random.randrange(filling.SPAN)}"
    ),
}
#: What clients of the crowd ask, of ten so many: most look at a job, one lists jobs.
_ASKED_BY_CROWD: Final = {"status of a job": 5, "events of a job": 2, "JSON: a job": 2, "jobs of an owner": 1}


def _kind(site: Site, stored: _Stored, asking: Asking) -> Measurement:
    """Questions of one kind, one after the other on a kept connection."""

    def client(number: int) -> list[float]:
        random = Random(number)
        with site.to_queries() as connection:
            until = perf_counter() + _PATIENCE
            taken = Measurement()
            while len(taken.latencies) < _QUERIES and perf_counter() < until:
                asked = asking(stored, random)
                taken.timed(1, lambda _: ask(connection, asked))  # noqa: B023  # called at once
            return taken.latencies

    with site.measuring() as measured:
        measured.latencies += together(1, client)
    return measured


def _fed(site: Site, jobs: Sequence[JobId], first: int) -> Measurement:
    """Events of jobs in turn, pipelined on one connection."""
    frames = (il.frame(site.pending(jobs[n % len(jobs)], first + n)) for n in range(_EVENTS))
    with site.to_store() as connection, site.measuring() as measured:
        measured.latencies += pipelined(frames, map(check, replies(connection)), connection)
    return measured


def _beside(site: Site, stored: _Stored, jobs: Sequence[JobId], first: int, pause: float) -> tuple[Measurement, Crowd]:
    """`_fed` while clients ask."""
    asked = [
        [_KINDS[name](stored, random) for random in map(Random, range(_QUERIES))]
        for name, share in _ASKED_BY_CROWD.items()
        for _ in range(share)
    ]
    with Crowd(_CLIENTS, site.to_queries, asked, pause) as crowd:
        return _fed(site, jobs, first), crowd


def _rows(site: Site, stored: _Stored, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Measurement]]:
    """What was measured, by name."""
    for name in filter(wanted, _KINDS):
        yield name, _kind(site, stored, _KINDS[name])
    jobs = site.jobs(_FED)
    numbers = count(1, _EVENTS)
    for name, fed in (("events", jobs), ("events of old jobs", stored.jobs)):
        if wanted(name):
            yield name, _fed(site, fed, next(numbers))
    for pause in _PAUSES:
        rate = f"a question each {pause} s" if pause else "questions without a pause"
        name = f"events beside {_CLIENTS} clients, {rate}"
        if wanted(name):
            beside, crowd = _beside(site, stored, jobs, next(numbers), pause)
            yield name, beside
            yield f"{_CLIENTS} clients, {rate}", crowd.measured(beside)


def _prepare(site: Site, jobs: int) -> None:
    """Credentials, the policy and, where there is none, the database."""
    pki.ensure(site.pki)
    rules = "".join(f'action "{name}" {{ rule permit {{ subject = ".*" }} }}\n' for name in _PERMITTED)
    (site.state / "policy").write_text(_POLICY % rules)
    database = site.state / _DATABASE
    if not database.exists():
        begun = perf_counter()
        making = database.with_suffix(".making")
        making.unlink(missing_ok=True)
        filling.fill(making, jobs, site.user)
        making.rename(database)
        print(f"{jobs:,} jobs made in {perf_counter() - begun:.0f} s, {database.stat().st_size >> 20:,} MB", flush=True)


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = ArgumentParser(prog="bench.million", description=__doc__)
    parser.add_argument("--jobs", type=int, default=_JOBS, help="jobs in a store that is made (default: %(default)s)")
    parser.add_argument("--store", type=Path, help="directory of a store that is kept")
    parser.add_argument("--rows", default="", help="beginnings of names of rows, separated by commas (default: all)")
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        directory = given.store or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-million-")))
        site = Site(directory, stack)
        _prepare(site, given.jobs)
        print(f"{machine()}\n\n{HEADING}", flush=True)
        begun = perf_counter()
        site.start(SERVER, "--policy", str(directory / "policy"))
        with site.measuring() as started:
            started.latencies.append((perf_counter() - begun) * 1000)
        print(_line("start", started), flush=True)
        names = tuple(name.strip() for name in given.rows.split(","))
        for name, measured in _rows(
            site, _stored(directory / _DATABASE, Random(1)), lambda name: name.startswith(names)
        ):
            print(_line(name, measured), flush=True)


def _line(name: str, measured: Measurement) -> str:
    return line(Row(name, lambda _: measured, ()), measured)


if __name__ == "__main__":
    main(sys.argv[1:])
