"""What rows through brokers share: a broker started for the row, and a consumer that tells how long messages took.

The consumer is a process of its own, over STOMP, which both brokers speak.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Protocol

from bench.frame import Measurement
from bench.site import Site
from lb.wire import stomp
from tests.peers import activemq, rabbitmq

#: Milliseconds that each message was on its way, to be called when all are sent.
Latencies = Callable[[], list[float]]


class Through(Protocol):
    """A row through a broker."""

    def __call__(self, site: Site, name: str, stomp_port: int, pid: int, url: str) -> Measurement:
        """`name` and `pid` of the broker's process, its port for STOMP, its URL for our daemons."""


@contextmanager
def consumer(port: int, destination: str, count: int, made: Callable[[bytes], float | None]) -> Iterator[Latencies]:
    """A consumer that has subscribed; `made`: when the message with this body was, None when it does not tell."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_consume, args=(port, destination, count, made, there))
    process.start()
    here.recv()

    def latencies() -> list[float]:
        told: list[float] = here.recv()
        process.join()
        return told

    yield latencies


def _consume(port: int, destination: str, count: int, made: Callable[[bytes], float | None], tell: Connection) -> None:
    """Take the messages; sends when it begins, and the milliseconds that each was on its way."""
    reader = stomp.FrameReader()
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        login = {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "guest"}
        connection.sendall(stomp.write(stomp.Frame("CONNECT", login)))
        subscription = {"id": "0", "destination": destination, "ack": "auto", "receipt": "r"}
        connection.sendall(stomp.write(stomp.Frame("SUBSCRIBE", subscription)))
        while len(latencies) < count:
            frames = reader.feed(connection.recv(1 << 18))
            now = perf_counter()
            for frame in frames:
                if frame.command == "RECEIPT":
                    tell.send(None)
                elif frame.command == "MESSAGE":
                    at = made(frame.body)
                    latencies.append((now - at) * 1000 if at is not None else 0.0)
                elif frame.command == "ERROR":
                    raise SystemExit(f"bench: the broker says {frame.headers}")
    tell.send(latencies)


def to_rabbitmq(scheme: str, row: Through) -> Callable[[Site], Measurement]:
    """The row through a RabbitMQ of its own, reached by `scheme`."""

    def run(site: Site) -> Measurement:
        broker = rabbitmq.RabbitMQ()
        try:
            port = broker.stomp_port if scheme == "stomp" else broker.amqp_port
            url = f"{scheme}://guest:guest@127.0.0.1:{port}"
            return row(site, "RabbitMQ", broker.stomp_port, broker.pids[0], url)
        finally:
            broker.stop()

    return run


def to_activemq(row: Through) -> Callable[[Site], Measurement]:
    """The row through an ActiveMQ of its own."""

    def run(site: Site) -> Measurement:
        broker = activemq.ActiveMQ()
        try:
            url = f"stomp://guest:guest@127.0.0.1:{broker.stomp_port}"
            return row(site, "ActiveMQ", broker.stomp_port, broker.pid, url)
        finally:
            broker.stop()

    return run
