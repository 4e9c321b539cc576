"""Slurm's accounting as events: lines of ``sacct --parsable2`` (short ``-P``) with their heading.

Any fields may be asked for; ``JobID`` and ``State`` are needed, ``Submit``, ``Start`` and ``End`` make the history.
``--duplicates`` (``-D``) shows the earlier attempts of requeued jobs as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Final, NamedTuple

from lb.families.occurrence import Occurrence, PassedOver
from lb.families.times import read_iso
from lb.state.generic.description import Scalar
from lb.state.generic.loading import shipped

FAMILY: Final = "slurm"

#: The field that holds what users like to write, a separator among it.
_FREE: Final = "jobname"
_NOTHING: Final = frozenset({"", "none", "unknown", "none assigned", "n/a", "(null)"})
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)", re.ASCII)
_UNITS: Final = {unit: 1024**power for power, unit in enumerate(("", "K", "M", "G", "T", "P"))}
_EXIT: Final = re.compile(r"(\d+):(\d+)", re.ASCII)

#: Numbers of a job's events within one attempt.
_SUBMIT, _START, _END, _USAGE, _EVENTS = 1, 2, 3, 4, 4


class _Record(NamedTuple):
    """A line that was read: its place, and the fields that say something, by name in lower case."""

    line: int
    fields: dict[str, str]
    listed: frozenset[str]  #: all fields of the listing

    def get(self, *names: str) -> str | None:
        """The first of these fields that says something."""
        return next((self.fields[name] for name in names if name in self.fields), None)


class _Attempts:
    """Which attempt of its job a record tells: the number of restarts, else of submissions seen."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str | None]] = {}

    def number(self, job: str, record: _Record) -> int:
        restarts = record.get("restarts")
        if restarts is not None and restarts.isascii() and restarts.isdigit():
            return int(restarts)
        seen = self._seen.setdefault(job, [])
        submitted = record.get("submit")
        if submitted not in seen:
            seen.append(submitted)
        return seen.index(submitted)


def convert(lines: Iterable[str], zone: tzinfo | None, now: int) -> Iterator[Occurrence | PassedOver]:
    """What the lines tell, in their order.

    `zone`: of the times, which have none, None = this machine's; `now`: when the jobs were listed, microseconds, for
    states of which the listing does not tell since when.
    """
    attempts = _Attempts()
    last: tuple[str, int, int] | None = None  #: job, attempt and time that steps belong to
    largest: tuple[float, str] | None = None
    for read in _records(lines):
        if isinstance(read, PassedOver):
            yield read
            continue
        job, dot, _ = read.fields.get("jobid", "").partition(".")
        if dot:
            size = _size(read.get("maxrss"))
            if last is not None and last[0] == job and size is not None and (largest is None or size > largest):
                largest = size
            continue
        if last is not None and largest is not None:
            yield _usage(last, largest)
        last = largest = None
        state, _, by = read.fields.get("state", "").partition(" by ")
        problem = _problem(job, state)
        if problem is not None:
            yield PassedOver(read.line, problem)
            continue
        attempt = attempts.number(job, read)
        time = now
        for occurrence in _occurrences(job, attempt, state.upper(), by, read, zone, now):
            time = occurrence.time
            yield occurrence
        last = job, attempt, time
    if last is not None and largest is not None:
        yield _usage(last, largest)


def _problem(job: str, state: str) -> str | None:
    if not job:
        return "no JobID"
    if "[" in job:
        return f"{job}: tasks of the array are no jobs of their own yet"
    if state.upper() not in shipped()[FAMILY].states:
        return f"{job}: {state!r} is no state of Slurm" if state else f"{job}: no State"
    return None


def _records(lines: Iterable[str]) -> Iterator[_Record | PassedOver]:
    names: list[str] | None = None
    for number, line in enumerate(lines, 1):
        cells = line.rstrip("\r\n").split("|")
        if cells == [""]:
            continue
        lowered = [cell.strip().lower() for cell in cells]
        if names is None or lowered == names:
            if "jobid" not in lowered or "state" not in lowered:
                yield PassedOver(number, "no heading with JobID and State: list with sacct -P, without -n")
                return
            names = lowered
            continue
        surplus = len(cells) - len(names)
        if surplus > 0 and _FREE in names:
            place = names.index(_FREE)
            cells[place : place + surplus + 1] = ["|".join(cells[place : place + surplus + 1])]
        if len(cells) != len(names):
            yield PassedOver(number, f"{len(cells)} fields below a heading of {len(names)}")
            continue
        said = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        fields = {name: cell for name, cell in said.items() if cell.lower() not in _NOTHING}
        yield _Record(number, fields, frozenset(names))


def _occurrences(
    job: str, attempt: int, state: str, by: str, record: _Record, zone: tzinfo | None, now: int
) -> Iterator[Occurrence]:
    base = attempt * _EVENTS
    submitted, started, ended = (read_iso(record.get(name) or "", zone) for name in ("submit", "start", "end"))
    if submitted is not None:
        given: dict[str, Scalar] = {
            "job_id": job,
            "cluster": record.get("cluster"),
            "name": record.get("jobname"),
            "user": record.get("user"),
            "account": record.get("account"),
            "partition": record.get("partition"),
            "time_limit": record.get("timelimit"),
        }
        yield Occurrence(job, "submit", submitted, base + _SUBMIT, given)
    nodes = record.get("nodelist")
    # Jobs that never left the queue have a start in some versions, an expected one or that of their end, but no node.
    ran = nodes is not None if "nodelist" in record.listed else state not in ("PENDING", "CANCELLED")
    if started is not None and ran:
        given = {"nodes": nodes, "cpus": record.get("alloccpus", "ncpus"), "partition": record.get("partition")}
        yield Occurrence(job, "start", started, base + _START, given)
    terminal = shipped()[FAMILY].states[state].terminal
    covered = (state == "RUNNING" and started is not None and ran) or (state == "PENDING" and submitted is not None)
    if terminal and ended is not None:
        code = _EXIT.fullmatch(record.get("exitcode") or "")
        given = {
            "observed": state,
            "exit_code": int(code[1]) if code else None,
            "signal": int(code[2]) if code and code[2] != "0" else None,
            "reason": record.get("reason"),
            "cancelled_by": by or None,
            "elapsed": record.get("elapsed"),
        }
        yield Occurrence(job, "end", ended, base + _END, given)
    elif not covered:
        given = {"observed": state, "reason": record.get("reason"), "nodes": nodes}
        yield Occurrence(job, "state", now if ended is None else ended, base + _END, given)


def _size(text: str | None) -> tuple[float, str] | None:
    found = _SIZE.fullmatch(text or "")
    return (float(found[1]) * _UNITS[found[2]], found[0]) if found else None


def _usage(of: tuple[str, int, int], largest: tuple[float, str]) -> Occurrence:
    job, attempt, time = of
    return Occurrence(job, "usage", time, attempt * _EVENTS + _USAGE, {"max_rss": largest[1]})
