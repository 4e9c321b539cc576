"""Rows of many jobs: subjobs of one collection, each event of which moves its counts, and jobs without a parent."""

from __future__ import annotations

from bench.frame import SERVER, Measurement, Row
from bench.load import pipelined
from bench.site import Site, check
from lb.model import jobid
from lb.model.jobid import JobId
from lb.wire import il
from tests.processes.daemon import replies

_EVENTS = 20_000
_JOBS = 10_000
_SEED = "bench"


def _registration(site: Site, parent: JobId) -> bytes:
    attributes = 'DG.REGJOB.JDL="[]" DG.REGJOB.NS="bench" DG.REGJOB.PARENT="" DG.REGJOB.JOBTYPE="COLLECTION" '
    attributes += f'DG.REGJOB.NSUBJOBS="{_JOBS}" DG.REGJOB.SEED="{_SEED}" DG.REGJOB.WMS_DN="" '
    return site.line(parent, 0, "RegJob", attributes)


def _move(site: Site, subjob: JobId, number: int) -> bytes:
    """Running and done, in turns."""
    if number % 2:
        return site.line(subjob, number, "Running", 'DG.RUNNING.NODE="wn.example.org" ')
    return site.line(subjob, number, "Done", 'DG.DONE.STATUS_CODE="OK" DG.DONE.REASON="" DG.DONE.EXIT_CODE="0" ')


def _moving(site: Site, jobs: list[JobId]) -> Measurement:
    frames = (il.frame(_move(site, jobs[n % _JOBS], n // _JOBS + 1)) for n in range(_EVENTS))
    with site.to_store() as connection, site.measuring() as measured:
        measured.latencies += pipelined(frames, map(check, replies(connection)), connection)
    return measured


def subjobs(site: Site) -> Measurement:
    """All of one collection."""
    parent = site.new_id()
    with site.to_store() as connection:
        connection.sendall(il.frame(_registration(site, parent)))
        check(next(iter(replies(connection))))
    return _moving(site, list(jobid.subjobs(parent, _JOBS, _SEED)))


def unrelated(site: Site) -> Measurement:
    """The same without a parent, to compare with."""
    return _moving(site, site.jobs(_JOBS))


SUBJOBS = Row("10k subjobs", subjobs, (SERVER,))
UNRELATED = Row("10k unrelated jobs", unrelated, (SERVER,))
