"""What the original tests do with commands, to a server and a logger as they are started by their users."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, NamedTuple

from lb import __version__
from lb.client.cli import COMMANDS
from lb.model.status import State
from lb.wire import http, ulm
from tests.client.test_cli import Outcome, lb
from tests.inventory.script import DONE, LIFE
from tests.processes.daemon import PATIENCE, connect
from tests.processes.house import House


class Job(NamedTuple):
    """A job and the code of its last event."""

    id: str
    code: str

    @property
    def unique(self) -> str:
        return self.id.rpartition("/")[2]


class Commands(House):
    """Both daemons, and the command that talks to them."""

    server_options: ClassVar[tuple[str, ...]] = ("--broker", "default=stomp://127.0.0.1:1")

    def setUp(self) -> None:
        super().setUp()
        self.environ = {
            "LB_STATE_DIR": str(self.state),
            "GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}",
            "GLITE_WMS_NOTIF_SERVER": f"localhost:{self.port}",
            "GLITE_WMS_LOG_DESTINATION": f"localhost:{self.logger_port}",
        }

    def lb(self, *arguments: str, code: int = 0) -> Outcome:
        """What a command did, which has to end with `code`."""
        outcome = lb(*arguments, environ=self.environ)
        self.assertEqual(outcome.code, code, outcome.stderr)
        return outcome

    def registered(self) -> Job:
        """A job, registered by the command."""
        told = self.lb("register").stdout
        code = re.search(r'(?m)^EDG_WL_SEQUENCE="([^"]+)"$', told)
        found = re.search(r"(?m)^new jobid: (\S+)$", told)
        assert found is not None
        assert code is not None
        return Job(found[1], code[1])

    def live(self, job: Job, steps: int, since: int = 0) -> Job:
        """So many of the events of a simple job; each gets the code that the last one printed."""
        for source, name, given, _ in LIFE[since:steps]:
            options = [text for key, value in given.items() for text in (f"--{key}", str(value))]
            command = ("log", name, "--jobid", job.id, "--sequence", job.code, "--source", source, *options)
            printed = self.lb(*command).stdout
            self.assertRegex(printed, r"\AUI=\d{6}:NS=\d{10}:\S+\n\Z")
            job = job._replace(code=printed.strip())
        return job

    def until(self, job: Job, state: str) -> None:
        """Wait until a job is in a state."""
        give_up = monotonic() + PATIENCE
        while self._state(job) != state:
            self.assertLess(monotonic(), give_up, self._state(job))

    def _state(self, job: Job) -> str:
        found: Any = self.lb("status", "--json", job.id).json
        return str((found[0] if isinstance(found, list) else found)["state"])

    def get(self, path: str) -> http.Response:
        """A page, asked for as a browser does."""
        connection = connect(self.port, self.state / "pki")
        head = f"GET {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nUser-Agent: test\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        reader, answered = http.ResponseReader(), list[http.Response]()
        while not answered:
            data = connection.recv(65536)
            self.assertTrue(data, "no answer")
            answered = reader.feed(data)
        connection.close()
        return answered[0]

    def test_installed(self) -> None:
        """The command is there, keys are private, ports are listened on, server and jobs are told of in documents.

        lb-test-binaries, lb-test-permissions 1 and 2, lb-test-server-local 2, lb-test-server-remote 2,
        lb-test-logger-local, lb-test-logger-remote, testSocket; lb-test-https 4, lb-test-ws 1, 2, 3 and 5,
        lb-test-notif-msg 2, check_srv_version.
        """
        script = Path(sysconfig.get_path("scripts"), "lb")
        self.assertTrue(os.access(script, os.X_OK))
        told = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
        for name in COMMANDS:
            self.assertIn(f"  {name} ", told)
        for path in (self.state / "pki").iterdir():
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(mode & 0o022, 0, path)
            if path.suffix == ".key":
                self.assertEqual(mode & 0o077, 0, path)
        for daemon, ports in (
            (self.server, (self.port, self.port + 1, self.port + 3)),
            (self.logger, (self.logger_port,)),
        ):
            for port in ports:
                socket.create_connection(("localhost", port), PATIENCE).close()
                self.assertIn(str(port), daemon.ready)
        self._documents()

    def test_logging(self) -> None:
        """Events that the logger took while the server was away, before it died itself, bring the job to its end.

        lb-test-job-registration 1, lb-test-logevent, lb-test-il-recovery 1.
        """
        job = self.registered()
        self.server.stop()
        job = self.live(job, len(LIFE))
        self.logger.kill()
        self.server.start()
        self.logger.start()
        self.until(job, "Cleared")
        lines = self.lb("events", "--ulm", job.id).stdout.splitlines()
        events = [ulm.parse(line.encode()) for line in lines]
        self.assertEqual([event.type.name for event in events], ["RegJob", *(name for _, name, _, _ in LIFE)])
        for line, event in zip(lines, events, strict=True):
            self.assertEqual(ulm.parse(ulm.write(event)), event, line)

    def _documents(self) -> None:
        """What is told of the server and of a job that has just been registered."""
        answer = self.get(f"/{'x' * 9_000}")
        self.assertEqual((answer.status, answer.body), (400, b"400 Bad Request\n"))
        facts = dict(line.partition("=")[::2] for line in self.get("/?configuration?text").body.decode().splitlines())
        self.assertEqual(facts["msg_brokers"].split(",")[0], "stomp://127.0.0.1:1")
        self.assertRegex(self.get("/?version").body.decode(), rf"\b{re.escape(__version__)}\b")
        unique = self.registered().unique
        state = json.loads(self.get(f"/api/v1/jobs/{unique}").body)
        self.assertEqual((state["state"], "done_code" in state), ("Submitted", False))
        self.assertIn("RegJob", self.get(f"/api/v1/jobs/{unique}/events").body.decode())

    def test_notifications(self) -> None:
        """What happened before the receiver came is told, so is what follows; a changed registration has its new job.

        lb-test-notif, lb-test-notif-recovery, lb-test-notif-switch, lb-test-notif-stream.
        """
        first, second, ended = (self.registered() for _ in range(3))
        ended = self.live(ended, DONE)
        self.until(ended, "Done")
        told = self.lb("notify", "new", "-j", first.id).stdout
        self.assertRegex(told, r"\Anotification ID: \S+\nvalid: '")
        stream = self.lb("notify", "new", "-j", ended.id, "-f", "256").stdout
        ids = [text.split()[2] for text in (told, stream)]
        first = self.live(first, 1)
        with subprocess.Popen(
            [sys.executable, "-m", "lb.client.cli", "notify", "receive", "-a", "127.0.0.1:0", *ids],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environ},
        ) as receiver:
            try:
                seen = self._seen(receiver, {(first.id, "Waiting"), (ended.id, "Done")})
                first = self.live(first, 7, 2)
                self._seen(receiver, {(first.id, "Ready")})
                self.lb("notify", "change", ids[0], second.id)
                self.live(first, DONE, 7)
                self.until(first, "Done")
                self.live(second, DONE)
                seen = self._seen(receiver, {(second.id, "Done")})
                self.assertNotIn((first.id, "Done"), seen)
            finally:
                receiver.send_signal(signal.SIGINT)
                receiver.communicate(timeout=PATIENCE)
        self.assertIn("Invalid", self.lb("notify", "drop", first.id, code=1).stderr)
        for id_ in ids:
            self.assertEqual(self.lb("notify", "drop", id_)[1:], ("", ""))

    def _seen(self, receiver: subprocess.Popen[str], wanted: set[tuple[str, str]]) -> list[tuple[str, str]]:
        """Jobs and states that are printed, until all that is wanted was there."""
        assert receiver.stdout is not None
        seen: list[tuple[str, str]] = []
        while not wanted.issubset(seen):
            line = receiver.stdout.readline()
            self.assertTrue(line, seen)
            job, state = line.split("\t")[:2]
            self.assertIn(state, State.__members__)
            seen.append((job, state))
        return seen
