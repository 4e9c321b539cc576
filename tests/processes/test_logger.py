"""P1 to P5 over the whole way: producer, logger, server, each killed at any instant."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.jobid import JobId
from lb.model.query import Flag, of_job
from lb.security.names import slash_form
from lb.wire import dglog, http, il
from lb.wire.lbxml import requests, results
from tests.processes.daemon import PATIENCE, Daemon, connect, free_port, replies
from tests.server.test_ingest import registration, running

ROUNDS = 8
EVENTS = 240


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


class WholeWay(SynchronousTestCase):
    """Both daemons on one state directory, as `make run` starts them."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.port = free_port()
        self.logger_port = free_port()
        self.server = Daemon("lb", self.state, "--port", str(self.port))
        self.logger = Daemon("lb-logger", self.state, "--port", str(self.logger_port))
        self.addCleanup(self.server.kill)
        self.addCleanup(self.logger.kill)
        self.server.start()
        self.logger.start()
        pem = (self.state / "pki/user.pem").read_bytes()
        self.user = slash_form(x509.load_pem_x509_certificate(pem))

    def _register(self) -> JobId:
        job = jobid.create(f"localhost:{self.port}")
        connection = connect(self.port + 1, self.state / "pki")
        connection.sendall(il.frame(registration(job=str(job), user=self.user).encode()))
        self.assertEqual(next(iter(replies(connection))), il.OK)
        connection.close()
        return job

    def _message(self, job: JobId, number: int) -> bytes:
        line = running(number, f"wn{number}", job=str(job)).replace(
            ' DG.USER="/C=CZ/O=LB Reference Test/CN=Test User"', ""
        )
        return dglog.message(line.encode())

    def _nodes(self, job: JobId) -> list[str]:
        """The nodes of a job's Running events, in event order."""
        connection = connect(self.port, self.state / "pki")
        connection.sendall(http.request("POST", "/queryJobs", requests.write_jobs(of_job(job, Flag.HISTORY))))
        reader, answered = http.ResponseReader(), []
        while not answered:
            data = connection.recv(65536)
            self.assertTrue(data, "no answer")
            answered = reader.feed(data)
        connection.close()
        (found,) = results.read_jobs(answered[0].body).jobs
        assert found.status is not None
        history = json.loads(found.status.history or "[]")
        return [event["node"] for event in history if event["type"] == "Running"]

    def _wait_for(self, job: JobId, wanted: int) -> list[str]:
        """Ask until so many events are there; each question takes the server some time, so this is no busy loop."""
        give_up = monotonic() + PATIENCE
        while True:
            nodes = self._nodes(job)
            if len(nodes) >= wanted or monotonic() > give_up:
                return nodes

    def test_events_arrive(self) -> None:
        """What the logger takes, small or of 10 MB, arrives once and in order, under the name of its sender."""
        job = self._register()
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(b"".join(self._message(job, number) for number in range(1, 50)))
        large = running(50, "n" * 10_000_000, job=str(job), user=self.user)
        connection.sendall(dglog.message(large.encode()))
        came = iter(answers(connection))
        self.assertEqual([next(came) for _ in range(50)], [0] * 50)
        nodes = self._wait_for(job, 50)
        self.assertEqual(nodes[:49], [f"wn{number}" for number in range(1, 50)])
        self.assertEqual([len(node) for node in nodes[49:]], [10_000_000])
        connection.close()

    def test_bad_lines(self) -> None:
        """P5: lines that cannot be read are answered with their error; those beside them go on."""
        job = self._register()
        connection = connect(self.logger_port, self.state / "pki")
        unknown = running(2, job=str(job)).replace("Running", "Walking")
        connection.sendall(self._message(job, 1) + dglog.message(unknown.encode()) + dglog.message(b"garbage"))
        connection.sendall(self._message(job, 3) + b"HELLO, WORLD")
        self.assertEqual(list(answers(connection)), [0, 1402, 1401, 0, 22])
        self.assertEqual(self._wait_for(job, 2), ["wn1", "wn3"])
        connection.close()

    def test_refused_events(self) -> None:
        """P5: events that the server refuses for good go to quarantine with the reason; the others arrive."""
        job = self._register()
        stranger = jobid.create(f"localhost:{self.port}")
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(self._message(stranger, 1) + self._message(job, 2))
        came = iter(answers(connection))
        self.assertEqual([next(came), next(came)], [0, 0])
        self.assertEqual(self._wait_for(job, 1), ["wn2"])
        kept = self._quarantined()
        self.assertIn(str(stranger).encode(), kept)
        self.assertIn(b"job not registered", kept)
        connection.close()

    def _quarantined(self) -> bytes:
        """What is in quarantine, as soon as something is."""
        give_up = monotonic() + PATIENCE
        kept = b""
        while not kept and monotonic() < give_up:
            kept = b"".join(path.read_bytes() for path in self.state.rglob("quarantine/*") if path.is_file())
        return kept

    def test_server_away(self) -> None:
        """P2, P5: while the server is away the logger answers and keeps; afterwards everything arrives."""
        job = self._register()
        self.server.kill()
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(b"".join(self._message(job, number) for number in range(1, 20)))
        came = iter(answers(connection))
        self.assertEqual([next(came) for _ in range(1, 20)], [0] * 19)
        connection.close()
        self.server.start()
        self.assertEqual(self._wait_for(job, 19), [f"wn{number}" for number in range(1, 20)])

    def test_killed_anywhere(self) -> None:
        """P2, P3, P4: logger and server killed at random instants; every answered event is there once, in order."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        job = self._register()
        acknowledged = 0
        for _ in range(ROUNDS):
            if acknowledged == EVENTS - 1:
                break
            connection = connect(self.logger_port, self.state / "pki")
            connection.sendall(b"".join(self._message(job, number) for number in range(acknowledged + 1, EVENTS)))
            until = chance.randrange(1, 2 * EVENTS // ROUNDS)
            for count, answer in enumerate(answers(connection), 1):
                self.assertEqual(answer, 0, f"seed {seed}")
                acknowledged += 1
                if count == until or acknowledged == EVENTS - 1:
                    break
            victims = chance.choice([[self.logger], [self.server], [self.logger, self.server]])
            for victim in victims:
                victim.kill()
            connection.close()
            for victim in reversed(victims):
                victim.start()
        nodes = self._wait_for(job, acknowledged)
        self.assertEqual(nodes[:acknowledged], [f"wn{n}" for n in range(1, acknowledged + 1)], f"seed {seed}")
        self.assertEqual(len(nodes), len(set(nodes)), f"seed {seed}")
