"""Rows of the store port: events and registrations straight to the server, answered when they are on disk."""

from __future__ import annotations

from bench.frame import SERVER, Measurement, Row
from bench.load import one_by_one, pipelined, together
from bench.site import Site, check
from lb.wire import il
from tests.processes.daemon import replies

_EVENTS = 30_000
_JOBS = 100
_LOCK_STEPS = 3_000
_CLIENTS = 4
_REGISTRATIONS = 150  #: of each client
_GREAT = 10_000_000  #: bytes


def store_port(site: Site) -> Measurement:
    """Pipelined on one connection, as our logger does."""
    jobs = site.jobs(_JOBS)
    frames = (il.frame(site.pending(jobs[n % _JOBS], n + 1)) for n in range(_EVENTS))
    with site.to_store() as connection, site.measuring() as measured:
        measured.latencies += pipelined(frames, map(check, replies(connection)), connection)
    return measured


def lock_step(site: Site) -> Measurement:
    """One event after the answer to the one before, on a kept connection, as C peers do."""
    (job,) = site.jobs(1)
    with site.to_store() as connection:
        came = iter(replies(connection))

        def one(number: int) -> None:
            connection.sendall(il.frame(site.pending(job, number + 1)))
            check(next(came))

        with site.measuring() as measured:
            measured.timed(_LOCK_STEPS, one)
    return measured


def registrations(site: Site) -> Measurement:
    """A new TLS connection for each, from several clients."""
    _ = site.user

    def one(_: int) -> None:
        with site.to_store() as connection:
            connection.sendall(il.frame(site.registration(site.new_id())))
            check(next(iter(replies(connection))))

    with site.measuring() as measured:
        measured.latencies += together(_CLIENTS, lambda _: one_by_one(_REGISTRATIONS, one))
    return measured


def great_event(site: Site) -> Measurement:
    """Events of 10 MB, sent to reply."""
    (job,) = site.jobs(1)
    text = "y" * _GREAT
    with site.to_store() as connection:
        came = iter(replies(connection))

        def one(number: int) -> None:
            line = site.line(job, number, "UserTag", f'DG.USERTAG.NAME="t" DG.USERTAG.VALUE="{text}" ')
            connection.sendall(il.frame(line))
            check(next(came))

        with site.measuring() as measured:
            measured.timed(10, one)
    return measured


STORE_PORT = Row("store port", store_port, (SERVER,), "8,500")
LOCK_STEP = Row("lock-step", lock_step, (SERVER,), "1,500")
REGISTRATIONS = Row("registrations", registrations, (SERVER,), "300")
GREAT_EVENT = Row("10 MB", great_event, (SERVER,), "1")
