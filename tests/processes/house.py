"""Server and logger together, and what a producer and a user do with them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.jobid import JobId
from lb.wire import dglog, il
from tests.processes.asked import history
from tests.processes.daemon import PATIENCE, Daemon, connect, free_port, replies
from tests.server.test_ingest import registration, running


def answers(connection: ssl.SSLSocket) -> Iterable[int]:
    """A logger's answers as they come, until the connection is gone."""
    reader = dglog.AnswerReader()
    while True:
        try:
            data = connection.recv(65536)
        except OSError:
            return
        if not data:
            return
        yield from reader.feed(data)


class House(SynchronousTestCase):
    """Both daemons on one state directory, as `make run` starts them; subclasses have the tests."""

    #: Options of the server and of the logger.
    server_options: ClassVar[tuple[str, ...]] = ()
    logger_options: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.port = free_port()
        self.logger_port = free_port()
        self.server = Daemon("lb", self.state, "--port", str(self.port), *self.server_options)
        self.logger = Daemon("lb-logger", self.state, "--port", str(self.logger_port), *self.logger_options)
        self.addCleanup(self.server.kill)
        self.addCleanup(self.logger.kill)
        self.server.start()
        self.logger.start()
        self.user = self.server.user

    def register(self) -> JobId:
        job = jobid.create(f"localhost:{self.port}")
        connection = connect(self.port + 1, self.state / "pki")
        connection.sendall(il.frame(registration(job=str(job), user=self.user).encode()))
        self.assertEqual(next(iter(replies(connection))), il.OK)
        connection.close()
        return job

    def message(self, job: JobId, number: int) -> bytes:
        line = running(number, f"wn{number}", job=str(job)).replace(
            ' DG.USER="/C=CZ/O=LB Reference Test/CN=Test User"', ""
        )
        return dglog.message(line.encode())

    def nodes(self, job: JobId) -> list[str]:
        """The nodes of a job's Running events, in event order."""
        events = history(self.port, self.state / "pki", job)
        return [event["node"] for event in events if event["type"] == "Running"]

    def wait_for(self, job: JobId, wanted: int) -> list[str]:
        """Ask until so many events are there; each question takes the server some time, so this is no busy loop."""
        give_up = monotonic() + PATIENCE
        while True:
            nodes = self.nodes(job)
            if len(nodes) >= wanted or monotonic() > give_up:
                return nodes

    def quarantined(self) -> bytes:
        """What is in quarantine, as soon as something is."""
        give_up = monotonic() + PATIENCE
        kept = b""
        while not kept and monotonic() < give_up:
            kept = b"".join(path.read_bytes() for path in self.state.rglob("quarantine/*") if path.is_file())
        return kept
