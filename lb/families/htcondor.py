"""HTCondor's job event log as events: the text that a submit file's ``log`` command asks for.

An event is a head line with number, job id and time, further lines, and a line of three dots. Events of other kinds
than jobs', and kinds that are not known, are passed over and told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo
from typing import Final, NamedTuple

from lb.families.occurrence import Occurrence, PassedOver
from lb.families.times import read_iso, read_without_year
from lb.state.generic.description import Scalar

FAMILY: Final = "htcondor"

#: Longest event that is read, lines; job ads in a log have some hundreds.
MAX_LINES: Final = 10_000

_END: Final = "..."
_HEAD: Final = re.compile(
    r"(?P<number>\d{3}) \((?P<cluster>\d+)\.(?P<process>-?\d+)\.-?\d+\) "
    r"(?:(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?)"
    r"|(?P<yearless>\d\d/\d\d \d\d:\d\d:\d\d))"
    r"(?: (?P<text>.*))?",
    re.ASCII,
)
_HOST: Final = re.compile(r"<([^>]*)>?")
_ALIAS: Final = re.compile(r"[?&]alias=([^&>]+)")
_CODES: Final = re.compile(r"Code (-?\d+) Subcode (-?\d+)", re.ASCII)
_RETURNED: Final = re.compile(r"\(1\) Normal termination \(return value (-?\d+)\)", re.ASCII)
_SIGNALLED: Final = re.compile(r"\(0\) Abnormal termination \(signal (\d+)\)", re.ASCII)
_SIZE: Final = re.compile(r"Image size of job updated: (\d+)", re.ASCII)
_MEMORY: Final = re.compile(r"(\d+)\s+-\s+MemoryUsage of job \(MB\)", re.ASCII)
_DAG_NODE: Final = re.compile(r"DAG Node: (.*)")
_SLOT: Final = re.compile(r"SlotName: (.*)")
_TRANSFER: Final = re.compile(r"(Started|Finished) transferring (input|output) files")
_PHASES: Final = {"Started": "started", "Finished": "finished"}

_Given = dict[str, Scalar]


class _Body(NamedTuple):
    """What follows the time in the head line, and the lines after it without their indentation."""

    text: str
    lines: list[str]

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match in any line."""
        return next((found for line in (self.text, *self.lines) if (found := pattern.search(line))), None)

    def value(self, pattern: re.Pattern[str]) -> str | None:
        """The first group of the first match."""
        found = self.find(pattern)
        return found[1] if found else None

    def after(self, label: str) -> str | None:
        """What follows a label in a line of its own."""
        return next((line.removeprefix(label).strip() for line in self.lines if line.startswith(label)), None)

    @property
    def first(self) -> str | None:
        """The first line that says something."""
        return next((line for line in self.lines if line and not _CODES.match(line)), None)


def _nothing(body: _Body) -> _Given:
    return {}


def _host(body: _Body) -> str | None:
    """The name of a machine, as far as its address tells it."""
    address = body.value(_HOST)
    if address is None:
        return None
    alias = _ALIAS.search(address)
    return alias[1] if alias else address.partition("?")[0]


def _submit(body: _Body) -> _Given:
    return {"submit_host": _host(body), "dag_node": body.value(_DAG_NODE)}


def _execute(body: _Body) -> _Given:
    host = _host(body)
    return {"execute_host": host, "hosts": host, "slot": body.value(_SLOT)}


def _node_execute(body: _Body) -> _Given:
    host = _host(body)
    return {"execute_host": host, "hosts": host}


def _terminated(body: _Body) -> _Given:
    returned, signal = body.value(_RETURNED), body.value(_SIGNALLED)
    return {"normal": returned is not None, "return_value": returned, "signal": signal}


def _held(body: _Body) -> _Given:
    codes = body.find(_CODES)
    return {
        "reason": body.first,
        "hold_code": codes[1] if codes else None,
        "hold_subcode": codes[2] if codes else None,
    }


def _evicted(body: _Body) -> _Given:
    told = [line for line in body.lines if line and not line.startswith(("(", "Usr ")) and "  -  " not in line]
    return {"reason": next((line for line in told if not line.startswith("Partitionable Resources")), None)}


def _size(body: _Body) -> _Given:
    return {"image_size": body.value(_SIZE), "memory_usage": body.value(_MEMORY)}


def _reason(body: _Body) -> _Given:
    return {"reason": body.first}


def _reasoned_failure(body: _Body) -> _Given:
    return {"reason": body.first, "failures": body.first}


def _failure(body: _Body) -> _Given:
    return {"failures": body.first or body.text}


def _remote_error(body: _Body) -> _Given:
    """Starters also send mere messages this way."""
    return {"failures": body.first or body.text} if body.text.startswith("Error") else {}


def _removed(body: _Body) -> _Given:
    return {"remove_reason": body.first}


def _note(body: _Body) -> _Given:
    return {"note": body.text or None}


def _post_script(body: _Body) -> _Given:
    return {"dag_node": body.value(_DAG_NODE), "note": body.first}


def _preskip(body: _Body) -> _Given:
    return {"dag_node": body.value(_DAG_NODE)}


def _grid(body: _Body) -> _Given:
    return {"grid_resource": body.after("GridResource:")}


def _grid_submit(body: _Body) -> _Given:
    return {**_grid(body), "grid_job_id": body.after("GridJobId:")}


def _transfer(body: _Body) -> _Given:
    found = body.find(_TRANSFER)
    return {"transfer": f"{found[2]} {_PHASES[found[1]]}" if found else None, "execute_host": _host(body)}


#: Names of the kinds of events, and what is taken from each, by number.
_KINDS: Final[dict[int, tuple[str, Callable[[_Body], _Given]]]] = {
    0: ("submit", _submit),
    1: ("execute", _execute),
    2: ("executable_error", _failure),
    3: ("checkpointed", _nothing),
    4: ("job_evicted", _evicted),
    5: ("job_terminated", _terminated),
    6: ("image_size", _size),
    7: ("shadow_exception", _reasoned_failure),
    8: ("generic", _note),
    9: ("job_aborted", _removed),
    10: ("job_suspended", _nothing),
    11: ("job_unsuspended", _nothing),
    12: ("job_held", _held),
    13: ("job_released", _reason),
    14: ("node_execute", _node_execute),
    15: ("node_terminated", _nothing),
    16: ("post_script_terminated", _post_script),
    17: ("globus_submit", _nothing),
    18: ("globus_submit_failed", _failure),
    19: ("globus_resource_up", _nothing),
    20: ("globus_resource_down", _nothing),
    21: ("remote_error", _remote_error),
    22: ("job_disconnected", _reason),
    23: ("job_reconnected", _nothing),
    24: ("job_reconnect_failed", _reasoned_failure),
    25: ("grid_resource_up", _grid),
    26: ("grid_resource_down", _grid),
    27: ("grid_submit", _grid_submit),
    28: ("job_ad_information", _nothing),
    29: ("job_status_unknown", _nothing),
    30: ("job_status_known", _nothing),
    31: ("job_stage_in", _nothing),
    32: ("job_stage_out", _nothing),
    33: ("attribute_update", _note),
    34: ("preskip", _preskip),
    40: ("file_transfer", _transfer),
    41: ("reserve_space", _nothing),
    42: ("release_space", _nothing),
    43: ("file_complete", _nothing),
    44: ("file_used", _nothing),
    45: ("file_removed", _nothing),
    46: ("dataflow_job_skipped", _note),
}
#: Of whole clusters, and the mark of no event.
_NOT_OF_JOBS: Final = frozenset({35, 36, 37, 38, 39})


def convert(lines: Iterable[str], zone: tzinfo | None, now: int) -> Iterator[Occurrence | PassedOver]:
    """What the log tells, in its order.

    `zone`: of times that do not say theirs, None = this machine's; `now`, microseconds: logs without years end by then.
    """
    last: dict[str, tuple[int, int]] = {}  #: by job, time and number of its last event
    for at, head, body in _blocks(lines):
        if isinstance(body, str):
            yield PassedOver(at, body)
            continue
        found = _HEAD.fullmatch(head)
        if found is None:
            yield PassedOver(at, f"no head of an event: {head[:80]!r}")
            continue
        number = int(found["number"])
        if number in _NOT_OF_JOBS:
            yield PassedOver(at, f"event {number:03} is of no single job")
            continue
        if number not in _KINDS:
            yield PassedOver(at, f"event {number:03} is not known")
            continue
        yearless = found["yearless"]
        time = read_without_year(yearless, zone, now) if yearless else read_iso(found["time"], zone)
        if time is None:
            yield PassedOver(at, f"no such time: {yearless or found['time']}")
            continue
        job = f"{int(found['cluster'])}.{int(found['process'])}"
        name, take = _KINDS[number]
        given = take(_Body(found["text"] or "", body))
        if name == "submit":
            given = {"job_id": job, **given}
        before, count = last.get(job, (0, 0))
        count = count + 1 if before == time else 1
        last[job] = time, count
        yield Occurrence(job, name, time, count, given)


def _blocks(lines: Iterable[str]) -> Iterator[tuple[int, str, list[str] | str]]:
    """Number of the head line, the head line, and the lines of the body, or why there is none."""
    start, block = 1, list[str]()
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r\n")
        if line == _END:
            if block:
                yield start, block[0], [each.strip() for each in block[1:]]
            start, block = number + 1, []
        elif not block and not line.strip():
            start = number + 1
        elif len(block) < MAX_LINES:
            block.append(line)
    if block:
        yield start, block[0], "not ended yet"
