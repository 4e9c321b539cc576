"""Selection of rows, what is sampled of processes, the table."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.__main__ import ROWS, selected
from bench.frame import CLIENT, HEADING, SERVER, Measurement, Row, Usage, line, measuring
from bench.load import pipelined


class SelectionTests(SynchronousTestCase):
    """Rows by name."""

    def test_selected(self) -> None:
        """Named rows in the order of the names, all without any, an error that lists the names for an unknown one."""
        self.assertEqual([row.name for row in selected(["10 MB", "lock-step"])], ["10 MB", "lock-step"])
        self.assertEqual(selected([]), list(ROWS))
        self.assertIn("lock-step", str(self.assertRaises(SystemExit, selected, ["lockstep"])))

    def test_documented(self) -> None:
        """The table of docs/performance.md has the columns that are printed, and no row that is gone."""
        text = (Path(__file__).parents[2] / "docs/performance.md").read_text("utf-8")
        self.assertIn(HEADING, text)
        rows = re.findall(r"^\| ([^|]+?) \|", text.partition(HEADING)[2].strip().partition("\n\n")[0], re.MULTILINE)
        self.assertLessEqual(set(rows), {row.name for row in ROWS})
        self.assertIn("lock-step", rows)


class MeasurementTests(SynchronousTestCase):
    """What a row costs."""

    def test_used(self) -> None:
        """CPU is what was used within the block, memory what was held in it."""
        with measuring({CLIENT: os.getpid()}) as idle:
            pass
        with measuring({CLIENT: os.getpid()}) as busy:
            held = bytearray(b"x") * (32 << 20)
            begun = os.times().user
            while os.times().user - begun < 0.1:
                pass
        self.assertGreaterEqual(busy.used[CLIENT].seconds, 0.05)
        self.assertLess(idle.used[CLIENT].seconds, busy.used[CLIENT].seconds)
        self.assertGreaterEqual(busy.used[CLIENT].resident, len(held))
        self.assertGreaterEqual(busy.used[CLIENT].peak, busy.used[CLIENT].resident)

    def test_line(self) -> None:
        """A row has a cell a column; CPU an item is that of the daemons."""
        measured = Measurement()
        measured.latencies = [1.0] * 98 + [7.0, 9.0]
        measured.seconds = 0.5
        measured.used = {
            CLIENT: Usage(9.0, 1 << 20, 2 << 20),
            SERVER: Usage(0.02, 50 << 20, 60 << 20),
            "rabbitmq": Usage(0.01, 100 << 20, 110 << 20),
        }
        row: Any = Row("a row", lambda site: measured, (SERVER,), "150")
        cells = [cell.strip() for cell in line(row, measured).strip("|").split("|")]
        self.assertEqual(len(cells), HEADING.splitlines()[0].strip("|").count("|") + 1)
        self.assertEqual(cells[:7], ["a row", "100", "200", "150", "1", "9", "300"])
        self.assertEqual(cells[7:], ["0.02, 50 (60)", "", "9.00, 1 (2)", "rabbitmq 0.01, 100 (110)"])


class _Echo:
    """A peer that answers each byte; it keeps how many were unanswered at most."""

    def __init__(self) -> None:
        self.unanswered = 0
        self.most = 0

    def sendall(self, data: bytes) -> None:
        self.unanswered += len(data)
        self.most = max(self.most, self.unanswered)

    def __iter__(self) -> _Echo:
        return self

    def __next__(self) -> None:
        assert self.unanswered, "an answer is awaited to nothing"
        self.unanswered -= 1


class LoadTests(SynchronousTestCase):
    """How peers send."""

    def test_pipelined(self) -> None:
        """Every message has a latency, whole chunks or not, and a window bounds what is unanswered."""
        for count in (0, 1, 100, 4_321):
            peer: Any = _Echo()
            latencies = list(pipelined(iter([b"x"] * count), peer, peer))
            self.assertEqual(len(latencies), count)
            self.assertLessEqual(peer.most, 2_100)
