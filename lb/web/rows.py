"""The attributes of a job in the order of its page, each with its key, its label and its form (spec: wire-web.md §5).

Plain text and HTML walk over this one table. What a value looks like in either is said there, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from lb.model.status import PARENT_TYPES, STATE_NAMES, JobStatus, JobType, display

#: What a row has to show: text, a number, a time in microseconds, a list, (name, value) pairs.
Value = str | int | Sequence[str] | Sequence[tuple[str, str]]


class Form(Enum):
    """How the value of a row is written."""

    TEXT = "text"
    JOB = "job id"
    NAME = "display name of a code"
    NUMBER = "number"
    YES_NO = "YES or NO"
    TIME = "time"
    LIST = "list"
    TAGS = "names with values"
    HISTOGRAM = "number for each state"


class Section(Enum):
    """Parts of the HTML page."""

    JOB = "Job"
    PROGRESS = "Progress"
    PLACE = "Place"
    RESULT = "Result"
    CHILDREN = "Children"
    CREAM = "CREAM"
    TRANSFER = "File transfer"
    MACHINE = "Virtual machine"
    PBS = "PBS"
    CONDOR = "Condor"
    ACCESS = "Access"
    TAGS = "Tags"


class Row(msgspec.Struct, frozen=True):
    """One attribute.

    `null`: the value that counts as none. `types`: the row is there for jobs of these types only. `droppable`: the row
    is left out, not empty, when there is no list. `plain`: part of the plain text too.
    """

    key: str
    label: str
    attribute: str
    section: Section
    form: Form = Form.TEXT
    null: Any = None
    types: frozenset[int] | None = None
    droppable: bool = False
    plain: bool = True

    def applies(self, status: JobStatus) -> bool:
        """Whether a job has this row, be it empty."""
        if self.types is not None and status.jobtype not in self.types:
            return False
        return not self.droppable or getattr(status, self.attribute) is not None

    def value(self, status: JobStatus) -> Value | None:
        """What the row shows of a job; None when that is nothing."""
        value = getattr(status, self.attribute)
        if self.form is Form.NAME:
            return _name(self.attribute, value) or None
        if value is None or value == "" or (value == self.null and self.form is not Form.YES_NO):
            return None
        shown: Value = value
        return shown


def _name(attribute: str, code: int) -> str:
    if attribute == "state":
        return STATE_NAMES[code] if 0 <= code < len(STATE_NAMES) else str(code)
    return display(attribute, code) or ("Unknown!" if attribute == "jobtype" else "")


_SIMPLE: Final = frozenset({int(JobType.SIMPLE)})
_PARENT: Final = frozenset(int(kind) for kind in PARENT_TYPES)
_CREAM: Final = frozenset({int(JobType.CREAM)})
_TRANSFER: Final = frozenset({int(JobType.FILE_TRANSFER)})
_MACHINE: Final = frozenset({int(JobType.VIRTUAL_MACHINE)})
_PBS: Final = frozenset({int(JobType.PBS)})
_CONDOR: Final = frozenset({int(JobType.CONDOR)})


def _cream(key: str, label: str, attribute: str, form: Form = Form.TEXT, null: Any = None) -> Row:
    return Row(key, label, attribute, Section.CREAM, form, null, _CREAM)


def _machine(key: str, label: str) -> Row:
    return Row(key, label, key, Section.MACHINE, types=_MACHINE)


def _pbs(key: str, label: str, form: Form = Form.TEXT, *, droppable: bool = False) -> Row:
    return Row(key, label, key, Section.PBS, form, -1, _PBS, droppable)


def _condor(key: str, label: str, form: Form = Form.TEXT) -> Row:
    return Row(key, label, key, Section.CONDOR, form, 0, _CONDOR, plain=False)


ROWS: Final[tuple[Row, ...]] = (
    Row("Job", "Job ID", "jobId", Section.JOB, Form.JOB),
    Row("cream_id", "CREAM ID", "cream_id", Section.JOB),
    Row("parent_job", "Parent job", "parent_job", Section.JOB, Form.JOB),
    Row("Status", "Status", "state", Section.PROGRESS, Form.NAME),
    Row("job_type", "Type", "jobtype", Section.JOB, Form.NAME),
    Row("jw_status", "JW status", "jw_status", Section.PROGRESS, Form.NAME, types=_SIMPLE),
    Row("seed", "Seed", "seed", Section.CHILDREN, types=_PARENT),
    Row("children_num", "No. of Children", "children_num", Section.CHILDREN, Form.NUMBER, 0, _PARENT),
    Row("children_hist", "Child histogram", "children_hist", Section.CHILDREN, Form.HISTOGRAM, None, _PARENT, True),
    Row("subjob_failed", "Subjob Failed", "subjob_failed", Section.CHILDREN, Form.NUMBER, False, _PARENT),
    _cream("CREAM_Status", "CREAM Status", "cream_state", Form.NAME),
    _cream("cream_endpoint", "CREAM Endpoint", "cream_endpoint"),
    _cream("cream_node", "CREAM Worker node", "cream_node"),
    _cream("cream_reason", "CREAM Reason", "cream_reason"),
    _cream("cream_lrms_id", "CREAM LRMS id", "cream_lrms_id"),
    _cream("cream_node", "CREAM Node", "cream_node"),
    _cream("cream_cancelling", "CREAM Cancelling", "cream_cancelling", Form.YES_NO),
    _cream("cream_cpu_time", "CREAM CPU time", "cream_cpu_time", Form.NUMBER, -1),
    _cream("cream_done_code", "CREAM Done code", "cream_done_code", Form.NUMBER, -1),
    _cream("cream_exit_code", "CREAM Exit code", "cream_exit_code", Form.NUMBER, -1),
    Row("compute_job", "Compute job", "ft_compute_job", Section.TRANSFER, Form.JOB, types=_TRANSFER),
    Row("sandbox_type", "Sandbox type", "ft_sandbox_type", Section.TRANSFER, Form.NAME, types=_TRANSFER),
    Row("ft_source", "File transfer source", "ft_src", Section.TRANSFER, types=_TRANSFER),
    Row("ft_destination", "File transfer destination", "ft_dest", Section.TRANSFER, types=_TRANSFER),
    Row("vm_state", "VM State", "vm_state", Section.MACHINE, Form.NAME, types=_MACHINE),
    _machine("vm_image", "VM image"),
    _machine("vm_require", "VM require"),
    _machine("vm_usage", "VM usage"),
    _machine("vm_hostname", "VM hostname"),
    _machine("vm_machine", "VM machine"),
    _machine("vm_id", "VM ID"),
    _machine("vm_name", "VN name"),
    _machine("vm_phy_hostname", "VM physical hostname"),
    _pbs("pbs_state", "PBS state"),
    _pbs("pbs_substate", "PBS Substate", Form.NUMBER),
    _pbs("pbs_queue", "PBS Queue"),
    _pbs("pbs_owner", "PBS Owner"),
    _pbs("pbs_name", "PBS Name"),
    _pbs("pbs_reason", "PBS Reason"),
    _pbs("pbs_scheduler", "PBS Scheduler"),
    _pbs("pbs_dest_host", "PBS Dest. host"),
    _pbs("pbs_pid", "PBS Pid", Form.NUMBER),
    _pbs("pbs_exit_status", "PBS Exit status", Form.NUMBER),
    _pbs("pbs_error_desc", "PBS Error desc."),
    _pbs("pbs_resource_requested", "PBS Resource requested", Form.TAGS, droppable=True),
    _pbs("pbs_resource_usage", "PBS Resource usage", Form.TAGS, droppable=True),
    _condor("condor_status", "Condor status"),
    _condor("condor_universe", "Condor universe"),
    _condor("condor_owner", "Condor owner"),
    _condor("condor_preempting", "Condor preempting"),
    _condor("condor_dest_host", "Condor dest. host"),
    _condor("condor_shadow_pid", "Condor shadow pid", Form.NUMBER),
    _condor("condor_shadow_exit_status", "Condor shadow exit status", Form.NUMBER),
    _condor("condor_starter_pid", "Condor starter pid", Form.NUMBER),
    _condor("condor_starter_exit_status", "Condor starter exit status", Form.NUMBER),
    _condor("condor_job_pid", "Condor job pid", Form.NUMBER),
    _condor("condor_job_exit_status", "Condor job exit status", Form.NUMBER),
    _condor("condor_reason", "Condor reason"),
    _condor("condor_error_desc", "Condor error desc."),
    Row("VM_Status", "VM Status", "vm_state", Section.PROGRESS, Form.NAME),
    Row("owner", "Owner", "owner", Section.ACCESS),
    Row("payload_owner", "Payload Owner", "payload_owner", Section.ACCESS),
    Row("condorId", "Condor Id", "condorId", Section.JOB),
    Row("globusId", "Globus Id", "globusId", Section.JOB),
    Row("localId", "Local Id", "localId", Section.JOB),
    Row("reason", "Reason", "reason", Section.PROGRESS),
    Row("stateEnterTime", "State entered", "stateEnterTime", Section.PROGRESS, Form.TIME, 0),
    Row("lastUpdateTime", "Last update", "lastUpdateTime", Section.PROGRESS, Form.TIME, 0),
    Row("expectUpdate", "Expect update", "expectUpdate", Section.PROGRESS, Form.YES_NO),
    Row("expectFrom", "Expect update from", "expectFrom", Section.PROGRESS),
    Row("location", "Location", "location", Section.PLACE),
    Row("destination", "Destination", "destination", Section.PLACE),
    Row("ce_node", "CE Node", "ce_node", Section.PLACE),
    Row("resubmitted", "Resubmitted", "resubmitted", Section.PROGRESS, Form.NUMBER, False),
    Row("cancelling", "Cancelling", "cancelling", Section.PROGRESS, Form.YES_NO),
    Row("cancelReason", "Cancel reason", "cancelReason", Section.PROGRESS),
    Row("cpuTime", "CPU time", "cpuTime", Section.RESULT, Form.NUMBER, -1),
    Row("done_code", "Done code", "done_code", Section.RESULT, Form.NUMBER, -1),
    Row("exit_code", "Exit code", "exit_code", Section.RESULT, Form.NUMBER, -1),
    Row("input_sandbox", "input sandbox", "isb_transfer", Section.RESULT, Form.JOB),
    Row("output_sandbox", "Output sandbox", "osb_transfer", Section.RESULT, Form.JOB),
    Row("acl", "ACL", "acl", Section.ACCESS),
    Row("user_tags", "User Tags", "user_tags", Section.TAGS, Form.TAGS, droppable=True),
    Row("payload_running", "Payload Running", "payload_running", Section.PROGRESS, Form.NUMBER, False),
    Row(
        "possible_destinations",
        "Possible destinations",
        "possible_destinations",
        Section.PLACE,
        Form.LIST,
        droppable=True,
    ),
    Row("possible_ce_nodes", "Possible CE Nodes", "possible_ce_nodes", Section.PLACE, Form.LIST, droppable=True),
    Row("suspended", "Suspended", "suspended", Section.PROGRESS, Form.NUMBER, False),
    Row("suspend_reason", "Suspend Reason", "suspend_reason", Section.PROGRESS),
    Row("failure_reasons", "Failure Reasons", "failure_reasons", Section.RESULT),
    Row("remove_from_proxy", "Remove From Proxy", "remove_from_proxy", Section.PROGRESS, Form.NUMBER, False),
    Row("ui_host", "UI host", "ui_host", Section.PLACE),
    Row("user_fqans", "User FQANs", "user_fqans", Section.ACCESS, Form.LIST, droppable=True),
    Row("network_server", "Network server", "network_server", Section.PLACE, plain=False),
)


def of_job(status: JobStatus) -> list[Row]:
    """The rows of a job, in order."""
    return [row for row in ROWS if row.applies(status)]
