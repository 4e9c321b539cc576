"""Recorded streams through real daemons that die amid them, against a server that gets each line once, in order."""

from __future__ import annotations

import errno
import random
from collections import Counter
from importlib import resources
from pathlib import Path
from time import monotonic

from lb.client.blocking import Client
from lb.client.recording import Copy, read_file
from lb.client.settings import Address
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.status import State
from lb.security.identity import Identity
from lb.wire import dglog, il, ulm
from tests.processes.daemon import PATIENCE, connect, replies
from tests.processes.house import House, answers
from tests.server.fixture import Server
from tests.state.compare import as_object, differences

SAMPLES = ("job-typical", "job-resubmitted", "collection-100")
DEATHS = 4
#: Of a collection these are by the clock of the server, which logs its states itself.
_BY_THE_CLOCK = ("lastUpdateTime", "stateEnterTime", "stateEnterTimes")


class Replayed(House):
    """Both daemons and a producer that sends again what was not answered."""

    def setUp(self) -> None:
        super().setUp()
        with resources.as_file(resources.files("lb").joinpath("samples")) as samples:
            copies = [
                Copy(read_file(samples / f"{name}.ulm.xz"), f"localhost:{self.port}", self.user) for name in SAMPLES
            ]
        self.jobs = [job for copy in copies for job in copy.jobs]
        self.registrations = [ulm.write(event) for copy in copies for event in copy.registrations]
        self.events = [event for copy in copies for event in copy.events]
        self.client = Client(
            environ={"LB_STATE_DIR": str(self.state)},
            explicit={"query_server": Address("localhost", self.port)},
        )
        self.addCleanup(self.client.close)

    def _registered(self) -> None:
        connection = connect(self.port + 1, self.state / "pki")
        connection.sendall(b"".join(map(il.frame, self.registrations)))
        answered = replies(connection)
        self.assertEqual([next(iter(answered)) for _ in self.registrations], [il.OK] * len(self.registrations))
        connection.close()

    def _expected(self) -> Server:
        """What the daemons must come to."""
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory)
        self.addCleanup(server.close)
        lines = [*self.registrations, *map(ulm.write, self.events)]
        self.assertEqual(set(server.send_all(lines, Identity(self.user))), {il.OK})
        return server

    def _send(self, messages: list[bytes], most: int) -> int:
        """Send until so many are answered; returns how many were."""
        connection = connect(self.logger_port, self.state / "pki")
        connection.sendall(b"".join(messages))
        count = 0
        for answer in answers(connection):
            self.assertEqual(answer, 0)
            count += 1
            if count == most:
                break
        self.addCleanup(connection.close)
        return count

    def test_killed(self) -> None:
        """P2 to P4: each recorded event is there once and in its order, and the states are those of the streams."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        self._registered()
        messages = [dglog.message(ulm.write(event, user=False)) for event in self.events]
        done = 0
        for _ in range(DEATHS):
            left = len(messages) - done
            done += self._send(messages[done:], chance.randrange(1, max(2, 2 * left // (DEATHS + 1))))
            for victim in chance.choice([[self.logger], [self.server], [self.logger, self.server]]):
                victim.kill()
                victim.start()
        while done < len(messages):
            done += self._send(messages[done:], len(messages) - done)
        expected = self._expected()
        peer = Identity(self.user)
        self._wait(expected, peer)
        for job in self.jobs:
            theirs = expected.lookup.events_of(peer, job.unique)
            self.assertEqual(_told(self.client.events(job)), _told(theirs), f"seed {seed}: {job}")
            status, wanted = self.client.status(job), expected.status(str(job), "classadd+children+childstat", peer)
            ignored = {"history", *(_BY_THE_CLOCK if wanted.children_num else ())}
            self.assertEqual(differences(as_object(wanted), as_object(status), ignored), [], f"seed {seed}")
        states = Counter(State(self.client.status(job).state).name for job in self.jobs)
        self.assertEqual((states["Done"], states["Aborted"]), (79, 1))

    def _wait(self, expected: Server, peer: Identity) -> None:
        """Until the last event is there; others of its destination came before it."""
        last = self.events[-1].jobid
        wanted = len(expected.lookup.events_of(peer, last.unique))
        give_up = monotonic() + PATIENCE
        while self._number(last) < wanted:  # each question takes the server some time
            self.assertLess(monotonic(), give_up)

    def _number(self, job: JobId) -> int:
        try:
            return len(self.client.events(job))
        except LBError as error:  # a subjob has none before its first
            self.assertEqual(error.code, errno.ENOENT)
            return 0


def _told(events: list[Event]) -> list[tuple[str, int, str, dict[str, object]]]:
    """What producers said, in the order of the events; those of the server itself left out."""
    return [
        (event.type.name, event.timestamp, event.seqcode, dict(event.attributes))
        for event in events
        if event.type.name != "CollectionState"
    ]
