"""Rows of the query port."""

from __future__ import annotations

from bench.frame import SERVER, Measurement, Row
from bench.load import ask, one_by_one, together
from bench.site import Site
from lb.model.query import of_job
from lb.wire import http
from lb.wire.lbxml import requests

_CLIENTS = 4
_QUERIES = 1_500  #: of each client


def status_queries(site: Site) -> Measurement:
    """The status of one job, over and over, from several clients on kept connections."""
    jobs = site.jobs(_CLIENTS)

    def client(number: int) -> list[float]:
        asked = http.request("POST", "/queryJobs", requests.write_jobs(of_job(jobs[number])))
        with site.to_queries() as connection:
            return one_by_one(_QUERIES, lambda _: ask(connection, asked))

    with site.measuring() as measured:
        measured.latencies += together(_CLIENTS, client)
    return measured


STATUS_QUERIES = Row("status queries", status_queries, (SERVER,), "3,000")
