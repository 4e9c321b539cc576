"""Options of `twistd lb` that concern administration: tables that the server's options are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twisted.python import usage

from lb.bound import GIBIBYTE, Unit, bound
from lb.model.errors import LBError
from lb.server.admin.port import Places
from lb.server.admin.retention import read_ages
from lb.service.options import DaemonOptions, Repeated

PARAMETERS: Final[list[list[Any]]] = [
    ["purge-dir", None, None, "where purges leave their dumps (default: purge in the state directory)"],
    ["dump-dir", None, None, "where dumps are written (default: dump in the state directory)"],
    ["archive-dir", None, None, "where old jobs are moved, see retain (default: archive in the state directory)"],
    ["no-index", None, None, "who may ask without an index: 0 nobody, 1 administrators, 2 everybody (default: 0)"],
    [
        "count-statistics",
        None,
        None,
        "rates and durations of jobs: 0 not counted, 1 for administrators and GET_STATISTICS, 2 for all (default: 1)",
    ],
    [
        "count-server-stats",
        None,
        None,
        "use of the server, page ?stats: 0 not counted, 1 shown to everybody, 2 to administrators (default: 1)",
    ],
]
FLAGS: Final[list[list[Any]]] = [
    ["reuse-purged", None, "ids of purged jobs may be given again to who registers a new one exclusively"]
]
REPEATED: Final = {
    "retain": Repeated(
        "STATE=AGE: jobs that were in the state for longer (AGE with s, m, h, d) are moved to an archive; all=AGE:"
        " those in states not named (default: none is)",
        "=",
    )
}
_MODES: Final = ("0", "1", "2")


@dataclass(frozen=True)
class AdministrationLimits:
    """Bounds of administration."""

    answer_bytes: int = bound(
        "max-answer", GIBIBYTE, Unit.BYTES, "size of one answer of the main port; long ones wait on disk", least=1_024
    )
    retention_interval: float = bound(
        "retention-interval", 3_600.0, Unit.SECONDS, "time between two looks for jobs to be archived, see retain"
    )


def places(options: DaemonOptions) -> Places:
    """The directories."""
    names = (("purge-dir", "purge"), ("dump-dir", "dump"), ("archive-dir", "archive"))
    return Places(*(Path(options[option] or options.state / name).absolute() for option, name in names))


def mode(options: DaemonOptions, name: str, default: int) -> int:
    """The number of an option that is 0, 1 or 2."""
    text = str(options[name]) if options[name] is not None else str(default)
    if text not in _MODES:
        raise usage.UsageError(f"--{name} {text}: give 0, 1 or 2")
    return int(text)


def ages(options: DaemonOptions) -> tuple[int, ...] | None:
    """Seconds by state after which jobs are archived; None: none are."""
    try:
        return read_ages(options["retain"])
    except LBError as error:
        raise usage.UsageError(f"--retain {error.description}") from None
