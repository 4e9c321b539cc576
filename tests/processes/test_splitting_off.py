"""Daemons that twistd takes into the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from lb.wire import il
from tests.processes.daemon import PATIENCE, connect, free_port, replies
from tests.server.test_ingest import registration

_ME = "/O=LB Development/CN=Development User"


class SplittingOffTests(TestCase):
    """``twistd NAME`` without ``-n``: threads and locks are those of the process that goes on."""

    timeout = 2 * PATIENCE

    def setUp(self) -> None:
        """A directory and a port."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.port = free_port()

    def _twistd(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Start a daemon; returns when it is in the background, or has ended."""
        files = ["--pidfile", str(self.directory / f"{name}.pid"), "--logfile", str(self.directory / f"{name}.log")]
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *files, name]
        command += ["--state-dir", str(self.directory), *options]
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("X509_", "LB_"))}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE)

    async def _end(self, name: str) -> None:
        """End a daemon, and wait until it is gone: it removes its file."""
        file = self.directory / f"{name}.pid"
        os.kill(int(file.read_text()), signal.SIGTERM)
        await self._until(lambda: not file.exists())

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true; the test's time bounds it."""
        look = LoopingCall(lambda: look.stop() if true() else None)
        look.clock = reactor
        await look.start(0.05)

    async def test_server(self) -> None:
        """P1, P2: the server stores and answers from the background, and ends well."""
        started = self._twistd("lb", "--port", str(self.port))
        self.assertEqual(started.returncode, 0, started)
        with connect(self.port + 1, self.directory / "pki") as connection:
            job = f"https://localhost:{self.port}/abcdefghij"
            connection.sendall(il.frame(registration(job=job, user=_ME).encode()))
            self.assertEqual(next(iter(replies(connection))), il.OK)
        await self._end("lb")
        self.assertIn("Server Shut Down", (self.directory / "lb.log").read_text())

    async def test_logger(self) -> None:
        """The logger listens from the background, and ends well."""
        started = self._twistd("lb-logger", "--port", str(self.port))
        self.assertEqual(started.returncode, 0, started)
        connect(self.port, self.directory / "pki").close()
        await self._end("lb-logger")

    async def test_mistake(self) -> None:
        """Who started a daemon that cannot be is told why, though it has split off already."""
        (self.directory / "policy").write_text("nonsense")
        started = self._twistd("lb", "--port", str(self.port), "--policy", str(self.directory / "policy"))
        self.assertEqual(started.returncode, 1)
        self.assertIn("UsageError", started.stderr)
        # The child tells the one who waits for it first, and its log then.
        log = self.directory / "lb.log"
        await self._until(lambda: str(self.directory / "policy") in log.read_text())
