"""Rows of notifications: from the event to its receiver, and what registrations that cannot match cost the store port.

The receiver is a process of its own, of our kind: it reads on before its answers are taken.
"""

from __future__ import annotations

import multiprocessing
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing.connection import Connection
from time import perf_counter, sleep

from bench.frame import SERVER, Measurement, Row
from bench.load import ask
from bench.site import Site, check
from bench.storing import store_port
from lb.model import jobid, notifid
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Group, Operator
from lb.model.status import State
from lb.wire import http, il
from lb.wire.lbxml.registrations import Function, Request, write_request
from tests.processes.crowd import Crowd
from tests.processes.daemon import replies

_EVENTS = 8_000
_RATE = 1_000  #: events a second
_STEP = 0.002  #: seconds between two writes
_REGISTRATIONS = 10_000
_PATIENCE = 60.0
#: The location ends with the source's instance, by which we number events.
_LOCATION = re.compile(rb"&lt;location&gt;[^&]*/(\d+)&lt;/location&gt;")


def _register(connection: ssl.SSLSocket, site: Site, address: str, *groups: Group) -> None:
    asked = Request(Function.NEW, notifid.create(f"localhost:{site.port}"), address, groups)
    ask(connection, http.request("POST", "/notifRequest", write_request(asked)))


def _equal(attribute: Attribute, value: int | str | jobid.JobId, name: str | None = None) -> Group:
    return (Condition(attribute, Operator.EQUAL, value, name=name),)


def latency(site: Site) -> Measurement:
    """1,000 events a second, from making each to its notification."""
    (job,) = site.jobs(1)
    listening = socket.create_server(("127.0.0.1", 0))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    receiver = context.Process(target=_receive, args=(site, listening, there))
    receiver.start()
    assert receiver.pid is not None
    site.processes["receiver"] = receiver.pid
    with site.to_queries() as queries:
        _register(queries, site, f"127.0.0.1:{listening.getsockname()[1]}", _equal(Attribute.JOBID, job))
    made: list[float] = []
    with site.to_store() as connection:
        came = iter(replies(connection))
        with site.measuring() as measured:
            for chunk in _paced(_EVENTS, _RATE):
                lines = []
                for number in chunk:
                    made.append(perf_counter())
                    lines.append(il.frame(site.pending(job, number + 1)))
                connection.sendall(b"".join(lines))
                for _ in chunk:
                    check(next(came))
            arrived: dict[int, float] = here.recv()
    here.send(None)
    receiver.join()
    measured.latencies += [(arrived[number + 1] - moment) * 1000 for number, moment in enumerate(made)]
    return measured


def _paced(count: int, rate: int) -> Iterator[range]:
    """Numbers of events, as many at a time as are due at `rate` a second."""
    begun = perf_counter()
    sent = 0
    while sent < count:
        due = min(count, int((perf_counter() - begun) * rate) + 1)
        if due > sent:
            yield range(sent, due)
            sent = due
        else:
            sleep(_STEP)


def _receive(site: Site, listening: socket.socket, tell: Connection) -> None:
    """Take one connection and note when each event's notification came."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.pki / "user.pem", site.pki / "user.key")
    context.load_verify_locations(site.pki / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([il.ALPN.decode()])
    plain, _ = listening.accept()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    arrived: dict[int, float] = {}
    answer = il.write_reply(il.OK)
    with context.wrap_socket(plain, server_side=True) as connection:
        connection.settimeout(_PATIENCE)
        reader = il.FrameReader()
        while len(arrived) < _EVENTS and (data := connection.recv(65_536)):
            bodies = reader.feed(data)
            moment = perf_counter()
            for body in bodies:
                found = _LOCATION.search(body)
                if found is not None:
                    arrived.setdefault(int(found[1]), moment)
            connection.sendall(answer * len(bodies))
        tell.send(arrived)
        tell.recv()  # what it used is still to be read


def beside_registrations(site: Site) -> Measurement:
    """The row of the store port, with 10,000 registrations for other jobs, tags, states and owners."""
    with site.to_queries() as queries:
        for number in range(_REGISTRATIONS):
            kinds = (
                _equal(Attribute.JOBID, site.new_id()),
                _equal(Attribute.USERTAG, f"value{number}", name="experiment"),
                _equal(Attribute.STATUS, int(State.Cleared)),
                _equal(Attribute.OWNER, f"/CN=user {number}"),
            )
            _register(queries, site, f"127.0.0.1:{1_000 + number}", kinds[number % len(kinds)])
    return store_port(site)


_RECEIVERS = 1_000
#: Events in a row for one after the other, half of which is for the receiver that may be frozen.
_CROWD_EVENTS = 4_000
_CROWD_RATE = 500


def crowd(site: Site, *, frozen: bool = False) -> Measurement:
    """1,000 receivers, each with a connection and a job of its own; half of all events is for one more receiver.

    500 events a second, from making each to its notification; of the one more receiver, which may be frozen, nothing
    is measured.
    """
    jobs = site.jobs(_RECEIVERS + 1)
    with ExitStack() as stack:
        others = stack.enter_context(closing(Crowd(site.pki, _RECEIVERS, _LOCATION.pattern.decode())))
        one = stack.enter_context(closing(Crowd(site.pki, 1, _LOCATION.pattern.decode())))
        site.processes["receivers"] = others.pid
        with site.to_queries() as queries:
            for job, port in zip(jobs, others.ports + one.ports, strict=True):
                _register(queries, site, f"127.0.0.1:{port}", _equal(Attribute.JOBID, job))
        connection = stack.enter_context(site.to_store())
        came = iter(replies(connection))

        def send(numbers: Iterable[int], job_of: Callable[[int], JobId]) -> list[float]:
            made, lines = [], []
            for number in numbers:
                made.append(perf_counter())
                lines.append(il.frame(site.pending(job_of(number), number)))
            connection.sendall(b"".join(lines))
            for _ in made:
                check(next(came))
            return made

        # Connections are made by a first event of each job.
        send(range(1, _RECEIVERS + 2), lambda number: jobs[number - 1])
        others.wait_for(_RECEIVERS)
        one.wait_for(1)
        if frozen:
            one.freeze()
        first = _RECEIVERS + 2
        with site.measuring() as measured:
            made: list[float] = []
            for chunk in _paced(_CROWD_EVENTS, _CROWD_RATE):
                numbers = range(first + chunk.start, first + chunk.stop)
                made += send(numbers, lambda number: jobs[-1 if number % 2 else number // 2 % _RECEIVERS])
            expected = [number for number in range(first, first + _CROWD_EVENTS) if number % 2 == 0]
            arrived = {number: moment for _, moment, number in others.wait_for(_RECEIVERS + len(expected))}
        measured.latencies += [(arrived[number] - made[number - first]) * 1000 for number in expected]
    return measured


CROWD = Row("1000 receivers", crowd, (SERVER,))
FROZEN = Row("1000 receivers one frozen", partial(crowd, frozen=True), (SERVER,))
LATENCY = Row("notification latency", latency, (SERVER,), "5 ms")
BESIDE = Row("10k notification registrations", beside_registrations, (SERVER,), "80 %")
