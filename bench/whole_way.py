"""Rows of the whole way: producer, logger, server; each event counts when a query shows it.

A second client process keeps asking for the job of the last event: what it sees first, and when, gives the latencies.
"""

from __future__ import annotations

import multiprocessing
import re
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from time import perf_counter, sleep
from typing import NamedTuple

from bench.frame import LOGGER, SERVER, Measurement, Row
from bench.load import ask, logged, pipelined
from bench.site import Site
from lb.model.jobid import JobId
from lb.model.query import of_job
from lb.wire import dglog, http
from lb.wire.lbxml import requests

_EVENTS = 30_000
#: Seconds between two looks at the job, so that the looking costs little; and until we give up.
_PAUSE = 0.01
_PATIENCE = 120.0
#: The location ends with the source's instance, by which we number events.
_LOCATION = re.compile(rb"<location>[^<]*/(\d+)</location>")


class _Sight(NamedTuple):
    """At a moment of the monotonic clock (seconds), the event of this number was the newest one visible."""

    moment: float
    number: int


def whole_way(site: Site, jobs: int) -> Measurement:
    """Events of so many jobs in turn through the logger, until the last one is visible."""

    def send(lines: Iterator[bytes]) -> None:
        with site.to_logger() as connection:
            deque(pipelined(map(dglog.message, lines), logged(connection), connection), maxlen=0)

    return until_visible(site, jobs, send, user=False)


def until_visible(site: Site, jobs: int, send: Callable[[Iterator[bytes]], None], *, user: bool) -> Measurement:
    """Events of so many jobs in turn, until the last one is visible; `user`: the lines name theirs."""
    known = site.jobs(jobs)
    watched = (_EVENTS - 1) % jobs
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    watcher = multiprocessing.get_context("fork").Process(target=_watch, args=(site, known[watched], there))
    made: list[float] = []

    def lines() -> Iterator[bytes]:
        for n in range(_EVENTS):
            made.append(perf_counter())
            yield site.pending(known[n % jobs], n + 1, user=user)

    watcher.start()
    here.recv()
    with site.measuring() as measured:
        send(lines())
        sights: list[_Sight] = here.recv()
        watcher.join()
    if not sights or sights[-1].number < _EVENTS:
        raise SystemExit(f"bench: the last event was not visible after {_PATIENCE:.0f} s")
    measured.items = _EVENTS
    numbers = iter(range(watched + 1, _EVENTS + 1, jobs))
    number = next(numbers)
    for sight in sights:
        while number <= sight.number:
            measured.latencies.append((sight.moment - made[number - 1]) * 1000)
            number = next(numbers, _EVENTS + 1)
    return measured


def _watch(site: Site, job: JobId, tell: Connection) -> None:
    """Look at a job until its last event is there; sends when it begins, and what it saw."""
    asked = http.request("POST", "/queryJobs", requests.write_jobs(of_job(job)))
    sights: list[_Sight] = []
    with site.to_queries() as connection:
        ask(connection, asked)
        tell.send(None)
        begun = perf_counter()
        while perf_counter() - begun < _PATIENCE:
            found = _LOCATION.search(ask(connection, asked))
            number = int(found[1]) if found else 0
            if number and (not sights or number > sights[-1].number):
                sights.append(_Sight(perf_counter(), number))
            if number == _EVENTS:
                break
            sleep(_PAUSE)
    tell.send(sights)


MANY_JOBS = Row("producer → logger → server", lambda site: whole_way(site, 100), (SERVER, LOGGER), "5,000")
ONE_JOB = Row("one job", lambda site: whole_way(site, 1), (SERVER, LOGGER), "5,000")
