"""One process of a test run: runs the tests of the given names with trial and notes each outcome in a file.

The notes are JSON lines, written as things happen, so that the one who counts knows where a dead process was.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from hypothesis import settings
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner


class NotingReporter(TreeReporter):
    """Trial's own output, and a note ``[kind, test id, detail]`` of each step beside it.

    Kinds: ``started``; ``passed``, ``failed`` and ``skipped`` (detail: the reason), of which a test may
    have several and the worst counts; ``ended`` (detail: seconds).
    """

    def __init__(self, notes: TextIO, *args: Any) -> None:
        super().__init__(*args)
        self._notes = notes
        self._started_at = 0.0

    def _note(self, kind: str, test: Any, detail: object = None) -> None:
        json.dump([kind, test.id(), detail], self._notes)
        self._notes.write("\n")
        self._notes.flush()

    def startTest(self, method: Any) -> None:
        self._note("started", method)
        self._started_at = time.monotonic()
        super().startTest(method)

    def stopTest(self, method: Any) -> None:
        super().stopTest(method)
        self._note("ended", method, round(time.monotonic() - self._started_at, 3))

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._note("passed", test)

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        super().addExpectedFailure(test, error, todo)
        self._note("passed", test)

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        super().addUnexpectedSuccess(test, todo)
        self._note("failed", test)

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._note("failed", test)

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._note("failed", test)

    def addSkip(self, test: Any, reason: Any) -> None:
        super().addSkip(test, reason)
        self._note("skipped", test, str(reason))


def main() -> None:
    """Run the tests named on the command line; their outcomes are in the notes, not in the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notes", type=Path)
    parser.add_argument("directory", help="where the tests run and leave their files")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    # How long an example takes says more about the machine than about the code.
    settings.register_profile("lb", deadline=None, print_blob=True)
    settings.load_profile("lb")
    with options.notes.open("w") as notes:
        suite = TestLoader().loadByNames(options.names, recurse=True)

        def reporter(*args: Any) -> NotingReporter:
            return NotingReporter(notes, *args)

        TrialRunner(reporter, workingDirectory=options.directory, stream=sys.stdout).run(suite)


if __name__ == "__main__":
    main()
