"""The main job as `make run` starts it: real services, real streams."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb import run


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

    def test_ports(self) -> None:
        """Ports that are taken are passed over."""
        base = run.free_base()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", base + 2))
            taken.listen()
            self.assertNotEqual(run.free_base(), base)
