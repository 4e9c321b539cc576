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
    except sqlite3.OperationalError as error:
        number = getattr(error, "sqlite_errorcode", None)
        code = _ERRNO.get(number & 0xFF, errno.EIO) if isinstance(number, int) else errno.EIO
        raise StoreError(code, f"database: {error}") from error


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
