"""Bounds as options: one table makes the command line, the file, the checks, the help and the examples (P10)."""

from __future__ import annotations

import importlib
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from lb.bound import Bound, Unit, bound, bounds_of
from lb.service.options import DaemonOptions

SIZE = Bound("most", 1 << 20, Unit.BYTES, "most of it", least=2, most=10)
EXAMPLES = Path(__file__).resolve().parents[2] / "conf"
TAPS = {"lb": "lb.server.tap", "lb-logger": "lb.logger.tap"}


@dataclass(frozen=True)
class Some:
    """Two bounds, as a daemon has them."""

    most: int = bound("most", 64 << 10, Unit.BYTES, "most of it", least=10, zero="no bound")
    wait: float = bound("wait", 1.5, Unit.SECONDS, "how long", least=0.5, most=9)


class Bounded(DaemonOptions):
    """A daemon with bounds."""

    bounds: ClassVar[tuple[type, ...]] = (Some,)


def chosen(*arguments: str, file: str = "", path: Path) -> Some:
    """The bounds that a daemon with these arguments and this file has."""
    path.write_text(file)
    options = Bounded()
    options.parseOptions([*arguments, "--config", str(path)])
    return options.limits(Some)


class Values(SynchronousTestCase):
    """What a bound may be."""

    def test_edges(self) -> None:
        """At the least and the greatest value a bound is taken, one beyond it is refused with the range."""
        for value in (2, 3, 9, 10, "2", "10"):
            self.assertEqual(SIZE.read(value), int(value))
        for value in (1, 11, "1", "11", -2, 0):
            error = self.assertRaises(ValueError, SIZE.read, value)
            self.assertEqual(str(error), "give a size in bytes, or with K, M, G, from 2 to 10")

    def test_units(self) -> None:
        """Sizes take suffixes, times fractions, counts neither; all are given back as numbers of the base unit."""
        size = replace(SIZE, most=None)
        seconds = replace(size, unit=Unit.SECONDS)
        count = replace(size, unit=Unit.COUNT)
        taken = [(size, "3K", 3 << 10), (size, "2M", 2 << 20), (size, "5G", 5 << 30), (size, 7.0, 7)]
        taken += [(seconds, "2.5", 2.5), (seconds, 3, 3.0), (count, "12", 12)]
        for kind, value, number in taken:
            self.assertEqual(kind.read(value), number)
        refused = [(size, "2.5"), (size, 2.5), (size, "3T"), (size, ""), (size, "-3"), (size, True), (size, [3])]
        refused += [(seconds, "inf"), (seconds, "nan"), (seconds, float("inf")), (seconds, "soon"), (count, "3K")]
        refused += [(count, 2.5), (count, float("inf")), (count, "9" * 5000), (count, None)]
        for kind, value in refused:
            self.assertRaises(ValueError, kind.read, value)

    def test_zero(self) -> None:
        """0 is taken where it is given a meaning, although it is below the least value; nothing between them is."""
        unbounded = replace(SIZE, zero="no bound")
        self.assertEqual(unbounded.read("0"), 0)
        self.assertRaises(ValueError, unbounded.read, "1")
        self.assertIn("or 0: no bound", unbounded.wanted)

    def test_help(self) -> None:
        """The help tells meaning, default and unit."""
        self.assertEqual(SIZE.help, "most of it (default: 1M bytes)")
        self.assertEqual(bounds_of(Some)["wait"].help, "how long (default: 1.5 s)")
        self.assertEqual(replace(SIZE, default=0, zero="no bound").help, "most of it (default: 0, no bound)")


class Given(SynchronousTestCase):
    """Bounds of a daemon."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_precedence(self) -> None:
        """The command line wins over the file, the file over the default."""
        self.assertEqual(chosen(path=self.path), Some())
        self.assertEqual(chosen("--wait", "2", file='most = "2K"\nwait = 3', path=self.path), Some(2048, 2.0))
        self.assertEqual(chosen(file="most = 0\nwait = 0.5", path=self.path), Some(0, 0.5))

    def test_mistakes(self) -> None:
        """A value that cannot be is refused with the place it stands in and what would be right."""
        for arguments, file, text in (
            (["--most", "9"], "", "--most 9: give a size in bytes, or with K, M, G, 10 or more, or 0: no bound"),
            ([], "most = 9", f"{self.path}: most = 9: give a size"),
            ([], "wait = true", f"{self.path}: wait = True: give one text or number"),
            ([], "wait = [1]", "give one text or number"),
            (["--wait", "9.5"], "", "--wait 9.5: give a number of seconds, from 0.5 to 9"),
        ):
            error = self.assertRaises(usage.UsageError, chosen, *arguments, file=file, path=self.path)
            self.assertIn(text, str(error))

    def test_examples(self) -> None:
        """The examples in conf/ show each bound of their daemon, with the default in force."""
        for name, tap in TAPS.items():
            options: Any = importlib.import_module(tap).Options
            shown = re.sub(r"(?m)^#([a-z].* = .*)$", r"\1", (EXAMPLES / f"{name}.toml").read_text())
            values = tomllib.loads(shown)
            for kind in options.bounds:
                for each in bounds_of(kind).values():
                    self.assertEqual(each.read(values[each.option]), each.default, each.option)

    def test_defaults_allowed(self) -> None:
        """Each default is a value that could be given, no two bounds of a daemon share an option."""
        for tap in TAPS.values():
            options: Any = importlib.import_module(tap).Options
            bounds = [each for kind in options.bounds for each in bounds_of(kind).values()]
            self.assertEqual(len({each.option for each in bounds}), len(bounds))
            for each in bounds:
                self.assertEqual(each.read(each.default), each.default)
