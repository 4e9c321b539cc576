"""Tests of the SQLite store and of what stands on it, run on a private PostgreSQL server: a schema for each path."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from types import ModuleType

from lb.store import postgres as store
from lb.store.postgres import PostgresStore
from tests.peers import postgres

_numbers = count(1)


def url(schema: str) -> str:
    """Where a schema of the private server is."""
    return f"{postgres.shared().url}&options=-csearch_path%3D{schema}"


def fresh_schema() -> str:
    """The name of a new, empty schema."""
    schema = f"test_{os.getpid()}_{next(_numbers)}"
    postgres.shared().psql(f"CREATE SCHEMA {schema}")
    return schema


class OnPostgres:
    """Mixed into a test case: what opens an SQLite file in `modules` opens a schema instead."""

    skip = None if os.environ.get("CI") else postgres.absent
    modules: tuple[ModuleType, ...] = ()

    def setUp(self) -> None:
        self._schemas: dict[Path, str] = {}
        self._opened: list[PostgresStore] = []
        self.patch(store, "_LOCK_WAIT", "200ms")  # type: ignore[attr-defined]
        for module in self.modules:
            self.patch(module, "SQLiteStore", self.open)  # type: ignore[attr-defined]
        self.addCleanup(self._close_all)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]

    def open(self, path: Path) -> PostgresStore:
        opened = PostgresStore(url(self.schema(path)))
        self._opened.append(opened)
        return opened

    def schema(self, path: Path) -> str:
        """The schema that stands for a file."""
        path = path.absolute()
        if path not in self._schemas:
            self._schemas[path] = fresh_schema()
        return self._schemas[path]

    def _close_all(self) -> None:
        for opened in self._opened:
            opened.close()
