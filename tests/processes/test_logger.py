"""P1 to P5 over the whole way: producer, logger, server, each killed at any instant."""

from __future__ import annotations

import random

from lb.model import jobid
from lb.wire import dglog
from tests.processes.daemon import connect
from tests.processes.house import House, answers
from tests.server.test_ingest import running

ROUNDS = 8
EVENTS = 240


class WholeWay(House):
    """Both daemons on one state directory, as `make run` starts them."""

    def test_events_arrive(self) -> None:
        """What the logger takes, small or of 10 MB, arrives once and in order, under the name of its sender."""
        job = self.register()
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(b"".join(self.message(job, number) for number in range(1, 50)))
        large = running(50, "n" * 10_000_000, job=str(job), user=self.user)
        connection.sendall(dglog.message(large.encode()))
        came = iter(answers(connection))
        self.assertEqual([next(came) for _ in range(50)], [0] * 50)
        nodes = self.wait_for(job, 50)
        self.assertEqual(nodes[:49], [f"wn{number}" for number in range(1, 50)])
        self.assertEqual([len(node) for node in nodes[49:]], [10_000_000])
        connection.close()

    def test_bad_lines(self) -> None:
        """P5: lines that cannot be read are answered with their error; those beside them go on."""
        job = self.register()
        connection = connect(self.logger_port, self.state / "pki")
        unknown = running(2, job=str(job)).replace("Running", "Walking")
        connection.sendall(self.message(job, 1) + dglog.message(unknown.encode()) + dglog.message(b"garbage"))
        connection.sendall(self.message(job, 3) + b"HELLO, WORLD")
        self.assertEqual(list(answers(connection)), [0, 1402, 1401, 0, 22])
        self.assertEqual(self.wait_for(job, 2), ["wn1", "wn3"])
        connection.close()

    def test_refused_events(self) -> None:
        """P5: events that the server refuses for good go to quarantine with the reason; the others arrive."""
        job = self.register()
        stranger = jobid.create(f"localhost:{self.port}")
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(self.message(stranger, 1) + self.message(job, 2))
        came = iter(answers(connection))
        self.assertEqual([next(came), next(came)], [0, 0])
        self.assertEqual(self.wait_for(job, 1), ["wn2"])
        kept = self.quarantined()
        self.assertIn(str(stranger).encode(), kept)
        self.assertIn(b"job not registered", kept)
        connection.close()

    def test_server_away(self) -> None:
        """P2, P5: while the server is away the logger answers and keeps; afterwards everything arrives."""
        job = self.register()
        self.server.kill()
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(b"".join(self.message(job, number) for number in range(1, 20)))
        came = iter(answers(connection))
        self.assertEqual([next(came) for _ in range(1, 20)], [0] * 19)
        connection.close()
        self.server.start()
        self.assertEqual(self.wait_for(job, 19), [f"wn{number}" for number in range(1, 20)])

    def test_killed_anywhere(self) -> None:
        """P2, P3, P4: logger and server killed at random instants; every answered event is there once, in order."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        job = self.register()
        acknowledged = 0
        for _ in range(ROUNDS):
            if acknowledged == EVENTS - 1:
                break
            connection = connect(self.logger_port, self.state / "pki")
            connection.sendall(b"".join(self.message(job, number) for number in range(acknowledged + 1, EVENTS)))
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
        nodes = self.wait_for(job, acknowledged)
        self.assertEqual(nodes[:acknowledged], [f"wn{n}" for n in range(1, acknowledged + 1)], f"seed {seed}")
        self.assertEqual(len(nodes), len(set(nodes)), f"seed {seed}")


class SmallServer(House):
    """A server that takes shorter messages than its logger."""

    server_options = ("--max-message", "1M")

    def test_too_long(self) -> None:
        """P5: an event that is too long for its server is refused, goes to quarantine, and stops none behind it."""
        job = self.register()
        connection = connect(self.logger_port, self.state / "pki")
        large = dglog.message(running(2, "n" * 30_000_000, job=str(job), user=self.user).encode())
        connection.sendall(self.message(job, 1) + large + self.message(job, 3))
        came = iter(answers(connection))
        self.assertEqual([next(came) for _ in range(3)], [0] * 3)
        self.assertEqual(self.wait_for(job, 2), ["wn1", "wn3"])
        self.assertIn(b"at most 1048576 are taken", self.quarantined()[:1000])
        connection.close()
