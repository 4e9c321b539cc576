"""What the C commands job_status, user_jobs and job_log print, for scripts that read it (spec: cli.md §2).

Only the form is decided here: nothing is asked, and nothing that a server sent acts on a terminal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from lb.client.cli.errors import one_line
from lb.client.cli.output import visible
from lb.model.errors import LBError, text_of
from lb.model.status import ATTRIBUTES, BY_NAME, PARENT_TYPES, STATE_NAMES, JobStatus, JobType, State
from lb.wire.documents import coded_name, state_name

_NULL: Final = "(null)"

#: Attributes in the order of the C command; between the parts stands what only parents or only other jobs have.
_FIRST: Final = ("state", "jobId", "owner", "payload_owner", "jobtype", "parent_job")
_OF_PARENTS: Final = ("seed", "children_num", "children")
_OF_OTHERS: Final = ("condorId", "globusId", "localId")
_REST: Final = (
    *("jdl", "matched_jdl", "destination", "network_server", "condor_jdl", "rsl", "reason", "location", "ce_node"),
    *("subjob_failed", "done_code", "exit_code", "resubmitted", "cancelling", "cancelReason", "cpuTime", "user_tags"),
    *("stateEnterTime", "stateEnterTimes", "lastUpdateTime", "expectUpdate", "expectFrom", "acl", "access_rights"),
    *("payload_running", "possible_destinations", "possible_ce_nodes", "suspended", "suspend_reason"),
    *("failure_reasons", "remove_from_proxy", "ui_host", "sandbox_retrieved", "jw_status", "isb_transfer"),
    *("osb_transfer", "ft_compute_job", "ft_sandbox_type", "ft_src", "ft_dest"),
)
#: What the attributes of a family's own begin with.
_FAMILIES: Final = {
    JobType.PBS: "pbs_",
    JobType.CONDOR: "condor_",
    JobType.CREAM: "cream_",
    JobType.VIRTUAL_MACHINE: "vm_",
}
#: States of a family's own, and what their codes begin with beside the word that is shown.
_STATES: Final = {"cream_state": "cream_", "vm_state": "vm_"}
#: Labels that are not the attribute's name.
_LABELS: Final = {"network_server": "network server", "access_rights": "access rights"}
#: What stands before a parent in the list of jobs.
_MARKS: Final = {JobType.DAG: "DAG   ", JobType.COLLECTION: "COLL  ", JobType.FILE_TRANSFER_COLLECTION: "COLL  "}


def add_compat(parser: argparse.ArgumentParser, command: str) -> None:
    """``--compat``."""
    parser.add_argument("--compat", action="store_true", help=f"print what the C command {command} prints")


def failure(prog: str, call: str, error: LBError) -> str:
    """The line on standard error: program, library call, what went wrong, and the server's words."""
    return one_line(f"{prog}: {call}: {text_of(error.code)} ({error.description})") + "\n"


def status_block(status: JobStatus, *, histogram: bool = False) -> str:
    """A state with the empty line before it; `histogram`: with the number of children in each state."""
    return "\n" + "".join(f"{line}\n" for line in _lines(status, histogram))


def jobs_list(jobs: Sequence[JobStatus]) -> str:
    """All jobs with their states, children below their parents, and how many there are."""
    listed = {job.jobId for job in jobs}
    children: dict[str | None, list[JobStatus]] = {}
    for job in jobs:
        if job.parent_job in listed:
            children.setdefault(job.parent_job, []).append(job)
    lines: list[str] = []
    for job in jobs:
        if job.parent_job in listed:
            continue
        lines.append(_MARKS.get(_type(job), "      ") + _in_list(job))
        lines += [f" `-       {_in_list(child)}" for child in children.get(job.jobId, ())]
    return "".join(f"{line}\n" for line in lines) + found(len(jobs), "jobs")


def ids_list(ids: Sequence[str]) -> str:
    """All jobs without their states."""
    return "".join(f"\t{visible(job)}\n" for job in ids) + found(len(ids), "jobs")


def found(number: int, what: str) -> str:
    """The last words of a list."""
    return f"\nFound {number} {what}\n"


def _in_list(job: JobStatus) -> str:
    code = _text(job, "done_code") if job.state == State.Done else ""
    return f"{_shown(job.jobId)} .... {state_name(job.state)} {code}"


def _type(job: JobStatus) -> JobType:
    try:
        return JobType(job.jobtype)
    except ValueError:
        return JobType.UNREGISTERED


def _lines(status: JobStatus, histogram: bool) -> Iterator[str]:
    kind = _type(status)
    parent = kind in PARENT_TYPES
    for name in (*_FIRST, *(_OF_PARENTS if parent else _OF_OTHERS)):
        yield from _attribute(status, name)
    if parent:
        if histogram:
            yield from _histogram(status)
        yield "children_states :"
        for child in status.children_states or ():
            yield from (f"\t{line}" for line in _lines(child, histogram))
    prefix = _FAMILIES.get(kind)
    own = [each.name for each in ATTRIBUTES if prefix is not None and each.name.startswith(prefix)]
    for name in (*_REST, *(name for name in own if name not in _REST)):
        yield from _attribute(status, name)


def _attribute(status: JobStatus, name: str) -> Iterator[str]:
    label = _LABELS.get(name, name)
    several = _SEVERAL.get(name)
    if several is None:
        yield f"{label} : {_text(status, name)}"
        return
    yield f"{label} :"
    yield from several(getattr(status, name))


def _text(status: JobStatus, name: str) -> str:
    if name == "state":
        return state_name(status.state)
    value: Any = getattr(status, name)
    attribute = BY_NAME[name]
    if value is None:
        return _NULL
    if isinstance(value, str):
        return _shown(value)
    if attribute.type == "timeval":
        return f"{value // 1_000_000}.{value % 1_000_000:06}"
    if not attribute.codes or isinstance(value, bool):
        return str(int(value))
    code = next((text for text, number in attribute.codes.items() if number == value), None)
    if code is None:
        return _NULL
    if name == "done_code":
        return f"DONE_CODE_{code}"
    if name in _STATES:
        return code.lower().removeprefix(_STATES[name])
    return str(coded_name(name, value))


def _shown(text: str | None) -> str:
    """The text as it is, tabs and line ends too, without what else would act on a terminal."""
    return _NULL if text is None else "\t".join(map(visible, text.split("\t")))


def _strings(values: list[str] | None) -> Iterator[str]:
    return (f"\t{_shown(value)}" for value in values or ())


def _children(values: list[str] | None) -> Iterator[str]:
    return (f"\tchildren : {_shown(value)}" for value in values or ())


def _pairs(values: list[tuple[str, str]] | None) -> Iterator[str]:
    return (f'         {_shown(name)} = "{_shown(value)}"' for name, value in values or ())


def _rights(value: str | None) -> Iterator[str]:
    return iter(_shown(value or "").splitlines())


def _times(values: list[int]) -> Iterator[str]:
    for state, seconds in zip(STATE_NAMES, values, strict=True):
        yield f"{state:>14}  {time.ctime(seconds)}" if seconds else f"{state:>14}     - not available -"


def _histogram(status: JobStatus) -> Iterator[str]:
    yield "children_hist :"
    for state, count in zip(STATE_NAMES, status.children_hist or [0] * len(STATE_NAMES), strict=True):
        yield f"{state:>14}  {count}"


#: Attributes that take several lines: how, by their types, and by their names.
_FORMS: Final[dict[str, Callable[[Any], Iterator[str]]]] = {"strlist": _strings, "taglist": _pairs}
_SEVERAL: Final[dict[str, Callable[[Any], Iterator[str]]]] = {
    **{each.name: _FORMS[each.type] for each in ATTRIBUTES if each.type in _FORMS},
    "children": _children,
    "access_rights": _rights,
    "stateEnterTimes": _times,
}
