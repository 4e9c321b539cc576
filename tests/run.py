"""The test run of ``make test``: each room of tests in a process of its own, two at a time, and one line that counts.

It must never end with success when a test failed, a process died, or nothing was tested.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests import orphans
from tests.peers.packages import ABSENT

HERE = Path(__file__).resolve().parent
OUTCOMES = ("passed", "skipped", "failed")  # from good to bad: the worst note of a test counts
SLOWEST = 10
ROOM_LIMIT = 1000  # seconds that a room may take: make test has twenty minutes
INTERRUPT_GRACE = 20  # seconds from an interrupt, which lets tests clean up, to the kill


class Room(NamedTuple):
    """Tests that run in one process: their names as trial takes them."""

    name: str
    names: tuple[str, ...]


@dataclass
class Tally:
    """What became of each test, by its id."""

    outcomes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many tests came out so."""
        return sum(1 for each in self.outcomes.values() if each == outcome)

    def add(self, test: str, outcome: str, remark: str = "") -> None:
        """Take an outcome in; a test keeps its worst."""
        known = self.outcomes.get(test, outcome)
        self.outcomes[test] = max(known, outcome, key=OUTCOMES.index)
        if remark:
            self.remarks.append(f"{test}: {remark}")

    def merge(self, other: "Tally") -> None:
        """Take all of another tally in."""
        for test, outcome in other.outcomes.items():
            self.add(test, outcome)
        self.seconds.update(other.seconds)
        self.remarks += other.remarks

    def __str__(self) -> str:
        return ", ".join(f"{self.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))


def rooms(top: Path = HERE) -> list[Room]:
    """All rooms below the tests' package, those with the most to read first: they mostly take the longest."""
    weights: dict[str, int] = {}
    for path in top.rglob("test_*.py"):
        weights.setdefault(path.relative_to(top).parts[0].removesuffix(".py"), 0)
        weights[path.relative_to(top).parts[0].removesuffix(".py")] += path.stat().st_size
    names = (f"{top.name}.{room}" for room in sorted(weights, key=lambda room: (-weights[room], room)))
    return [Room(name, (name,)) for name in names]


def tally(notes: Path, room: str, ending: str, *, complete: bool) -> Tally:
    """Count the notes of a room's process.

    ``ending`` says how the process ended; a test that it was in the middle of has failed, and so has the
    room if it did not end well. ``complete`` counts tests that miss their program as failed.
    """
    counted = Tally()
    running = ""
    for kind, test, detail in _read(notes):
        match kind:
            case "started":
                running = test
            case "ended":
                counted.seconds[test] = detail
                running = ""
            case "skipped" if complete and detail.startswith(ABSENT):
                counted.add(test, "failed", detail)
            case _:
                counted.add(test, kind)
    if ending:
        counted.add(running or room, "failed", f"the test process {ending}")
    elif not counted.outcomes:
        counted.add(room, "failed", "no test found")
    return counted


def _read(notes: Path) -> Iterator[tuple[str, str, object]]:
    """The notes up to where their process stopped writing."""
    if not notes.exists():
        return
    for line in notes.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def run_room(room: Room, directory: Path, limit: float, *, complete: bool, quiet: bool) -> tuple[Tally, str]:
    """Run a room in a process of its own; returns the tally and, if ``quiet``, what it printed."""
    place = directory / room.name
    place.mkdir(0o711)
    notes, printed = place / "notes", place / "printed"
    command = (sys.executable, "-m", "tests.worker", str(notes), str(place / "work"), *room.names)
    with printed.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=output if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            env={**os.environ, "TMPDIR": str(place), "PYTHONUNBUFFERED": "1"},
        )
        ending = _await(process, limit)
    return tally(notes, room.name, ending, complete=complete), printed.read_text(errors="replace")


def _await(process: "subprocess.Popen[bytes]", limit: float) -> str:
    """Wait for the process, not longer than the limit; how it ended, empty if well."""
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(INTERRUPT_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return f"was stopped after {limit:.0f} s"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}" if code else ""


def run_rooms(chosen: Sequence[Room], directory: Path, options: argparse.Namespace) -> Tally:
    """Run rooms, some at a time, print what each printed when it is done, and count."""
    complete = os.environ.get("CI", "") not in ("", "0", "false")
    quiet = len(chosen) > 1
    total = Tally()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {}
        for room in chosen:
            future = pool.submit(run_room, room, directory, options.limit, complete=complete, quiet=quiet)
            running[future] = room
        for done in concurrent.futures.as_completed(running):
            counted, printed = done.result()
            print(f"==== {running[done].name}\n{printed}" if quiet else printed, flush=True)
            total.merge(counted)
    return total


def _summary(total: Tally) -> Iterator[str]:
    """The closing lines, the count last."""
    slowest = sorted(total.seconds.items(), key=lambda item: -item[1])[:SLOWEST]
    yield f"==== {len(slowest)} slowest tests, seconds"
    yield from (f"{seconds:8.2f}  {test}" for test, seconds in slowest)
    failed = sorted(test for test, outcome in total.outcomes.items() if outcome == "failed")
    if failed:
        yield "==== failed"
        yield from failed
    yield from total.remarks
    yield str(total)


def main() -> int:
    """Exit code 0 when at least one test passed and none failed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="rooms at a time (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=ROOM_LIMIT, help="seconds for a room (default: %(default)s)")
    parser.add_argument("--failed", action="append", default=[], help="something that failed before; it is counted")
    parser.add_argument("names", nargs="*", help="packages, modules, classes or tests (default: all)")
    options = parser.parse_args()
    chosen = rooms() if options.names in ([], ["tests"]) else [Room("tests", tuple(options.names))]
    orphans.adopt()
    directory = Path(tempfile.mkdtemp(prefix="lb-tests-"))
    directory.chmod(0o711)  # a database server that root starts runs as somebody else
    total = run_rooms(chosen, directory, options)
    for process in orphans.end():
        total.add("tests", "failed", f"left a process running: {process}")
    for name in options.failed:
        total.add(name, "failed")
    if total.count("failed"):
        print(f"==== what the tests left is in {directory}")
    else:
        shutil.rmtree(directory)
    print("\n".join(_summary(total)), flush=True)
    return 0 if total.count("passed") and not total.count("failed") else 1


if __name__ == "__main__":
    sys.exit(main())
