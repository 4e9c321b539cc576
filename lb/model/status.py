"""The job status record: what a query about a job answers (spec: model.md §8, status.json).

Attribute names are those of the wire. The class is written out for readers and type checkers;
a test keeps it equal to the packaged table, from which codecs and pages take types and codes.
"""

from __future__ import annotations

from enum import IntEnum
from importlib import resources
from typing import Any, Final

import msgspec


class State(IntEnum):
    """States of a job."""

    Undefined = 0
    Submitted = 1
    Waiting = 2
    Ready = 3
    Scheduled = 4
    Running = 5
    Done = 6
    Cleared = 7
    Aborted = 8
    Cancelled = 9
    Unknown = 10
    Purged = 11


#: Length of the lists that hold one number a state.
STATES: Final = len(State)

STATE_NAMES: Final[tuple[str, ...]] = tuple(state.name for state in State)
STATE_CODES: Final[dict[str, int]] = {state.name.lower(): int(state) for state in State}
TERMINAL: Final = frozenset({State.Cleared, State.Aborted, State.Cancelled, State.Purged})


class JobType(IntEnum):
    """Types of a job in its status; a RegJob event carries the same numbers plus one."""

    UNREGISTERED = -1
    SIMPLE = 0
    DAG = 1
    COLLECTION = 4
    PBS = 5
    CONDOR = 6
    CREAM = 7
    FILE_TRANSFER_COLLECTION = 8
    FILE_TRANSFER = 9
    VIRTUAL_MACHINE = 10


#: Types whose jobs have subjobs.
PARENT_TYPES: Final = frozenset({JobType.DAG, JobType.COLLECTION, JobType.FILE_TRANSFER_COLLECTION})


class JobStatus(msgspec.Struct, omit_defaults=True):
    """Status of one job. Times are microseconds since the epoch, 0 = never; absent text and lists are None.

    `children_hist` and `stateEnterTimes` hold one number a state, indexed by `State`;
    the latter in seconds. `user_tags` and the PBS resources are (name, value) pairs in order.
    """

    state: int = State.Undefined
    jobId: str | None = None
    owner: str | None = None
    jobtype: int = -1
    parent_job: str | None = None
    seed: str | None = None
    children_num: int = 0
    children: list[str] | None = None
    children_hist: list[int] | None = None
    children_states: list[JobStatus] | None = None
    condorId: str | None = None
    globusId: str | None = None
    localId: str | None = None
    jdl: str | None = None
    matched_jdl: str | None = None
    destination: str | None = None
    condor_jdl: str | None = None
    rsl: str | None = None
    reason: str | None = None
    location: str | None = None
    ce_node: str | None = None
    network_server: str | None = None
    subjob_failed: bool = False
    done_code: int = -1
    exit_code: int = 0
    resubmitted: bool = False
    cancelling: bool = False
    cancelReason: str | None = None
    cpuTime: int = -1
    user_tags: list[tuple[str, str]] | None = None
    stateEnterTime: int = 0
    lastUpdateTime: int = 0
    stateEnterTimes: list[int] = msgspec.field(default_factory=lambda: [0] * STATES)
    expectUpdate: bool = False
    expectFrom: str | None = None
    acl: str | None = None
    payload_running: bool = False
    possible_destinations: list[str] | None = None
    possible_ce_nodes: list[str] | None = None
    suspended: bool = False
    suspend_reason: str | None = None
    failure_reasons: str | None = None
    remove_from_proxy: bool = False
    ui_host: str | None = None
    user_fqans: list[str] | None = None
    sandbox_retrieved: int = 0
    jw_status: int = 0
    isb_transfer: str | None = None
    osb_transfer: str | None = None
    payload_owner: str | None = None
    access_rights: str | None = None
    history: str | None = None
    pbs_state: str | None = None
    pbs_substate: int = 0
    pbs_queue: str | None = None
    pbs_owner: str | None = None
    pbs_name: str | None = None
    pbs_reason: str | None = None
    pbs_scheduler: str | None = None
    pbs_dest_host: str | None = None
    pbs_pid: int = 0
    pbs_resource_requested: list[tuple[str, str]] | None = None
    pbs_resource_usage: list[tuple[str, str]] | None = None
    pbs_exit_status: int = 0
    pbs_error_desc: str | None = None
    condor_status: str | None = None
    condor_universe: str | None = None
    condor_owner: str | None = None
    condor_preempting: str | None = None
    condor_shadow_pid: int = 0
    condor_shadow_exit_status: int = 0
    condor_starter_pid: int = 0
    condor_starter_exit_status: int = 0
    condor_job_pid: int = 0
    condor_job_exit_status: int = 0
    condor_dest_host: str | None = None
    condor_reason: str | None = None
    condor_error_desc: str | None = None
    cream_state: int = -1
    cream_id: str | None = None
    cream_owner: str | None = None
    cream_endpoint: str | None = None
    cream_jdl: str | None = None
    cream_reason: str | None = None
    cream_failure_reason: str | None = None
    cream_lrms_id: str | None = None
    cream_node: str | None = None
    cream_done_code: int = -1
    cream_exit_code: int = -1
    cream_cancelling: bool = False
    cream_cpu_time: int = 0
    cream_jw_status: int = -1
    ft_compute_job: str | None = None
    ft_sandbox_type: int = -1
    ft_src: str | None = None
    ft_dest: str | None = None
    vm_state: int = -1
    vm_image: str | None = None
    vm_require: str | None = None
    vm_usage: str | None = None
    vm_hostname: str | None = None
    vm_machine: str | None = None
    vm_id: str | None = None
    vm_name: str | None = None
    vm_phy_hostname: str | None = None
    vm_system_halting: bool = False
    vm_manager: str | None = None


class StatusAttribute(msgspec.Struct, frozen=True):
    """One attribute of the status record, as the table describes it."""

    name: str
    type: str  #: string, jobid, int, bool, timeval, taglist, strlist, intlist or stslist
    null: int | None  #: value that is not sent
    structured: bool  #: sent as a list of elements after the others
    sent: bool  #: ever crosses the wire
    stored: bool  #: kept between events by the C server
    group: str
    codes: dict[str, int]
    display: tuple[str, ...]


def _attribute(raw: dict[str, Any]) -> StatusAttribute:
    null = raw["null"]
    return StatusAttribute(
        name=raw["name"],
        type=raw["type"],
        null=int(null) if null is not None else None,
        structured=raw["structured_xml"],
        sent=raw["in_xml"],
        stored=raw["stored"],
        group=raw["group"],
        codes=raw.get("codes", {}),
        display=tuple(raw.get("display", ())),
    )


_RAW: Final[dict[str, Any]] = msgspec.json.decode(resources.files("lb.model").joinpath("status.json").read_bytes())

#: Attributes in the order of the wire; the client-side cache of a parsed JDL is no attribute of ours.
ATTRIBUTES: Final[tuple[StatusAttribute, ...]] = tuple(
    _attribute(a) for a in _RAW["attributes"] if a["type"] != "cclassad"
)
BY_NAME: Final[dict[str, StatusAttribute]] = {a.name: a for a in ATTRIBUTES}

#: Long texts that a status carries only when asked for (flag `classadd`).
JDL_ATTRIBUTES: Final = ("jdl", "matched_jdl", "condor_jdl", "rsl")


def display(name: str, value: int) -> str:
    """The display text of a coded attribute, e.g. ``Simple`` for jobtype 0; empty when there is none."""
    texts = BY_NAME[name].display
    return texts[value] if 0 <= value < len(texts) else ""
