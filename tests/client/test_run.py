"""The main job as `make run` starts it: real services, real streams."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pika
from twisted.trial.unittest import SynchronousTestCase

from lb import run
from tests.broker.brokers import PATIENCE, PIKA, unique
from tests.client.test_cli import lb
from tests.peers import rabbitmq


class MainJobTests(SynchronousTestCase):
    """``python -m lb.run``."""

    def run_once(self, state: str, **more: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "STATE": state, "ONCE": "1", "X509_USER_PROXY": "/nonexistent", **more}
        return subprocess.run(
            [sys.executable, "-m", "lb.run"],
            capture_output=True,
            text=True,
            env=environ,
            timeout=120,
            check=False,
        )

    def test_once(self) -> None:
        """It replays all samples, tells where the pages are, and leaves no process behind; a second time as well."""
        state = self.mktemp()
        for _ in range(2):
            done = self.run_once(state)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("3 jobs registered, 1952 events logged, all visible", done.stdout)
            for found in (r"Simple +Cleared", r"Simple +Aborted", r"78 Done, 22 Cleared", r"https://localhost:\d+/\n"):
                self.assertRegex(done.stdout, found)
            port = re.search(r"https://localhost:(\d+)/\n", done.stdout)
            assert port is not None
            with socket.socket() as probe:
                self.assertNotEqual(probe.connect_ex(("127.0.0.1", int(port[1]))), 0)
        self.assertEqual((Path(state) / "browser.p12").stat().st_mode & 0o777, 0o600)

    def test_unusable(self) -> None:
        """What keeps it from starting is one line and exit code 1."""
        done = self.run_once("/dev/null/state")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Arun: [^\n]+\n\Z")

    def test_broker(self) -> None:
        """A broker is known to both services; one that is away keeps them from nothing (P5)."""
        state = self.mktemp()
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            url = f"amqp://127.0.0.1:{nobody.getsockname()[1]}"
            self.assertEqual(self.run_once(state, BROKER=url).returncode, 0)
        for log in ("lb.log", "lb-logger.log"):
            self.assertIn("broker site", (Path(state) / log).read_text())

    def test_live_broker(self) -> None:
        """The README's session: printed commands work, an event comes over the broker by name, its state goes there."""
        state = Path(self.mktemp()).absolute()
        url = PIKA.text()
        environ = {**os.environ, "STATE": str(state), "ONCE": "", "X509_USER_PROXY": "/nonexistent", "BROKER": url}
        serving = subprocess.Popen([sys.executable, "-m", "lb.run"], stdout=subprocess.PIPE, text=True, env=environ)
        assert serving.stdout is not None
        self.addCleanup(serving.stdout.close)
        self.addCleanup(serving.wait)
        self.addCleanup(serving.send_signal, signal.SIGTERM)
        said = ""
        while "Serving until Ctrl-C." not in said:
            said += (line := serving.stdout.readline())
            self.assertTrue(line, said)
        port = re.search(r"https://localhost:(\d+)/\n", said)
        assert port is not None
        commands = re.search(r"Command line:\n(.*)Logs:", said, re.DOTALL)
        assert commands is not None
        listed = subprocess.run(["sh", "-ec", commands[1]], capture_output=True, text=True, timeout=PATIENCE)
        self.assertIn(f"https://localhost:{port[1]}/", listed.stdout, listed.stderr)
        around = {"LB_STATE_DIR": str(state), "GLITE_WMS_QUERY_SERVER": f"localhost:{port[1]}"}

        def done(*arguments: str) -> str:
            outcome = lb(*arguments, environ=around)
            self.assertEqual((outcome.code, outcome.stderr), (0, ""))
            return outcome.stdout

        topic = unique("grid.emi.me")
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", PIKA.broker.amqp_port)) as connection:
            channel = connection.channel()
            queue = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(queue, "amq.topic", topic)
            variables = dict(re.findall(r'(\w+)="(.*)"', done("register")))
            job = variables["EDG_JOBID"]
            done("notify", "new", "--job", job, "--address", f"x-msg://site/topic/{topic}")
            done(
                *("log", "Running", "--jobid", job, "--sequence", variables["EDG_WL_SEQUENCE"]),
                *("--source", "LogMonitor", "--node", "wn1", "--via", url, "/queue/lb.events"),
            )
            method, properties, body = next(channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE))
            assert method is not None, "nothing came"
            channel.cancel()
        told = json.loads(body)
        self.assertEqual((told["jobid"], properties.headers["lb-state"]), (job, "Running"))
        (event,) = [each for each in json.loads(done("events", job, "--json")) if each["type"] == "Running"]
        self.assertEqual(event["user"], told["ownerDn"])
        serving.send_signal(signal.SIGTERM)
        self.assertEqual(serving.wait(PATIENCE), 0)

    test_live_broker.skip = rabbitmq.absent  # type: ignore[attr-defined]

    def test_ports(self) -> None:
        """Ports that are taken are passed over."""
        base = run.free_base()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", base + 2))
            taken.listen()
            self.assertNotEqual(run.free_base(), base)
