"""Processes that tests leave behind are found and ended."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

TOP = Path(__file__).resolve().parents[2]

LEAVING = """
import subprocess, sys
from tests import orphans
orphans.adopt()
subprocess.run(["sh", "-c", sys.argv[1]], check=True)
print("\\n".join(orphans.end(float(sys.argv[2]))))
"""


class OrphanTests(SynchronousTestCase):
    """Each in a process of its own, which is told to take over what others leave."""

    def leave(self, script: str, grace: float) -> str:
        """What was killed after a shell ran the script and ended."""
        command = [sys.executable, "-c", LEAVING, script, str(grace)]
        done = subprocess.run(command, cwd=TOP, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.stdout.strip()

    def test_killed(self) -> None:
        """A process left running, and what it started, are killed and named: its pipes close, or this would hang."""
        killed = self.leave("sh -c 'sleep 600; :' & sleep 601 &", 0.2)
        self.assertEqual(sorted(killed.splitlines()), ["sh -c sleep 600; :", "sleep 600", "sleep 601"])

    def test_ending(self) -> None:
        """A process that ends by itself in time is not one left running."""
        self.assertEqual(self.leave("sleep 0.1 &", 60), "")

    def test_none(self) -> None:
        """With nothing left there is nothing to wait for."""
        self.assertEqual(self.leave(":", 60), "")
