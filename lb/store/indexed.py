"""What is indexed of jobs, as every store keeps it: which columns, and when that has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lb.model.indexing import DEFAULT_INDICES, OWNER, Column, Index, from_title
from lb.model.status import JobStatus
from lb.store.columns import from_sql, to_sql

#: Name in `meta` of the configured indices.
META: Final = "indices"
_titles: Final = msgspec.json.Decoder(list[list[str]])


class Kept(NamedTuple):
    """A column with rows in `indexed`."""

    id: int
    column: Column


class IndexVersion:
    """Counts the changes of what is indexed: whoever keeps it in memory looks again when the number is another."""

    def __init__(self) -> None:
        self.number = 0


def configured(value: str | None) -> tuple[Index, ...]:
    """What is configured, of its text in `meta`; None: nobody has said anything."""
    if value is None:
        return DEFAULT_INDICES
    return tuple(tuple(from_title(from_sql(title)) for title in titles) for titles in _titles.decode(value))


def configuration(indices: Sequence[Index]) -> str:
    """The text in `meta`."""
    return json.dumps([[to_sql(column.title) for column in index] for index in indices])


def rows_of(
    jobs: Iterable[tuple[int, str, JobStatus]],
    kept: Sequence[Kept],
    value_of: Callable[[Any], Any],
    text: Callable[[str], Any],
) -> tuple[list[int], list[tuple[int, Any, Any, int]]]:
    """Keys of jobs, and their rows: column, value, unique part, key; `value_of` and `text` as the store holds them."""
    keys, rows = [], []
    for key, unique, status in jobs:
        keys.append(key)
        for id_, column in kept:
            value = value_of(column.value(status))
            if value is not None:
                rows.append((id_, value, text(unique), key))
    return keys, rows


def wanted_titles(indices: Sequence[Index]) -> list[str]:
    """Titles of the columns that need rows; the owner has a column of its own."""
    return list({column.title: None for index in indices for column in index if column != OWNER})
