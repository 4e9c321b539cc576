"""How values of ours stand in PostgreSQL columns, and how its errors are told.

Texts are the bytes that travelled: they may hold anything, and sort as bytes whatever the database's locale.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from lb.store.interface import StoreError
from lb.store.selection import INDEXED_TEXT

#: Bytes of a key of which there is an index; PostgreSQL refuses rows of an index with more than 2,700.
_KEY: Final = 1_000
_GREATEST: Final = (1 << 63) - 1

#: errno by SQLSTATE or its class.
_ERRNO: Final = {
    "08": errno.ENOTCONN,
    "25006": errno.EROFS,
    "28": errno.EACCES,
    "40": errno.EAGAIN,
    "42501": errno.EACCES,
    "53": errno.EAGAIN,
    "53100": errno.ENOSPC,
    "53200": errno.ENOMEM,
    "55": errno.EAGAIN,
    "57": errno.EAGAIN,
    "57P01": errno.ENOTCONN,
    "57P02": errno.ENOTCONN,
    "57P03": errno.ENOTCONN,
}
#: Classes that tell of what we asked for, not of the database: bad values, broken constraints, keys that are too long.
_MISTAKES: Final = ("22", "23", "54")


def to_bytes(text: str) -> bytes:
    """Any text of ours as a column holds it."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def to_key(text: str) -> bytes:
    """A text in a column that is looked up by its beginning."""
    return to_bytes(text)[:_KEY]


def optional(text: str | None) -> bytes | None:
    return None if text is None else to_bytes(text)


def sortable(value: Any) -> Any:
    """A number or a text as bytes of the same order, numbers before texts; of texts the beginning only."""
    if value is None:
        return None
    if isinstance(value, str):
        return b"\1" + to_bytes(value)[:INDEXED_TEXT]
    return b"\0" + (max(-_GREATEST - 1, min(int(value), _GREATEST)) + _GREATEST + 1).to_bytes(8)


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Rows as the lists of their columns, which `unnest` takes; `count` of columns."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


def store_error(error: psycopg.Error) -> StoreError | None:
    """What an error is for those who use the store; None for a mistake of ours."""
    state = error.sqlstate
    if state is None:
        code = errno.ENOTCONN
    elif state[:2] in _MISTAKES:
        return None
    else:
        code = _ERRNO.get(state) or _ERRNO.get(state[:2], errno.EIO)
    return StoreError(code, f"database: {str(error).strip() or type(error).__name__}")


@contextmanager
def reported() -> Iterator[None]:
    """PostgreSQL's trouble as `StoreError`; mistakes in what is asked of it stay what they are."""
    try:
        yield
    except MemoryError as error:
        raise StoreError(errno.ENOMEM, "database: not enough memory") from error
    except psycopg.Error as error:
        told = store_error(error)
        if told is None:
            raise
        raise told from error
