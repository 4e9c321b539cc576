"""``make bench [ROWS="store port,lock-step"]``: drives each path of the performance budget, prints a markdown table."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
from statistics import median
from time import perf_counter

from bench import alone, asking, collecting, collection, notifying, publishing, storing, tunnelling, whole_way
from bench.frame import HEADING, Row, line
from bench.site import site

ROWS: tuple[Row, ...] = (
    storing.STORE_PORT,
    whole_way.MANY_JOBS,
    whole_way.ONE_JOB,
    storing.LOCK_STEP,
    storing.REGISTRATIONS,
    asking.STATUS_QUERIES,
    storing.GREAT_EVENT,
    collection.SUBJOBS,
    collection.UNRELATED,
    notifying.LATENCY,
    notifying.BESIDE,
    notifying.CROWD,
    notifying.FROZEN,
    publishing.RABBITMQ,
    publishing.RABBITMQ_STOMP,
    publishing.ACTIVEMQ,
    tunnelling.RABBITMQ,
    tunnelling.RABBITMQ_STOMP,
    tunnelling.ACTIVEMQ,
    collecting.RABBITMQ,
    collecting.VOUCHED,
    collecting.RABBITMQ_STOMP,
    collecting.ACTIVEMQ,
    alone.FOLDING,
    alone.READING,
)


def selected(wanted: list[str]) -> list[Row]:
    """Rows by name; exits with the names there are for one that is none."""
    rows = {row.name: row for row in ROWS}
    if unknown := [name for name in wanted if name not in rows]:
        raise SystemExit(f"bench: no row {', '.join(unknown)}; there are: {', '.join(rows)}")
    return [rows[name] for name in wanted] or list(ROWS)


def machine() -> str:
    """What the numbers depend on besides us."""
    return (
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run, fsync {_fsync():.2g} ms, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def _fsync() -> float:
    """Median milliseconds of writing a page and having it on disk, where the daemons of the rows keep their state."""
    taken = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(100):
            begun = perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append((perf_counter() - begun) * 1000)
    return median(taken)


def main(arguments: list[str]) -> None:
    """Run the rows whose names are given, separated by commas, or all."""
    rows = selected([name.strip() for argument in arguments for name in argument.split(",") if name.strip()])
    print(f"{machine()}\n\n{HEADING}", flush=True)
    for row in rows:
        with site(row.daemons) as place:
            measured = row.run(place)
        print(line(row, measured), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
