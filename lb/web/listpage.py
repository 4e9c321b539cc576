"""The page with a list of jobs: how many there are in each state, ways to narrow it down, and a page of them."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, tags

from lb.model.errors import LBError
from lb.web import address, filters
from lb.web.following import follow_jobs
from lb.web.frame import document, table
from lb.web.histogram import histogram
from lb.web.jobtable import COLUMNS, all_children_row, job_row
from lb.web.listing import Listing, Nest
from lb.web.text import cut, shown

_CAPTION: Final = "Jobs, newest first"
#: Characters of an error's description that are shown.
_DESCRIPTION: Final = 2_000


def list_page(
    found: Listing, asked: address.Address, subject: str, server: str, live: str | None = None
) -> Deferred[bytes]:
    """The page of own jobs, or of those that a query found; `server`: ``host:port``, `live` as for `document`."""
    query = asked.query if asked.query is not None else filters.own(subject)
    rows = [row for nest in found.nests for row in _nest(nest)]
    main = [
        tags.h1("User Jobs"),
        tags.p(_total(found, asked), class_="total"),
        tags.p(tags.code(shown(asked.query)), class_="query") if asked.query is not None else "",
        histogram(found.counts, query),
        filters.choices(query) if query is not None else "",
        filters.conditions(query or ""),
        follow_jobs(asked.query, subject, server),
        table(_CAPTION, COLUMNS, rows) if rows else tags.p("These jobs stand on an earlier page.", class_="dim"),
        _pages(found, asked),
        tags.p("User subject: ", shown(subject), class_="dim"),
    ]
    return document("User Jobs", main, subject=subject, live=live, here="/" if asked.query is None else None)


def empty_page(
    refused: LBError, asked: address.Address, subject: str, server: str, live: str | None = None
) -> Deferred[bytes]:
    """The page where a list would be if there was any job; what is to be done next. Parameters as of `list_page`."""
    main: list[Flattenable] = [tags.h1("User Jobs")]
    if asked.query is None:
        main += [tags.p("You have no jobs here yet. To log one:", class_="reason"), tags.pre(_first_steps(server))]
        main.append(tags.p("It will appear on this page, and so will each change of it.") if live else "")
    else:
        main.append(
            tags.p(
                "No job that you may see meets these conditions now. Change them, or see ",
                tags.a("all of yours", href="/"),
                ".",
                class_="reason",
            )
        )
        main += [filters.choices(asked.query), filters.conditions(asked.query, opened=True)]
    main.append(follow_jobs(asked.query, subject, server))
    main.append(tags.p(cut(f"Not Found: {refused.code}: {refused}", _DESCRIPTION), class_="dim"))
    return document("User Jobs", main, subject=subject, live=live, here="/" if asked.query is None else None)


def _first_steps(server: str) -> str:
    option = f" --server {server}" if server else ""
    return (
        f"lb register{option}   # prints the job's id and its sequence code\n"
        "lb log Running --jobid ID --sequence CODE --source LogMonitor --node wn1\n"
        "lb status ID"
    )


def _total(found: Listing, asked: address.Address) -> str:
    if found.complete:
        return f"Total of {found.total:,}"
    if asked.before is None:
        return f"The newest {found.total:,} of more jobs"
    return f"{found.total:,} older jobs" if found.older is None else f"The next {found.total:,} of more older jobs"


def _pages(found: Listing, asked: address.Address) -> Flattenable:
    """Links to the first and the next page."""
    links: list[Flattenable] = []
    if asked.before is not None:
        links.append(tags.a("Newest", href=address.write("/", asked.query, asked.flags)))
    if found.older is not None:
        older = address.write("/", asked.query, asked.flags, before=found.older)
        links.append(tags.a("Older", href=older, rel="next"))
    return tags.nav(links, class_="pages", **{"aria-label": "Pages of jobs"}) if links else ""


def _nest(nest: Nest) -> list[Flattenable]:
    rows: list[Flattenable] = [job_row(nest.job), *(job_row(child, "child") for child in nest.children)]
    if nest.more:
        rows.append(all_children_row(nest.job))
    return rows
