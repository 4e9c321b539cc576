"""P1 to P3 from outside: a server that is killed at any instant keeps what it has answered, once."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.wire import il
from tests.processes.asked import history
from tests.processes.daemon import Daemon, connect, free_port, replies
from tests.server.test_ingest import registration, running

EVENTS = 400


class Killed(SynchronousTestCase):
    """One server process after the other on the same state."""

    rounds = 12
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.port = free_port()
        self.server = Daemon("lb", self.state, "--port", str(self.port), *self.options)
        self.addCleanup(self.server.kill)

    def test_nothing_acknowledged_is_lost(self) -> None:
        """Killed in the middle of pipelined events, many times: what was answered is there, and nothing twice."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        self.server.start()
        user = self.server.user
        job = jobid.create(f"localhost:{self.port}")
        lines = [registration(job=str(job), user=user)]
        lines += [running(number, f"wn{number}", job=str(job), user=user) for number in range(1, EVENTS)]
        frames = [il.frame(line.encode()) for line in lines]
        acknowledged = 0
        for number in range(self.rounds):
            connection = connect(self.port + 1, self.state / "pki")
            # From a little before what is known to be stored, as a peer does that lost some answers.
            begin = max(0, acknowledged - chance.randrange(20))
            connection.sendall(b"".join(frames[begin:]))
            until = chance.randrange(1, 2 * EVENTS // self.rounds + 2)
            for count, reply in enumerate(replies(connection), 1):
                self.assertEqual(reply, il.OK, f"seed {seed} round {number}")
                acknowledged = max(acknowledged, begin + count)
                if count == until or begin + count == EVENTS:
                    break
            self.server.kill()
            connection.close()
            self.server.start()
        nodes = [event.get("node") for event in history(self.port, self.state / "pki", job)]
        self.assertEqual(nodes[:acknowledged], [None, *(f"wn{number}" for number in range(1, acknowledged))])
        self.assertEqual(len(nodes), len(set(nodes)), f"seed {seed}: an event is there twice")

    def test_stopped(self) -> None:
        """A server that is asked to stop answers what it has taken and starts again."""
        self.server.start()
        self.server.stop()
        self.assertIn(f"https://127.0.0.1:{self.port}/", self.server.start())

    def test_second_server(self) -> None:
        """A second server on the same state says why it cannot start."""
        self.server.start()
        second = Daemon("lb", self.state, "--port", str(free_port()), *self.options)
        self.addCleanup(second.kill)
        error = self.assertRaises(AssertionError, second.start)
        self.assertIn("another server has this database open", str(error))

    def test_port_in_use(self) -> None:
        """A port that is taken is named in the error."""
        self.server.start()
        second = Daemon("lb", Path(self.mktemp()).absolute(), "--port", str(self.port))
        self.addCleanup(second.kill)
        self.assertIn(str(self.port), str(self.assertRaises(AssertionError, second.start)))
