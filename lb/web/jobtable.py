"""Jobs as rows of a table, for the list and for the children of a job."""

from __future__ import annotations

from typing import Final

from twisted.web.template import Flattenable, Tag, tags

from lb.model.status import JobStatus, JobType, display
from lb.web import address
from lb.web.frame import badge, job_link, moment, registered, server_of, type_name
from lb.web.text import cut

#: Label and class of each column; wide ones are left out on narrow screens. Where a job is stands below its id.
COLUMNS: Final = (
    ("Job", ""),
    ("Type", "wide"),
    ("State", ""),
    ("Registered (UTC)", "wide"),
    ("Last update (UTC)", ""),
)
#: Characters of a value in a row.
_VALUE: Final = 200
#: Jobs whose family has states of its own: attribute that names it.
_FAMILY_STATES: Final = {JobType.CREAM: "cream_state", JobType.VIRTUAL_MACHINE: "vm_state"}


def job_row(job: JobStatus, class_: str = "") -> Tag:
    """One job."""
    return tags.tr(
        tags.th(job_link(job.jobId or "", server_of(job.jobId)), _place(job), scope="row"),
        tags.td(type_name(job), class_="jobtype wide"),
        tags.td(badge(job), _family_state(job)),
        tags.td(moment(registered(job)), class_="wide time"),
        tags.td(moment(job.lastUpdateTime), class_="time"),
        class_=class_,
    )


def _place(job: JobStatus) -> Flattenable:
    return tags.span(cut(job.destination, _VALUE), class_="dim place") if job.destination else ""


def all_children_row(parent: JobStatus) -> Tag:
    """A row that leads to all children of a job."""
    number = f"All {parent.children_num:,} children" if parent.children_num else "All children"
    link = tags.a(number, href=address.write("/", query=f"parent_job={parent.jobId}"))
    return tags.tr(tags.td(link, colspan=str(len(COLUMNS))), class_="child")


def _family_state(job: JobStatus) -> Flattenable:
    """The state as CREAM, the batch system or the hypervisor calls it."""
    if job.jobtype == JobType.PBS:
        text = cut(job.pbs_state or "", _VALUE)
    elif job.jobtype in _FAMILY_STATES:
        attribute = _FAMILY_STATES[JobType(job.jobtype)]
        text = display(attribute, getattr(job, attribute))
    else:
        text = ""
    return tags.span(" ", text, class_="dim") if text else ""
