"""Many clients of the query port at once, each on a kept connection, in one process beside the rest of a row."""

from __future__ import annotations

import multiprocessing
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from multiprocessing.connection import Connection
from selectors import EVENT_READ, DefaultSelector
from time import perf_counter
from types import TracebackType

from bench.frame import Measurement
from bench.load import check_response
from lb.wire import http


class Crowd:
    """Clients that ask while the block runs."""

    def __init__(
        self, clients: int, connect: Callable[[], ssl.SSLSocket], asked: Sequence[Sequence[bytes]], pause: float
    ) -> None:
        """`asked`: lists of questions, of which each client has one; a connection has one kind of them only.

        `pause`: seconds between a client's questions, or, where answers come later, no pause at all."""
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_run, args=(clients, connect, asked, pause, there))
        self._latencies: list[float] = []

    def __enter__(self) -> Crowd:
        self._process.start()
        self._here.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._here.send(None)
        self._latencies = self._here.recv()
        self._process.join()

    def measured(self, beside: Measurement) -> Measurement:
        """What the clients saw, in the time of another measurement."""
        measurement = Measurement()
        measurement.latencies = self._latencies
        measurement.seconds = beside.seconds
        measurement.used = beside.used
        return measurement


def _run(
    clients: int,
    connect: Callable[[], ssl.SSLSocket],
    asked: Sequence[Sequence[bytes]],
    pause: float,
    tell: Connection,
) -> None:
    selector = DefaultSelector()
    connections = [connect() for _ in range(clients)]
    for connection in connections:
        connection.setblocking(False)
        selector.register(connection, EVENT_READ, connection)
    selector.register(tell, EVENT_READ)
    begun = perf_counter()
    #: When whose next question is due, the clients spread over the pause; and since when they wait for an answer.
    due = [(begun + pause * number / clients, number) for number in range(clients)]
    since = {connection: (begun, number, http.ResponseReader()) for number, connection in enumerate(connections)}
    latencies: list[float] = []
    turns = count()
    tell.send(None)
    while True:
        now = perf_counter()
        while due and due[0][0] <= now:
            moment, number = heappop(due)
            connection = connections[number]
            since[connection] = moment if pause else now, number, http.ResponseReader()
            questions = asked[number % len(asked)]
            connection.sendall(questions[next(turns) % len(questions)])
        for key, _ in selector.select(max(0.0, due[0][0] - now) if due else None):
            if key.data is None:
                tell.send(latencies)
                return
            moment, number, reader = since[key.data]
            if _complete(key.data, reader):
                now = perf_counter()
                latencies.append((now - moment) * 1000)
                heappush(due, (max(now, moment + pause), number))


def _complete(connection: ssl.SSLSocket, reader: http.ResponseReader) -> bool:
    """Read what there is; whether the response has come."""
    with suppress(ssl.SSLWantReadError):
        while data := connection.recv(65_536):
            if came := reader.feed(data):
                check_response(came[0])
                return True
    return False
