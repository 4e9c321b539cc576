"""Jobs of a selection in an order that no index of it gives: all jobs are gone through, and those in it picked out.

For selections too great to be sorted for each page. A statement looks at so few jobs that it takes milliseconds,
whether they are in the selection or not; nothing is held open between two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lb.store.dialect import Dialect

#: Jobs that one statement looks at: some 5 ms, whether each is looked up or they lie side by side.
_APART: Final = 1_000
_TOGETHER: Final = 10_000


class Picked(NamedTuple):
    """What tells the jobs of a selection: a condition on the value of a column in `indexed`, else on `jobs`.

    The condition must not be one that an index is chosen for: see `Dialect.aloof`.
    """

    condition: str
    parameters: list[Any]
    column: int | None = None


def by_unique_part(dialect: Dialect, picked: Picked, after: Any, most: int) -> Iterator[list[tuple[int, Any]]]:
    """Keys and unique parts of the jobs behind a unique part, at most so many at once, or none where none is near.

    Unique parts are as columns hold them.
    """
    column = [] if picked.column is None else [picked.column]
    statement = (
        f"SELECT j.id, j.unique_part FROM jobs j {'CROSS JOIN indexed i' if column else ''}"
        f" WHERE j.unique_part > ? AND j.unique_part <= ? {'AND i.job = j.id AND i.column_id = ?' if column else ''}"
        f" AND {picked.condition} ORDER BY j.unique_part LIMIT ?"
    )
    while True:
        ((end,),) = dialect.rows(
            f"SELECT {dialect.last_unique} FROM (SELECT unique_part FROM jobs WHERE unique_part > ?"
            " ORDER BY unique_part LIMIT ?) AS next",
            (after, _APART),
        )
        if end is None:
            return
        while after < end:
            found = dialect.rows(statement, (after, end, *column, *picked.parameters, most))
            after = found[-1][1] if len(found) == most else end
            yield found


def by_key(dialect: Dialect, picked: Picked, before: int, most: int) -> Iterator[tuple[list[int], int]]:
    """Keys of the jobs older than a key, newest first, at most so many at once, or none where none is near.

    With each the key behind which to go on.
    """
    column = [] if picked.column is None else [picked.column]
    key, table = ("job", dialect.indexed_by_job) if column else ("id", "jobs")
    statement = (
        f"SELECT {key} FROM {table} WHERE {key} < ? AND {key} >= ? {'AND column_id = ?' if column else ''}"
        f" AND {picked.condition} ORDER BY {key} DESC LIMIT ?"
    )
    while True:
        ((newest,),) = dialect.rows("SELECT max(id) FROM jobs WHERE id < ?", (before,))
        if newest is None:
            return
        before, end = newest + 1, newest + 1 - _TOGETHER
        while before > end:
            rows = dialect.rows(statement, (before, end, *column, *picked.parameters, most))
            before = rows[-1][0] if len(rows) == most else end
            yield [number for (number,) in rows], before
