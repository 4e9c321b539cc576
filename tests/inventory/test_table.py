"""The table of what the original suite checks, against the tests: neither may name what the other does not."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

_HERE = Path(__file__).resolve().parent
#: A script with or without lines: ``lb-l2 1 to 4``, ``lb-test-ws 1, 2, 3 and 5``, ``lb-test-https``.
_NAMED = r"\b(%s)((?:(?:,| to| and)? \d+)*)(?![\w-])"

Lines = dict[str, set[int]]


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads((_HERE / "inventory.toml").read_text())


@cache
def _docstrings() -> dict[str, str]:
    """The docstring of each test, by its id."""
    found = {}
    for path in _HERE.parent.glob("*/test_*.py"):
        module = f"tests.{path.parent.name}.{path.stem}"
        for group in ast.parse(path.read_text()).body:
            for each in group.body if isinstance(group, ast.ClassDef) else ():
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test"):
                    found[f"{module}.{group.name}.{each.name}"] = ast.get_docstring(each) or ""
    return found


def _range(text: str) -> set[int]:
    first, _, last = text.partition("-")
    return set(range(int(first), int(last or first) + 1))


def _named(docstring: str) -> Lines:
    """The lines that a docstring names; a script without lines means all of them."""
    found: Lines = defaultdict(set)
    names = "|".join(map(re.escape, sorted(_table(), key=len, reverse=True)))
    for script, lines in re.findall(_NAMED % names, docstring):
        ranges = re.sub(r"(\d+) to (\d+)", r"\1-\2", lines)
        numbers = re.findall(r"\d+(?:-\d+)?", ranges) or [f"1-{_table()[script]['lines']}"]
        found[script] |= set().union(*map(_range, numbers))
    return found


def _claimed() -> dict[str, Lines]:
    """The lines that the table gives to each test."""
    found: dict[str, Lines] = defaultdict(lambda: defaultdict(set))
    for script, entries in _table().items():
        for key, value in entries.items():
            if key != "lines" and not isinstance(value, dict):
                for test in [value] if isinstance(value, str) else value:
                    found[test][script] |= _range(key)
    return found


class Table(SynchronousTestCase):
    """`inventory.toml`."""

    def test_every_line(self) -> None:
        """Each line of each script has its tests, or the reason why it has none, once."""
        for script, entries in _table().items():
            numbers = [number for key in entries if key != "lines" for number in _range(key)]
            self.assertEqual(sorted(numbers), list(range(1, entries["lines"] + 1)), script)
            for key, value in entries.items():
                if isinstance(value, dict):
                    self.assertEqual((list(value), bool(value["reason"])), (["reason"], True), f"{script} {key}")
        self.assertEqual(sum(entries["lines"] for entries in _table().values()), 164)

    def test_named(self) -> None:
        """Each test in the table exists, and its docstring names the lines that it is there for."""
        for test, lines in _claimed().items():
            self.assertIn(test, _docstrings())
            named = _named(_docstrings()[test])
            for script, numbers in lines.items():
                self.assertLessEqual(numbers, named[script], f"{test}: {script}")

    def test_known(self) -> None:
        """Every script and line that any docstring names is one of the table."""
        for test, docstring in _docstrings().items():
            self.assertEqual(set(re.findall(r"\blb-test-[\w-]+", docstring)) - _table().keys(), set(), test)
            for script, numbers in _named(docstring).items():
                self.assertLessEqual(numbers, _range(f"1-{_table()[script]['lines']}"), f"{test}: {script}")
