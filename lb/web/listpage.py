"""The page with a list of jobs: how many there are in each state, ways to narrow it down, and a page of them."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, tags

from lb.model.status import JobStatus
from lb.web import address, filters
from lb.web.frame import document, pages, table
from lb.web.histogram import histogram
from lb.web.jobtable import COLUMNS, job_row, more_row
from lb.web.listing import Nest, listing
from lb.web.text import shown


def list_page(
    jobs: Sequence[JobStatus], asked: address.Address, subject: str, live: str | None = None
) -> Deferred[bytes]:
    """The page of own jobs, or of those that a query found; `live` as for `document`."""
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
        histogram(found.counts, query),
        filters.choices(query) if query is not None else "",
        filters.conditions(query or ""),
        table("Jobs, newest first", COLUMNS, [row for nest in found.nests for row in _nest(nest)]),
        links,
        tags.p("User subject: ", shown(subject), class_="dim"),
    ]
    return document("User Jobs", main, subject=subject, live=live)


def _nest(nest: Nest) -> list[Flattenable]:
    rows: list[Flattenable] = [job_row(nest.job), *(job_row(child, "child") for child in nest.children)]
    if nest.more:
        rows.append(more_row(nest.more, address.write("/", query=f"parent_job={nest.job.jobId}")))
    return rows
