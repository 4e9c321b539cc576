"""The pages as plain text for scripts: lines ``key=value`` in the order of the C server (spec: wire-web.md §2 to §9).

No value can make a line of its own: all are escaped, quoted ones as the C server quotes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from lb.model.errors import LBError
from lb.model.status import STATE_NAMES, JobStatus, display
from lb.web import rows
from lb.web.jobs import Figure, Related
from lb.web.rows import Form, Row
from lb.web.text import ctime, line, quoted


def _tags(pairs: Sequence[tuple[str, str]]) -> str:
    return ",".join(f'"{quoted(name)}={quoted(value)}"' for name, value in pairs)


def _histogram(counts: Sequence[int]) -> str:
    return ",".join(f"{name}={count}" for name, count in zip(STATE_NAMES, counts, strict=False))


_WRITERS: Final[dict[Form, Callable[[Any], str]]] = {
    Form.TEXT: line,
    Form.JOB: line,
    Form.NAME: line,
    Form.NUMBER: lambda value: str(int(value)),
    Form.YES_NO: lambda value: "YES" if value else "NO",
    Form.TIME: ctime,
    Form.LIST: lambda values: ",".join(map(line, values)),
    Form.TAGS: _tags,
    Form.HISTOGRAM: _histogram,
}
#: Facts about the server that are long texts.
_QUOTED: Final = frozenset({"authz_policy_file"})
#: Long texts after the rows: key, attribute, how it is written, whether the line is there without a value.
_TEXTS: Final[tuple[tuple[str, str, Callable[[str], str], bool], ...]] = (
    ("history", "history", quoted, True),
    ("jdl", "jdl", quoted, True),
    ("cream_jdl", "cream_jdl", quoted, False),
    ("rsl", "rsl", line, True),
)


def _row(row: Row, status: JobStatus) -> str:
    value = row.value(status)
    # The only code that is upper-case here (wire-web.md §5).
    if row.attribute == "ft_sandbox_type" and isinstance(value, str):
        value = value.upper()
    return f"{row.key}={'' if value is None else _WRITERS[row.form](value)}\n"


def job(status: JobStatus, related: Sequence[Related] = ()) -> str:
    """One job, and what it is connected to."""
    lines = [_row(row, status) for row in rows.of_job(status) if row.plain]
    if related:
        lines.append(f"related_jobs={','.join(map(_related, related))}\n")
    for key, attribute, write, always in _TEXTS:
        value: str | None = getattr(status, attribute)
        if value or always:
            lines.append(f"{key}={write(value or '')}\n")
    return "".join(lines)


def _related(one: Related) -> str:
    return f"{line(one.other)} {display('jobtype', one.type)} {one.status.name}"


def jobs_begin(found: Iterable[JobStatus]) -> str:
    """The beginning of a list of jobs, in the order in which they were found."""
    return f"User_jobs={_ids(found)}"


def jobs_next(found: Iterable[JobStatus]) -> str:
    """What comes next of it."""
    ids = _ids(found)
    return f",{ids}" if ids else ""


def jobs_end(subject: str) -> str:
    """Its end."""
    return f"\nUser_subject={line(subject)}\n"


def _ids(found: Iterable[JobStatus]) -> str:
    return ",".join(line(status.jobId or "") for status in found)


def error(reason: str, refused: LBError) -> str:
    """What went wrong; `reason` is the text of the status."""
    return f"Error={reason}\nCode={refused.code}\nDescription={line(str(refused))}\n"


def usage(figures: Iterable[Figure]) -> str:
    """Usage counters."""
    return "".join(f"{one.key}={one.number},{one.since}\n" for one in figures)


def configuration(facts: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """Facts about the server: key, label, values."""
    return "".join(f"{key}={','.join(map(quoted if key in _QUOTED else line, values))}\n" for key, _, values in facts)
