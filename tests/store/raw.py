"""Statements past a store, for tests that look at its tables or damage them."""

from __future__ import annotations

from typing import Any

from lb.store.interface import Writer


def execute(writer: Writer, statement: str) -> Any:
    """Run a statement of either database outside of any transaction; its cursor."""
    connection = writer._connection if hasattr(writer, "_connection") else writer._session._connection  # type: ignore[attr-defined]
    return connection.execute(statement)


def read_only(writer: Writer, *, on: bool) -> None:
    """Have the database refuse to write, or take it back."""
    switch = "on" if on else "off"
    sqlite = hasattr(writer, "_connection")
    execute(writer, f"PRAGMA query_only = {switch}" if sqlite else f"SET default_transaction_read_only = {switch}")
