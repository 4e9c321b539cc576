"""Which store `--database` names, and how it is opened; a password in it is never shown."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lb.store.interface import Store, StoreError
from lb.store.sqlite import SQLiteStore

_POSTGRESQL = ("postgresql", "postgres")


class Database(NamedTuple):
    """A file of SQLite, or the address of a PostgreSQL database."""

    place: Path | str

    def __str__(self) -> str:
        if isinstance(self.place, Path):
            return str(self.place)
        parts = urlsplit(self.place)
        user, at, host = parts.netloc.rpartition("@")
        return f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}"

    def open(self) -> Store:
        """The store; raises `StoreError` when it cannot be had."""
        if isinstance(self.place, Path):
            return SQLiteStore(self.place)
        try:
            from lb.store.postgres import PostgresStore
        except ImportError as error:
            raise StoreError(errno.ENOSYS, f"psycopg cannot be used ({error}): pip install 'lb[postgresql]'") from None
        try:
            return PostgresStore(self.place)
        except StoreError as error:
            raise StoreError(error.code, f"{self}: {error}") from error


def read_database(url: str | None, state: Path) -> Database:
    """What an option says; without one it is a file in the state directory. Raises `ValueError`."""
    if url is None:
        return Database(state / "lb.sqlite")
    parts = urlsplit(url)
    if parts.scheme in _POSTGRESQL:
        return Database(url)
    if parts.scheme != "sqlite" or parts.netloc or len(parts.path) < 2:
        raise ValueError(
            f"{url}: give sqlite:///PATH, with four slashes for an absolute path, or postgresql://[USER@]HOST/NAME"
        )
    return Database(Path(parts.path[1:]))
