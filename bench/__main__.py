"""``make bench``: starts both daemons, drives each path of the performance budget, prints a table.

Every number is taken at the far end of its path: a reply of the server, or an event visible to a query.
Loops are bounded; the daemons and their state are gone afterwards.
"""

from __future__ import annotations

import resource
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter, time
from typing import NamedTuple

from cryptography import x509

from lb.model import jobid
from lb.model.jobid import JobId
from lb.model.query import of_job
from lb.security.names import slash_form
from lb.wire import dglog, http, il
from lb.wire.lbxml import requests
from lb.wire.ulm import write_date
from tests.processes.daemon import Daemon, connect, free_port, replies

#: Bytes that bring an event to the 700 or so of the budget.
_PADDING = "x" * 330
#: Messages sent in one write, and sent without an answer.
_CHUNK = 100
_WINDOW = 2_000


class Row(NamedTuple):
    """What a path gave: items a second, and milliseconds from making an item to its answer."""

    name: str
    rate: float
    latencies: list[float]


class Bench:
    """Both daemons on a state directory of their own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port, self.logger_port = free_port(), free_port()
        self.server = Daemon("lb", state, "--port", str(self.port))
        self.logger = Daemon("lb-logger", state, "--port", str(self.logger_port))
        self.server.start()
        self.logger.start()
        self.user = slash_form(x509.load_pem_x509_certificate((state / "pki/user.pem").read_bytes()))

    def line(self, job: JobId, number: int, event: str, attributes: str, *, user: bool = True) -> bytes:
        """An event made now."""
        named = f'DG.USER="{self.user}" ' if user else ""
        return (
            f'DATE={write_date(int(time() * 1_000_000))} HOST="bench.example.org" PROG=edg-wms LVL=SYSTEM '
            f'DG.PRIORITY=16 DG.SOURCE="WorkloadManager" DG.SRC_INSTANCE="{number}" DG.EVNT="{event}" '
            f'DG.JOBID="{job}" DG.SEQCODE="UI=000001:NS=0000000001:WM={number:06d}:BH=0000000000:JSS=000000'
            f':LM=000000:LRMS=000000:APP=000000:LBS=000000" {named}{attributes}'
        ).encode()

    def registration(self, job: JobId) -> bytes:
        attributes = 'DG.REGJOB.JDL="[]" DG.REGJOB.NS="bench" DG.REGJOB.PARENT="" DG.REGJOB.JOBTYPE="SIMPLE" '
        return self.line(job, 0, "RegJob", attributes + 'DG.REGJOB.NSUBJOBS="0" DG.REGJOB.SEED="" DG.REGJOB.WMS_DN="" ')

    def pending(self, job: JobId, number: int, *, user: bool = True) -> bytes:
        """An event that leaves a state of constant size."""
        return self.line(job, number, "Pending", f'DG.PENDING.REASON="{_PADDING}" ', user=user)

    def jobs(self, count: int) -> list[JobId]:
        """Registered jobs."""
        made = [jobid.create(f"localhost:{self.port}") for _ in range(count)]
        connection = connect(self.port + 1, self.state / "pki")
        connection.sendall(b"".join(il.frame(self.registration(job)) for job in made))
        came = iter(replies(connection))
        for _ in made:
            _check(next(came))
        connection.close()
        return made

    def store_port(self, jobs: int, events: int, name: str) -> Row:
        """Pipelined on one connection."""
        known = self.jobs(jobs)
        connection = connect(self.port + 1, self.state / "pki")
        frames = (il.frame(self.pending(known[n % jobs], n + 1)) for n in range(events))
        return _pipelined(name, events, frames, map(_check, replies(connection)), connection)

    def lock_step(self, events: int) -> Row:
        """One event after the answer to the one before, as C peers do."""
        (job,) = self.jobs(1)
        connection = connect(self.port + 1, self.state / "pki")
        came = iter(replies(connection))

        def one(number: int) -> None:
            connection.sendall(il.frame(self.pending(job, number + 1)))
            _check(next(came))

        row = _timed("lock-step, one kept connection", events, one)
        connection.close()
        return row

    def registrations(self, each: int, clients: int) -> Row:
        """A new TLS connection for each."""
        latencies: list[float] = []

        def client() -> None:
            def one(_: int) -> None:
                connection = connect(self.port + 1, self.state / "pki")
                connection.sendall(il.frame(self.registration(jobid.create(f"localhost:{self.port}"))))
                _check(next(iter(replies(connection))))
                connection.close()

            latencies.extend(_timed("", each, one).latencies)

        return _together(f"registrations, a new connection each, {clients} clients", clients, client, latencies)

    def status_queries(self, each: int, clients: int) -> Row:
        """On kept connections."""
        known = self.jobs(clients)
        latencies: list[float] = []

        def client() -> None:
            job = known.pop()
            connection = connect(self.port, self.state / "pki")
            asked = http.request("POST", "/queryJobs", requests.write_jobs(of_job(job)))
            latencies.extend(_timed("", each, lambda _: _answer(connection, asked)).latencies)
            connection.close()

        return _together(f"status queries, {clients} kept connections", clients, client, latencies)

    def whole_way(self, jobs: int, events: int, name: str) -> Row:
        """Producer, logger, server, until the last event is visible; latencies are those of the logger's answers."""
        known = self.jobs(jobs)
        connection = connect(self.logger_port, self.state / "pki")
        started = perf_counter()
        lines = (self.pending(known[n % jobs], n + 1, user=False) for n in range(events))
        row = _pipelined(name, events, map(dglog.message, lines), _answers(connection), connection)
        asking = connect(self.port, self.state / "pki")
        last = http.request("POST", "/queryJobs", requests.write_jobs(of_job(known[(events - 1) % jobs])))
        while f"/{events}<".encode() not in _answer(asking, last):
            if perf_counter() - started > 120:
                raise SystemExit(f"bench: {name}: the last event was not visible after two minutes")
        asking.close()
        return Row(name, events / (perf_counter() - started), row.latencies)

    def great_event(self) -> Row:
        """One event of 10 MB, sent to reply."""
        (job,) = self.jobs(1)
        connection = connect(self.port + 1, self.state / "pki")
        came = iter(replies(connection))
        text = "y" * 10_000_000

        def one(number: int) -> None:
            connection.sendall(
                il.frame(self.line(job, number, "UserTag", f'DG.USERTAG.NAME="t" DG.USERTAG.VALUE="{text}" '))
            )
            _check(next(came))

        row = _timed("10 MB event, sent to reply", 5, one)
        connection.close()
        return row


def _pipelined(
    name: str, events: int, messages: Iterator[bytes], came: Iterator[None], connection: ssl.SSLSocket
) -> Row:
    """Send in chunks, with a window of unanswered messages; in one thread, as a TLS connection demands."""
    made: list[float] = []
    latencies: list[float] = []
    started = perf_counter()
    while len(latencies) < events:
        if len(made) < events and len(made) - len(latencies) < _WINDOW:
            chunk = list(islice(messages, _CHUNK))
            made.extend([perf_counter()] * len(chunk))
            connection.sendall(b"".join(chunk))
        else:
            next(came)
            latencies.append((perf_counter() - made[len(latencies)]) * 1000)
    taken = perf_counter() - started
    connection.close()
    return Row(name, events / taken, latencies)


def _check(reply: il.Reply) -> None:
    if reply != il.OK:
        raise SystemExit(f"bench: the server replied {reply}")


def _answers(connection: ssl.SSLSocket) -> Iterator[None]:
    reader = dglog.AnswerReader()
    while data := connection.recv(65536):
        for code in reader.feed(data):
            if code:
                raise SystemExit(f"bench: the logger answered {code}")
            yield


def _answer(connection: ssl.SSLSocket, asked: bytes) -> bytes:
    connection.sendall(asked)
    reader = http.ResponseReader()
    while not (answered := reader.feed(connection.recv(65536))):
        pass
    if answered[0].status != 200:
        raise SystemExit(f"bench: the server answered {answered[0].body!r}")
    return answered[0].body


def _timed(name: str, count: int, one: Callable[[int], None]) -> Row:
    latencies = []
    started = perf_counter()
    for number in range(count):
        begun = perf_counter()
        one(number)
        latencies.append((perf_counter() - begun) * 1000)
    return Row(name, count / (perf_counter() - started), latencies)


def _together(name: str, clients: int, client: Callable[[], None], latencies: list[float]) -> Row:
    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Row(name, len(latencies) / (perf_counter() - started), latencies)


@contextmanager
def running() -> Iterator[Bench]:
    """Both daemons, gone at the end."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        try:
            yield bench
        finally:
            for daemon in (bench.logger, bench.server):
                print(f"{daemon.name}: {daemon.usage()}")
                daemon.kill()


def main() -> None:
    """Print a line a path."""
    print(f"{'path':58} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8}")
    with running() as bench:
        rows: list[Callable[[], Row]] = [
            lambda: bench.store_port(100, 30_000, "store port, pipelined, 100 jobs"),
            lambda: bench.whole_way(100, 30_000, "producer, logger, server, visible, 100 jobs"),
            lambda: bench.whole_way(1, 30_000, "producer, logger, server, visible, one job"),
            lambda: bench.lock_step(2_000),
            lambda: bench.registrations(150, 4),
            lambda: bench.status_queries(1_000, 4),
            bench.great_event,
        ]
        for row in rows:
            name, rate, latencies = row()
            latencies.sort()
            p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
            print(f"{name:58} {rate:10,.0f} {p50:8.2f} {p99:8.2f}", flush=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"this process: {used.ru_utime + used.ru_stime:.1f} s CPU, {used.ru_maxrss >> 10} MB")


if __name__ == "__main__":
    sys.exit(main())
