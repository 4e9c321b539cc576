"""How the peers of a row send: pipelined with a window, at once from several processes; and how they read answers.

Each latency is from making an item to its answer.
"""

from __future__ import annotations

import multiprocessing
import ssl
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from time import perf_counter

from bench.frame import Measurement
from lb.wire import dglog, http

#: Messages sent in one write, and sent without an answer.
_CHUNK = 100
_WINDOW = 2_000
#: In the answer of the query protocol when there is more than the limit.
_CUT = b"size limit exceeded"


def pipelined(messages: Iterator[bytes], came: Iterator[object], connection: ssl.SSLSocket) -> Iterator[float]:
    """Send all messages with a window of unanswered ones, and yield their latencies as the answers come.

    In one thread, as a TLS connection of Python demands. Messages are made when there is room for them.
    """
    made: list[float] = []
    answered = 0
    ended = False
    while not ended or answered < len(made):
        if not ended and len(made) - answered < _WINDOW:
            now = perf_counter()
            chunk = list(islice(messages, _CHUNK))
            ended = len(chunk) < _CHUNK
            made.extend([now] * len(chunk))
            connection.sendall(b"".join(chunk))
        else:
            next(came)
            yield (perf_counter() - made[answered]) * 1000
            answered += 1


def together(clients: int, client: Callable[[int], list[float]]) -> list[float]:
    """Run processes at once, each given its number; returns the latencies of all."""
    context = multiprocessing.get_context("fork")
    results = []
    for number in range(clients):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_tell, args=(there, client, number))
        process.start()
        there.close()
        results.append((process, here))
    latencies: list[float] = []
    for process, here in results:
        try:
            latencies += here.recv()
        except EOFError:
            raise SystemExit("bench: a client process failed") from None
        process.join()
    return latencies


def _tell(there: Connection, client: Callable[[int], list[float]], number: int) -> None:
    there.send(client(number))


def one_by_one(count: int, one: Callable[[int], object]) -> list[float]:
    """Latencies of doing something `count` times, one after the other."""
    measurement = Measurement()
    measurement.timed(count, one)
    return measurement.latencies


def logged(connection: ssl.SSLSocket) -> Iterator[None]:
    """The answers of a logger, all of which must be good."""
    reader = dglog.AnswerReader()
    while data := connection.recv(65536):
        for code in reader.feed(data):
            if code:
                raise SystemExit(f"bench: the logger answered {code}")
            yield


def ask(connection: ssl.SSLSocket, asked: bytes) -> bytes:
    """The body of the response to a request."""
    connection.sendall(asked)
    reader = http.ResponseReader()
    while not (came := reader.feed(connection.recv(65536))):
        pass
    check_response(came[0])
    return came[0].body


def check_response(response: http.Response) -> None:
    """End the run at a refusal; an answer that is cut at the limit that was asked for is none."""
    if response.status != 200 and _CUT not in response.body:
        raise SystemExit(f"bench: the server answered {response.status}: {response.body!r}")
