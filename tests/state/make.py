"""Events in the short hand of the state machine chapter, for tests that need a few of them."""

from __future__ import annotations

import re
from typing import Any

from lb.model.catalogue import BY_NAME, SOURCE_CODES, Attribute, Kind
from lb.model.event import Event, Value
from lb.model.jobid import JobId
from lb.model.seqcode import format_normal, format_pbs
from lb.state.fold import blank, step
from lb.state.job import Job

OWNER = "/CN=Alice"
JOB = JobId("lb.ex", 9000, "jobA")

_SOURCES = {
    "UI": "UserInterface",
    "NS": "NetworkServer",
    "WM": "WorkloadManager",
    "JC": "JobController",
    "LM": "LogMonitor",
    "APP": "Application",
    "LB": "LBServer",
    "CREAMI": "CREAMInterface",
    "CREAME": "CREAMExecutor",
}
_COUNTERS = "UNWBJLRAS"
_PBS_COUNTERS = ("c", "s", "d", "sm", "m")


def code(short: str) -> str:
    """``U2 N1`` as a sequence code; a text that is no such list stays as it is."""
    parts = [re.fullmatch(r"([UNWBJLRAS])(\d+)", part) for part in short.split()]
    if not parts or None in parts:
        return short
    counters = dict.fromkeys(_COUNTERS, 0) | {part[1]: int(part[2]) for part in parts if part}
    return format_normal(counters.values())


def pbs_code(short: str) -> str:
    """``c2 s1`` as a PBS sequence code."""
    counters = dict.fromkeys(_PBS_COUNTERS, 0)
    for part in short.split():
        counters[part.rstrip("0123456789")] = int(part.lstrip("csdm"))
    return format_pbs(counters.values())


def make(type_: str, source: str, seqcode: str, at: int = 0, /, *, of: JobId = JOB, **given: Any) -> Event:
    """An event `at` seconds; coded attributes by the name of their code, None for absent ones.

    Beside the attributes of the type, `user`, `host` and `src_instance` may be given.
    """
    event_type = BY_NAME[type_]
    common = {"user": OWNER, "host": "wms.ex"}
    common |= {key: given.pop(key) for key in ("user", "host", "src_instance") if key in given}
    return Event(
        event_type,
        of,
        timestamp=at * 1_000_000,
        source=_source(source),
        seqcode=code(seqcode),
        attributes={name: _value(event_type.by_name[name], text) for name, text in given.items() if text is not None},
        **common,
    )


def _source(name: str) -> int:
    return SOURCE_CODES[_SOURCES.get(name, name).lower()]


def _value(attribute: Attribute, given: Any) -> Value:
    if attribute.kind is Kind.CODED:
        return attribute.codes[given]
    if attribute.kind is Kind.LOGSRC:
        return _source(given)
    value: Value = given
    return value


def registered(jobtype: str = "SIMPLE", seqcode: str = "U1", source: str = "UI", at: int = 0, **given: Any) -> Event:
    """A registration."""
    usual = {"jdl": "[A]", "ns": "NS", "jobtype": jobtype, "nsubjobs": 0}
    return make("RegJob", source, seqcode, at, **(usual | given))


def played(*events: Event) -> Job:
    """A job after these events."""
    job = blank(events[0].jobid, OWNER)
    for event in events:
        step(job, event)
    return job


def running() -> list[Event]:
    """A SIMPLE job that runs on ``w1`` at ``CE1``: the rows 1 to 10 that the worked examples start with."""
    return [
        registered(),
        make("Accepted", "NS", "U2 N1", 5, **{"from": "UI", "from_host": "ui.ex"}),
        make("DeQueued", "WM", "U2 N2 W1", 11, queue="in.fl"),
        make("Match", "WM", "U2 N2 W2", 12, dest_id="CE1/q1"),
        make("EnQueued", "WM", "U2 N2 W3", 13, queue="out.fl", job="[M1]", result="OK"),
        make("DeQueued", "JC", "U2 N2 W4 J1", 14, queue="out.fl"),
        make("Transfer", "JC", "U2 N2 W4 J3", 15, destination="LM", dest_host="wms.ex", job="[C]", result="OK"),
        make("Accepted", "LM", "U2 N2 W4 J4 L1", 16, **{"from": "JC", "local_jobid": "condor.4"}),
        make("Transfer", "LM", "U2 N2 W4 J4 L3", 17, destination="LRMS", dest_host="CE1", job="[RSL]", result="OK"),
        make("Running", "LM", "U2 N2 W4 J4 L5", 18, node="w1"),
    ]
