"""The test run counts right, whatever tests do, and never ends well when it should not."""

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import run
from tests.peers.packages import ABSENT

SAMPLE = f'''
import os, unittest
from twisted.trial.unittest import SynchronousTestCase, TestCase

class Good(SynchronousTestCase):
    def test_pass(self):
        pass
    def test_skip(self):
        raise unittest.SkipTest("not today")
    def test_todo(self):
        self.fail("known")
    test_todo.todo = "later"

class Bad(SynchronousTestCase):
    def test_fail(self):
        self.fail("no")
    def test_error_after_all(self):
        self.addCleanup(lambda: 1 / 0)
    def test_surprise(self):
        pass
    test_surprise.todo = "later"

class Wanting(SynchronousTestCase):
    skip = "{ABSENT} something"
    def test_it(self):
        pass

class Deadly(SynchronousTestCase):
    def test_exit(self):
        os._exit(3)

class Hanging(SynchronousTestCase):
    def test_forever(self):
        import signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pause()
'''


class TallyTests(SynchronousTestCase):
    """Counting from the notes of a test process."""

    def tally(self, *notes: tuple[str, str, object], ending: str = "", complete: bool = False) -> run.Tally:
        """Count notes."""
        path = Path(self.mktemp())
        path.write_text("".join(json.dumps(note) + "\n" for note in notes))
        return run.tally(path, "room", ending, complete=complete)

    def test_outcomes(self) -> None:
        """Each test counts once, with its worst outcome."""
        counted = self.tally(
            ("started", "a", None),
            ("passed", "a", None),
            ("ended", "a", 0.5),
            ("passed", "b", None),
            ("failed", "b", None),
            ("passed", "b", None),
            ("skipped", "c", "why not"),
        )
        self.assertEqual(str(counted), "1 passed, 1 failed, 1 skipped")
        self.assertEqual(counted.seconds, {"a": 0.5})

    def test_absent(self) -> None:
        """A test that misses its program is skipped for a person and fails where all must be there."""
        note = ("skipped", "a", f"{ABSENT} RabbitMQ")
        self.assertEqual(str(self.tally(note)), "0 passed, 0 failed, 1 skipped")
        self.assertEqual(str(self.tally(note, complete=True)), "0 passed, 1 failed, 0 skipped")

    def test_died(self) -> None:
        """A process that ended badly fails the test that it was in, else its room; half a note is no note."""
        passed = ("passed", "a", None)
        within = self.tally(("started", "a", None), ("ended", "a", 0), passed, ("started", "b", None), ending="died")
        self.assertEqual(within.outcomes, {"a": "passed", "b": "failed"})
        between = self.tally(("started", "a", None), passed, ("ended", "a", 0), ending="died")
        self.assertEqual(between.outcomes, {"a": "passed", "room": "failed"})
        path = Path(self.mktemp())
        path.write_text('["passed", "a", null]\n["passed", "b')
        self.assertEqual(run.tally(path, "room", "", complete=False).outcomes, {"a": "passed"})

    def test_nothing(self) -> None:
        """A room without tests, or one that wrote no notes, fails."""
        self.assertEqual(self.tally().outcomes, {"room": "failed"})
        missing = run.tally(Path(self.mktemp()), "room", "", complete=False)
        self.assertEqual(missing.outcomes, {"room": "failed"})

    def test_merge(self) -> None:
        """Tallies add up, and the worst outcome stays."""
        one, two = run.Tally(), run.Tally()
        one.add("a", "failed", "reason")
        two.add("a", "passed")
        two.add("b", "skipped", "reason")
        one.merge(two)
        self.assertEqual(one.outcomes, {"a": "failed", "b": "skipped"})
        self.assertEqual(one.remarks, ["a: reason", "b: reason"])

    def test_rooms(self) -> None:
        """Every room with tests is found, the one with the most to read first."""
        top = Path(self.mktemp()) / "tests"
        for path, text in {"a/test_x.py": "1", "b/deep/test_y.py": "12", "test_z.py": "", "c/other.py": "123"}.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text)
        self.assertEqual([room.name for room in run.rooms(top)], ["tests.b", "tests.a", "tests.test_z"])


class RunTests(SynchronousTestCase):
    """The whole, on a module of sample tests."""

    def setUp(self) -> None:
        """Put the sample where the run finds it, and what the run leaves where trial removes it."""
        self.place = Path(self.mktemp()).resolve()
        self.place.mkdir()
        (self.place / "sample.py").write_text(SAMPLE)

    def run_tests(self, *arguments: str, ci: str = "") -> tuple[int, list[str]]:
        """Exit code and printed lines of a run."""
        environment = {**os.environ, "PYTHONPATH": str(self.place), "TMPDIR": str(self.place), "CI": ci}
        done = subprocess.run(
            [sys.executable, "-m", "tests.run", *arguments],
            cwd=run.HERE.parent,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout.splitlines()

    def test_good(self) -> None:
        """Passed, skipped and expected to fail is success, the count is the last line, and nothing is left."""
        code, lines = self.run_tests("sample.Good")
        self.assertEqual((code, lines[-1]), (0, "2 passed, 0 failed, 1 skipped"))
        self.assertIn("==== 3 slowest tests, seconds", lines)
        self.assertEqual(list(self.place.glob("lb-tests-*")), [])

    def test_bad(self) -> None:
        """A failure, an error while cleaning up and an unexpected success are failures."""
        code, lines = self.run_tests("sample.Bad", "sample.Good")
        self.assertEqual((code, lines[-1]), (1, "2 passed, 3 failed, 1 skipped"))
        self.assertIn("sample.Bad.test_error_after_all", lines)

    def test_earlier_failure(self) -> None:
        """What failed before the tests makes the run fail and is counted."""
        code, lines = self.run_tests("--failed", "make check", "sample.Good.test_pass")
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("make check", lines)

    def test_absent(self) -> None:
        """A missing program is a failure in CI."""
        self.assertEqual(self.run_tests("sample.Wanting", "sample.Good.test_pass")[0], 0)
        code, lines = self.run_tests("sample.Wanting", "sample.Good.test_pass", ci="true")
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_only_skipped(self) -> None:
        """Nothing tested is no success."""
        code, lines = self.run_tests("sample.Good.test_skip")
        self.assertEqual((code, lines[-1]), (1, "0 passed, 0 failed, 1 skipped"))

    def test_unknown(self) -> None:
        """A name that does not exist is a failure."""
        code, lines = self.run_tests("sample.Missing")
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))

    def test_death(self) -> None:
        """A test that takes its process with it is named."""
        code, lines = self.run_tests("sample.Deadly")
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))
        self.assertIn("sample.Deadly.test_exit: the test process ended with 3", lines)

    def test_limit(self) -> None:
        """A test that hangs is stopped and named."""
        code, lines = self.run_tests("--limit", "2", "sample.Hanging")
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))
        self.assertIn("sample.Hanging.test_forever: the test process was stopped after 2 s", lines)
