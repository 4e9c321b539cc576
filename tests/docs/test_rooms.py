"""Modules import downwards only, as the table of rooms in docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"\| (`lb/[^|]*) \| [^|]* \| ([^|]*) \|")
_NAME = re.compile(r"`([\w./]+)`")


def _rows() -> list[tuple[list[str], list[str]]]:
    """Paths of each row's rooms, and what these must not import, from the bottom of the house to its top."""
    text = (_ROOT / "docs/architecture.md").read_text("utf-8")
    return [(_NAME.findall(rooms), _NAME.findall(unknown)) for rooms, unknown in _ROW.findall(text)]


def _modules() -> dict[str, str]:
    """Path of each module of lb, by its name."""
    paths = (path.relative_to(_ROOT) for path in (_ROOT / "lb").rglob("*.py"))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path.as_posix() for path in paths}


def _imported(source: str, modules: dict[str, str]) -> Iterator[str]:
    """What a module imports, wherever in it: files of lb by their paths, others by their names."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            deeper = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in deeper]
        for name in names:
            yield modules.get(name, name.replace(".", "/"))


def _within(path: str, room: str) -> bool:
    return path == room or path.startswith(f"{room}/")


class RoomTests(SynchronousTestCase):
    """The import graph against the table."""

    def setUp(self) -> None:
        self.rows = _rows()
        self.rank = {room: rank for rank, (rooms, _) in enumerate(self.rows) for room in rooms}
        self.modules = _modules()

    def room(self, path: str) -> str:
        """The narrowest room that a file is in."""
        return max((room for room in self.rank if _within(path, room)), key=len, default="")

    def test_table(self) -> None:
        """Each module has a room, and each room of the table exists."""
        self.assertGreater(len(self.rows), 10)
        self.assertEqual([], [path for path in self.modules.values() if not self.room(path)])
        self.assertEqual([], [room for room in self.rank if not (_ROOT / room).exists()])

    def test_downwards(self) -> None:
        """No module imports from a row below its own, nor what its row says that it does not know."""
        wrong = []
        for path in self.modules.values():
            rank = self.rank[self.room(path)]
            for imported in _imported((_ROOT / path).read_text("utf-8"), self.modules):
                ours = self.room(imported)
                upwards = bool(ours) and self.rank[ours] > rank
                if upwards or any(_within(imported, unknown) for unknown in self.rows[rank][1]):
                    wrong.append(f"{path} imports {imported}")
        self.assertEqual([], wrong)
