"""P2 to P4 from outside: server and receiver are killed at any instant, and every change is told, in its order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from lb.client.blocking import Client
from lb.client.notification import Registration
from lb.client.settings import Address
from lb.model import jobid
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Attribute, Condition, Flag, Group, Operator
from lb.security.names import slash_form
from lb.wire import il, notification
from tests.client.receiver import Receiver
from tests.processes.daemon import PATIENCE, Daemon, connect, free_port, replies
from tests.server.test_ingest import registration, running

EVENTS = 150
ROUNDS = 6


class NotificationTests(SynchronousTestCase):
    """A server process, a receiver as the C program has it, and events."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.port = free_port()
        self.server = Daemon("lb", self.state, "--port", str(self.port))
        self.addCleanup(self.server.kill)
        self.server.start()
        self.pki = self.state / "pki"
        self.user = slash_form(x509.load_pem_x509_certificate((self.pki / "user.pem").read_bytes()))
        self.job = jobid.create(f"localhost:{self.port}")
        self.environ = {"LB_STATE_DIR": str(self.state), "GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}"}
        self.client = Client(environ=self.environ, explicit={"query_server": Address("localhost", self.port)})
        self.addCleanup(self.client.close)

    def receiver(self) -> Receiver:
        made = Receiver(self.pki / "user.pem", self.pki / "user.key", self.pki / "ca.pem")
        self.addCleanup(made.close)
        return made

    def new(self, address: str, groups: tuple[Group, ...], flags: Flag = NO_FLAGS) -> Registration:
        async def ask(session):  # type: ignore[no-untyped-def]
            notifications = session.notifications
            return await notifications.new(notifications.new_id(), groups, address=address, flags=flags)

        made: Registration = self.client.run(ask)
        return made

    def of(self, job: JobId) -> tuple[Group, ...]:
        return ((Condition(Attribute.JOBID, Operator.EQUAL, job),),)

    def lines(self, count: int) -> Iterator[str]:
        yield registration(job=str(self.job), user=self.user)
        for number in range(1, count):
            yield running(number, f"wn{number}", job=str(self.job), user=self.user)

    def store(self, lines: list[str]) -> int:
        """Send events until the connection ends; returns how many were acknowledged."""
        connection = connect(self.port + 1, self.pki)
        connection.sendall(b"".join(il.frame(line.encode()) for line in lines))
        acknowledged = 0
        for reply in replies(connection):
            self.assertEqual(reply, il.OK)
            acknowledged += 1
            if acknowledged == len(lines):
                break
        connection.close()
        return acknowledged

    def nodes(self, receiver: Receiver, count: int) -> list[str]:
        """What the next notifications say of where the job runs."""
        return [receiver.receive().element("ce_node") for _ in range(count)]

    def test_delivered(self) -> None:
        """States arrive in the bytes of the protocol, each once while nobody dies; after Drop, none."""
        self.store(list(self.lines(1)))
        receiver = self.receiver()
        made = self.new(receiver.address, self.of(self.job), Flag.BOOTSTRAP)
        first = receiver.receive()
        self.assertEqual((first.notifid, first.jobid, first.state), (str(made.notifid), str(self.job), "Submitted"))
        found = notification.read(first.line)
        self.assertEqual((found.owner, found.expires), (self.user, made.valid))
        self.assertEqual(notification.write(found), first.line)
        self.store(list(self.lines(4))[1:])
        self.assertEqual(self.nodes(receiver, 3), ["wn1", "wn2", "wn3"])

        self.client.run(lambda session: session.notifications.drop(made.notifid))
        other = self.new(receiver.address, self.of(self.job))
        self.store([running(9, "wn9", job=str(self.job), user=self.user)])
        last = receiver.receive()
        self.assertEqual((last.notifid, last.element("ce_node")), (str(other.notifid), "wn9"))

    def test_listed(self) -> None:
        """lb notify list and show print what there is, and what the server says of it; others' are not shown."""
        made = self.new("127.0.0.1:1", self.of(self.job))
        self.assertEqual(self.lb("list"), (0, f"{made.notifid}\n"))
        code, shown = self.lb("show", str(made.notifid), "--json")
        facts = json.loads(shown)
        self.assertEqual(code, 0)
        self.assertEqual((facts["Notif_id"], facts["Owner"]), (str(made.notifid), self.user))
        self.assertEqual((facts["Destination"], facts["Job_id"]), ("127.0.0.1:1", self.job.unique))
        self.assertIn("\ndestination  127.0.0.1:1\n", self.lb("show", str(made.notifid))[1])
        self.client.run(lambda session: session.notifications.drop(made.notifid))
        self.assertEqual(self.lb("list"), (0, ""))
        self.assertEqual(self.lb("show", str(made.notifid))[0], 1)

    def lb(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of an action of lb notify."""
        command = [sys.executable, "-m", "lb.client.cli", "notify", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **self.environ}, timeout=PATIENCE, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def test_killed(self) -> None:
        """Server, receiver or both die amid changes: who binds again gets each at least once, in order."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        lines = list(self.lines(EVENTS))
        self.store(lines[:1])
        receiver = self.receiver()
        made = self.new(receiver.address, self.of(self.job))
        nodes: list[str] = []
        stored = 1
        for round_ in range(1, ROUNDS + 1):
            until = 1 + round_ * (EVENTS - 1) // ROUNDS
            self.store(lines[stored:until])
            stored = until
            nodes += self.nodes(receiver, chance.randrange(EVENTS // ROUNDS))
            die = chance.choice(("server", "receiver", "both"))
            if die != "receiver":
                self.server.kill()
            if die != "server":
                receiver.close()
                receiver = self.receiver()
            if die != "receiver":
                self.server.start()
            if die != "server":
                self.client.run(lambda session, to=receiver.address: session.notifications.bind(made.notifid, to))
        wanted = [f"wn{number}" for number in range(1, EVENTS)]
        while not nodes or nodes[-1] != wanted[-1]:
            nodes += self.nodes(receiver, 1)
        self.assertEqual(list(dict.fromkeys(nodes)), wanted, f"seed {seed}")

    def test_watch(self) -> None:
        """lb watch prints the present state and each change, is not disturbed by a server that dies, and drops."""
        self.store(list(self.lines(1)))
        command = [sys.executable, "-m", "lb.client.cli", "watch", str(self.job), "--json", "--every"]
        command += ["-a", "127.0.0.1:0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **self.environ}
        ) as watch:
            try:
                assert watch.stdout is not None

                def state() -> tuple[str, str | None]:
                    document = json.loads(watch.stdout.readline())["status"]  # type: ignore[union-attr]
                    return document["state"], document.get("ce_node")

                self.assertEqual(state(), ("Submitted", None))
                self.store(list(self.lines(2))[1:])
                self.assertEqual(state(), ("Running", "wn1"))
                self.server.kill()
                self.server.start()
                self.store([running(2, "wn2", job=str(self.job), user=self.user)])
                seen = state()
                while seen == ("Running", "wn1"):  # at least once
                    seen = state()
                self.assertEqual(seen, ("Running", "wn2"))
                watch.send_signal(signal.SIGINT)
                _, stderr = watch.communicate(timeout=PATIENCE)
            finally:
                watch.kill()
        self.assertEqual((watch.returncode, stderr), (130, "lb watch: interrupted\n"))
