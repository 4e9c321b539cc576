"""What a row of the table is: its function, what was measured, what the processes used meanwhile.

It knows nothing of daemons and paths, and writes the table in the form that docs/performance.md has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.site import Site

SERVER = "lb"
LOGGER = "lb-logger"
CLIENT = "client"
#: Columns of the table; other processes of a row stand in the last one.
_COLUMNS = (SERVER, LOGGER, CLIENT)
_TICK = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What a process used."""

    seconds: float  #: of CPU, user and system, children that ended included
    resident: int  #: bytes at the end
    peak: int  #: most bytes


def usage(pid: int) -> Usage:
    """What a process has used since it began, and the peak since `forget_peak`."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    sizes = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage(sum(map(int, times)) / _TICK, _bytes(sizes["VmRSS"]), _bytes(sizes["VmHWM"]))


def _bytes(size: str) -> int:
    return int(size.split()[0]) * 1024


def forget_peak(pid: int) -> None:
    """Let the peak of a process begin anew; where the kernel forbids it, peaks are those of its whole life."""
    with suppress(PermissionError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


class Measurement:
    """One run of a row."""

    def __init__(self) -> None:
        self.latencies: list[float] = []  #: milliseconds, one an item unless `items` says otherwise
        self.items: int | None = None
        self.seconds = 0.0
        self.used: dict[str, Usage] = {}

    @property
    def count(self) -> int:
        return len(self.latencies) if self.items is None else self.items

    def timed(self, count: int, one: Callable[[int], object]) -> None:
        """Do something `count` times, one after the other."""
        for number in range(count):
            begun = perf_counter()
            one(number)
            self.latencies.append((perf_counter() - begun) * 1000)


@contextmanager
def measuring(processes: Mapping[str, int]) -> Iterator[Measurement]:
    """Time, CPU and memory of processes, by name, while the block runs."""
    measurement = Measurement()
    for pid in processes.values():
        forget_peak(pid)
    before = {name: usage(pid) for name, pid in processes.items()}
    started = perf_counter()
    yield measurement
    measurement.seconds = perf_counter() - started
    for name, pid in processes.items():
        after = usage(pid)
        measurement.used[name] = after._replace(seconds=after.seconds - before[name].seconds)


class Row(NamedTuple):
    """A line of the table."""

    name: str  #: by which it is selected
    run: Callable[[Site], Measurement]
    daemons: tuple[str, ...]  #: those that run meanwhile, `SERVER` and `LOGGER`
    mark: str = ""  #: what must be reached


HEADING = (
    "| row | items | per second | first mark | p50 ms | p99 ms | CPU µs an item | server: CPU s, MB (peak)"
    " | logger: CPU s, MB (peak) | client: CPU s, MB (peak) | others |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)


def line(row: Row, measured: Measurement) -> str:
    """A row of the markdown table. The CPU an item is that of all processes but the client, if there are others."""
    latencies = sorted(measured.latencies)
    p50, p99 = (_at(latencies, share) for share in (0.5, 0.99))
    daemons = [used for name, used in measured.used.items() if name != CLIENT] or list(measured.used.values())
    cost = sum(used.seconds for used in daemons) / measured.count * 1e6
    columns = [_cell(measured.used.get(name)) for name in _COLUMNS]
    others = "; ".join(f"{name} {_cell(used)}" for name, used in measured.used.items() if name not in _COLUMNS)
    rate = _short(measured.count / measured.seconds)
    cells = [row.name, f"{measured.count:,}", rate, row.mark, p50, p99, _short(cost), *columns, others]
    return f"| {' | '.join(cells)} |"


def _at(ordered: list[float], share: float) -> str:
    return _short(ordered[int(len(ordered) * share)]) if ordered else ""


def _short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _cell(used: Usage | None) -> str:
    return "" if used is None else f"{used.seconds:.2f}, {used.resident >> 20} ({used.peak >> 20})"
