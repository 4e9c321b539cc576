"""Rows of notifications to brokers: store port, outbox, broker; each counts when a consumer of the broker has it.

The broker is started for the row; the consumer is a process of its own, over STOMP, which both brokers speak.
"""

from __future__ import annotations

import multiprocessing
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from time import perf_counter

from bench.frame import SERVER, Measurement, Row
from bench.load import ask, pipelined
from bench.site import Site, check
from lb.model import notifid
from lb.model.query import Attribute, Condition, Operator
from lb.wire import http, il, stomp
from lb.wire.lbxml.registrations import Function, Request, write_request
from tests.peers import activemq, rabbitmq
from tests.processes.daemon import replies

_EVENTS = 20_000
_JOBS = 100
_TOPIC = "grid.emi.bench"
_PADDING = "x" * 300
#: When an event was made, in the body of its notification.
_MADE = re.compile(rb'"statusReason" : "([\d.]+) ')


def published(site: Site, name: str, broker: rabbitmq.RabbitMQ | activemq.ActiveMQ, pid: int, url: str) -> Measurement:
    """Events of 100 jobs in turn, each told to one topic, until its consumer has the last one."""
    site.start(SERVER, "--broker", f"site={url}")
    site.processes[name] = pid
    jobs = site.jobs(_JOBS)
    with site.to_queries() as queries:
        group = (Condition(Attribute.OWNER, Operator.EQUAL, site.user),)
        asked = Request(Function.NEW, notifid.create(f"localhost:{site.port}"), f"x-msg://{_TOPIC}", (group,))
        ask(queries, http.request("POST", "/notifRequest", write_request(asked)))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    consumer = context.Process(target=_consume, args=(broker.stomp_port, there))

    def events() -> Iterator[bytes]:
        for number in range(_EVENTS):
            reason = f'DG.PENDING.REASON="{perf_counter()} {_PADDING}" '
            yield il.frame(site.line(jobs[number % _JOBS], number // _JOBS + 1, "Pending", reason))

    with site.to_store() as connection:
        consumer.start()
        here.recv()
        with site.measuring() as measured:
            deque(pipelined(events(), map(check, replies(connection)), connection), maxlen=0)
            measured.latencies += here.recv()
            consumer.join()
    return measured


def _consume(port: int, tell: Connection) -> None:
    """Take the notifications; sends when it begins, and the milliseconds that each was on its way."""
    reader = stomp.FrameReader()
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        login = {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "guest"}
        connection.sendall(stomp.write(stomp.Frame("CONNECT", login)))
        subscription = {"id": "0", "destination": f"/topic/{_TOPIC}", "ack": "auto", "receipt": "r"}
        connection.sendall(stomp.write(stomp.Frame("SUBSCRIBE", subscription)))
        while len(latencies) < _EVENTS:
            frames = reader.feed(connection.recv(1 << 18))
            now = perf_counter()
            for frame in frames:
                if frame.command == "RECEIPT":
                    tell.send(None)
                elif frame.command == "MESSAGE":
                    made = _MADE.search(frame.body)
                    latencies.append((now - float(made[1])) * 1000 if made else 0.0)
                elif frame.command == "ERROR":
                    raise SystemExit(f"bench: the broker says {frame.headers}")
    tell.send(latencies)


def _to_rabbitmq(scheme: str) -> Callable[[Site], Measurement]:
    def run(site: Site) -> Measurement:
        broker = rabbitmq.RabbitMQ()
        try:
            port = broker.stomp_port if scheme == "stomp" else broker.amqp_port
            return published(site, "RabbitMQ", broker, broker.pids[0], f"{scheme}://guest:guest@127.0.0.1:{port}")
        finally:
            broker.stop()

    return run


def _to_activemq(site: Site) -> Measurement:
    broker = activemq.ActiveMQ()
    try:
        return published(site, "ActiveMQ", broker, broker.pid, f"stomp://guest:guest@127.0.0.1:{broker.stomp_port}")
    finally:
        broker.stop()


RABBITMQ = Row("notifications to RabbitMQ", _to_rabbitmq("amqp"), (), "5,000")
RABBITMQ_STOMP = Row("notifications to RabbitMQ by STOMP", _to_rabbitmq("stomp"), ())
ACTIVEMQ = Row("notifications to ActiveMQ", _to_activemq, ())
