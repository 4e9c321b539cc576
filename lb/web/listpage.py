"""The page with a list of jobs: how many there are in each state, ways to narrow it down, and a page of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, Tag, tags

from lb.model.status import JobStatus, JobType, display
from lb.web import address, filters
from lb.web.frame import badge, document, job_link, moment, pages, registered, server_of, table, type_name
from lb.web.listing import Nest, listing
from lb.web.text import cut, shown

#: Characters of a value in the list.
_VALUE: Final = 200
_COLUMNS: Final = (
    ("Job", ""),
    ("Type", ""),
    ("State", ""),
    ("Registered (UTC)", "wide"),
    ("Last update (UTC)", ""),
    ("Destination", "wide"),
)
#: Jobs whose family has states of its own: attribute that names it.
_FAMILY_STATES: Final = {JobType.CREAM: "cream_state", JobType.VIRTUAL_MACHINE: "vm_state"}


def list_page(jobs: Sequence[JobStatus], asked: address.Address, subject: str) -> Deferred[bytes]:
    """The page of own jobs, or of those that a query found."""
    found = listing(jobs, asked.page)
    query = asked.query if asked.query is not None else filters.own(subject)
    links = pages(
        "Pages of jobs",
        found.page,
        found.last,
        [
            address.write("/", asked.query, asked.flags, number)
            for number in (1, found.page - 1, found.page + 1, found.last)
        ],
    )
    main = [
        tags.h1("User Jobs"),
        tags.p(f"Total of {found.total}", class_="total"),
        tags.p(tags.code(shown(asked.query)), class_="query") if asked.query is not None else "",
        filters.counts(query, found.counts),
        filters.choices(query) if query is not None else "",
        filters.conditions(query or ""),
        table("Jobs, newest first", _COLUMNS, [row for nest in found.nests for row in _nest(nest)]),
        links,
        tags.p("User subject: ", shown(subject), class_="dim"),
    ]
    return document("User Jobs", main, subject=subject)


def _nest(nest: Nest) -> list[Flattenable]:
    rows: list[Flattenable] = [_row(nest.job, ""), *(_row(child, "child") for child in nest.children)]
    if nest.more:
        everyone = address.write("/", query=f"parent_job={nest.job.jobId}")
        rows.append(
            tags.tr(
                tags.td(tags.a(f"{nest.more:,} more children", href=everyone), colspan=str(len(_COLUMNS))),
                class_="child",
            )
        )
    return rows


def _row(job: JobStatus, class_: str) -> Tag:
    return tags.tr(
        tags.th(job_link(job.jobId or "", server_of(job.jobId)), scope="row"),
        tags.td(type_name(job), class_="jobtype"),
        tags.td(badge(job), _family_state(job)),
        tags.td(moment(registered(job)), class_="wide time"),
        tags.td(moment(job.lastUpdateTime), class_="time"),
        tags.td(cut(job.destination, _VALUE) if job.destination else "", class_="wide"),
        class_=class_,
    )


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
