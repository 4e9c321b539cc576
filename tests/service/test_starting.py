"""Daemons that cannot start say why in one line."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from twisted.application.twist._options import TwistOptions
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase


class Refused(SynchronousTestCase):
    """What a daemon is told that makes no sense."""

    def test_options(self) -> None:
        """Under twistd and twist a wrong option is one line, not the list of all that there are, and exit code 1."""
        for runner in (ServerOptions, TwistOptions):
            for arguments, words in (
                (["lb", "--port", "x"], "twistd lb: --port x: give a number (twistd lb --help"),
                (["lb", "--bogus"], "twistd lb: option --bogus not recognized (twistd lb --help"),
                (["lb-logger", "--config", "absent.toml"], "twistd lb-logger: --config absent.toml: No such file"),
            ):
                ended = self.assertRaises(SystemExit, runner().parseOptions, arguments)
                self.assertIn(words, str(ended.code))
                self.assertNotIn("\n", str(ended.code))

    def test_port_taken(self) -> None:
        """A port that somebody else has is named in the log, with what to do, and the daemon ends."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            state = str(Path(self.mktemp()).absolute())
            command = [sys.executable, "-m", "twisted", "lb-logger", "--state-dir", state, "--port", port]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(
            done.stdout + done.stderr,
            rf"cannot listen on 127\.0\.0\.1 port {port}: Address already in use; stop what listens there, or choose",
        )

    def test_services(self) -> None:
        """So is what turns out to be wrong when a service is made, as a state directory that cannot be."""
        for name in ("lb", "lb-logger"):
            command = [sys.executable, "-m", "twisted", name, "--state-dir", "/dev/null/state"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"\Atwistd {name}: --state-dir /dev/null/state: [^\n]+\n\Z")
