"""P2 to P4 from outside: server and receiver are killed at any instant, and every change is told, in its order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator

from lb.client.blocking import Client
from lb.client.notification import Registration
from lb.client.settings import Address
from lb.model import jobid
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Attribute, Condition, Flag, Group, Operator
from lb.wire import il, notification
from tests.client.receiver import Receiver
from tests.processes.daemon import PATIENCE, connect, replies
from tests.processes.served import ServedTestCase
from tests.server.test_ingest import registration, running

EVENTS = 300
ROUNDS = 6
JOBS = 3


class NotificationTests(ServedTestCase):
    """A server process, a receiver as the C program has it, and events."""

    def setUp(self) -> None:
        super().setUp()
        self.user = self.server.user
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
        code, told = self.lb("show", str(made.notifid))
        self.assertEqual(code, 1)
        self.assertRegex(
            told, rf"\Alb notify: No such file or directory: {made.notifid}: no such registration[^\n]+\n\Z"
        )

    def lb(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of an action of lb notify."""
        command = [sys.executable, "-m", "lb.client.cli", "notify", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **self.environ}, timeout=PATIENCE, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def test_killed(self) -> None:
        """Server, a C receiver or both die amid a stream of changes: each is told at least once, in order per job."""
        self.stream(_CReceiver(self))

    def test_killed_process(self) -> None:
        """The same with lb notify receive, killed like the server: what it had printed or not comes, in order."""
        self.stream(_Receiving(self))

    def stream(self, receiver: _CReceiver | _Receiving) -> None:
        """Events of some jobs, a death at a random instant in each round, and what a receiver got of them."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        jobs = [jobid.create(f"localhost:{self.port}") for _ in range(JOBS)]
        self.store([registration(job=str(job), user=self.user) for job in jobs])
        changes = [(str(chance.choice(jobs)), f"wn{number}") for number in range(1, EVENTS)]
        lines = [running(number, node, job=job, user=self.user) for number, (job, node) in enumerate(changes, 1)]
        mine = (Condition(Attribute.OWNER, Operator.EQUAL, None),)
        receiver.listen()
        made = self.new(receiver.address, (mine,))
        receiver.bind(made.notifid)
        stored = 0
        told: dict[tuple[str, str], None] = {}
        for round_ in range(1, ROUNDS + 1):
            until = round_ * len(lines) // ROUNDS
            connection = connect(self.port + 1, self.pki)
            connection.sendall(b"".join(il.frame(line.encode()) for line in lines[stored:until]))
            came = iter(replies(connection))
            for _ in range(chance.randrange(until - stored)):
                self.assertEqual(next(came), il.OK)
                stored += 1
            enough = chance.randint(len(told), stored)
            while len(told) < enough:
                told[receiver.next()] = None
            die = chance.choice(("server", "receiver", "both"))
            if die != "receiver":
                self.server.kill()
            if die != "server":
                told |= dict.fromkeys(receiver.kill())
            stored += sum(1 for reply in came if reply == il.OK) if die != "receiver" else 0
            connection.close()
            if die != "receiver":
                self.server.start()
            if die != "server":
                receiver.listen()
                receiver.bind(made.notifid)
        if stored < len(lines):
            self.store(lines[stored:])  # also what came, but was not answered
        while len(told) < len(changes):
            told[receiver.next()] = None
        for job in map(str, jobs):
            self.assertEqual(
                [node for of, node in told if of == job], [node for of, node in changes if of == job], f"seed {seed}"
            )

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


class _CReceiver:
    """A receiver as the C library has it; a new one is bound to the registration."""

    def __init__(self, test: NotificationTests) -> None:
        self._test = test

    def listen(self) -> None:
        self._receiver = self._test.receiver()

    @property
    def address(self) -> str:
        return self._receiver.address

    def bind(self, identity: JobId) -> None:
        self._test.client.run(lambda session: session.notifications.bind(identity, self.address))

    def next(self) -> tuple[str, str]:
        """Job and node of the next notification."""
        found = self._receiver.receive()
        return found.jobid, found.element("ce_node")

    def kill(self) -> list[tuple[str, str]]:
        """Die; what it had is known already."""
        self._receiver.close()
        return []


class _Receiving:
    """``lb notify receive``, which binds itself."""

    #: Nobody is there before it binds.
    address = "127.0.0.1:9"

    def __init__(self, test: NotificationTests) -> None:
        self._test = test
        self._process: subprocess.Popen[str] | None = None
        test.addCleanup(self.kill)

    def listen(self) -> None:
        """There is nothing to listen on yet."""

    def bind(self, identity: JobId) -> None:
        command = [sys.executable, "-m", "lb.client.cli", "notify", "receive", str(identity), "--json"]
        command += ["-a", "127.0.0.1:0"]
        environ = {**os.environ, **self._test.environ}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        )
        assert self._process.stderr is not None
        self._test.assertIn("notification is valid until", self._process.stderr.readline())

    def next(self) -> tuple[str, str]:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._read(self._process.stdout.readline())

    def kill(self) -> list[tuple[str, str]]:
        """Die; the result is what it had printed."""
        process, self._process = self._process, None
        if process is None:
            return []
        process.kill()
        with process:
            assert process.stdout is not None
            return [self._read(line) for line in process.stdout if line.endswith("\n")]

    @staticmethod
    def _read(line: str) -> tuple[str, str]:
        status = json.loads(line)["status"]
        return status["jobId"], status["ce_node"]
