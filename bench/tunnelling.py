"""Rows of tunnelled messages: producer, logger, broker; each counts when a consumer of the broker has it.

The broker is started for the row; the consumer is a process of its own, over STOMP, which both brokers speak.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from time import perf_counter, time

from bench.frame import LOGGER, Measurement, Row
from bench.load import logged, pipelined
from bench.site import Site
from lb.client.outgoing import new_message
from lb.wire import dglog, stomp, tunnel
from tests.peers import activemq, rabbitmq

_MESSAGES = 30_000
_PADDING = "x" * 500
_QUEUE = "/queue/lb.bench"


def tunnelled(site: Site, name: str, broker: rabbitmq.RabbitMQ | activemq.ActiveMQ, pid: int, url: str) -> Measurement:
    """Messages of about 500 bytes for one queue, until its consumer has the last one."""
    site.start(LOGGER, "--broker", f"site={url}")
    site.processes[name] = pid
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    consumer = context.Process(target=_consume, args=(broker.stomp_port, there))

    def messages() -> Iterator[bytes]:
        for _ in range(_MESSAGES):
            body = f"{perf_counter()} {_PADDING}"
            yield dglog.message(tunnel.write(new_message(f"x-msg://site{_QUEUE}", body, now=time(), host="bench")))

    with site.to_logger() as connection:
        consumer.start()
        here.recv()
        with site.measuring() as measured:
            deque(pipelined(messages(), logged(connection), connection), maxlen=0)
            measured.latencies += here.recv()
            consumer.join()
    return measured


def _consume(port: int, tell: Connection) -> None:
    """Take the messages from the queue; sends when it begins, and the milliseconds that each was on its way."""
    reader = stomp.FrameReader()
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        login = {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "guest"}
        connection.sendall(stomp.write(stomp.Frame("CONNECT", login)))
        subscription = {"id": "0", "destination": _QUEUE, "ack": "auto", "receipt": "r"}
        connection.sendall(stomp.write(stomp.Frame("SUBSCRIBE", subscription)))
        while len(latencies) < _MESSAGES:
            frames = reader.feed(connection.recv(1 << 18))
            now = perf_counter()
            for frame in frames:
                if frame.command == "RECEIPT":
                    tell.send(None)
                elif frame.command == "MESSAGE":
                    latencies.append((now - float(frame.body.partition(b" ")[0])) * 1000)
                elif frame.command == "ERROR":
                    raise SystemExit(f"bench: the broker says {frame.headers}")
    tell.send(latencies)


def _to_rabbitmq(scheme: str) -> Callable[[Site], Measurement]:
    def run(site: Site) -> Measurement:
        broker = rabbitmq.RabbitMQ()
        try:
            port = broker.stomp_port if scheme == "stomp" else broker.amqp_port
            return tunnelled(site, "RabbitMQ", broker, broker.pids[0], f"{scheme}://guest:guest@127.0.0.1:{port}")
        finally:
            broker.stop()

    return run


def _to_activemq(site: Site) -> Measurement:
    broker = activemq.ActiveMQ()
    try:
        return tunnelled(site, "ActiveMQ", broker, broker.pid, f"stomp://guest:guest@127.0.0.1:{broker.stomp_port}")
    finally:
        broker.stop()


RABBITMQ = Row("tunnelled to RabbitMQ", _to_rabbitmq("amqp"), (), "5,000")
RABBITMQ_STOMP = Row("tunnelled to RabbitMQ by STOMP", _to_rabbitmq("stomp"), ())
ACTIVEMQ = Row("tunnelled to ActiveMQ", _to_activemq, ())
