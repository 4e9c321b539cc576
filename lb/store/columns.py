"""How values of ours stand in SQLite columns, and how its errors are told.

Used by every part of the SQLite store; holds no connection.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from lb.store.interface import StoreError

_ERRNO: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}
#: What is wrong with the file, and not with a statement, although SQLite's module does not call it operational.
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def to_sql(text: str) -> str:
    """Any text of ours as a column holds it: ISO-8859-1 view of its bytes."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def from_sql(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def optional(text: str | None, convert: Callable[[str], str]) -> str | None:
    """`convert` for what may be NULL."""
    return None if text is None else convert(text)


def json_texts(texts: Collection[str]) -> str:
    """Texts as the JSON list that a statement compares columns with."""
    return json.dumps([to_sql(text) for text in texts])


@contextmanager
def reported() -> Iterator[None]:
    """SQLite's trouble as `StoreError`; mistakes in statements stay what they are."""
    try:
        yield
    except MemoryError as error:
        raise StoreError(errno.ENOMEM, "database: not enough memory") from error
    except sqlite3.DatabaseError as error:
        number = getattr(error, "sqlite_errorcode", None)
        primary = number & 0xFF if isinstance(number, int) else None
        if not isinstance(error, sqlite3.OperationalError) and primary not in _DAMAGED:
            raise
        raise StoreError(_ERRNO.get(primary or 0, errno.EIO), f"database: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One durable transaction: everything inside, or nothing and a `StoreError`."""
    with reported():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
