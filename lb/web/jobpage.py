"""The page of one job: what it is and how it stands, its way in time, its attributes, events, children and texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, Tag, tags

from lb.model.event import Event
from lb.model.query import Flag
from lb.model.status import PARENT_TYPES, JobStatus, display
from lb.web import address, rows
from lb.web.classad import layout as layout_classad
from lb.web.drawing import draw
from lb.web.events import PAGE, event_table
from lb.web.following import follow_job
from lb.web.frame import badge, document, job_link, moment, pages, registered, server_of, state_name, table, type_name
from lb.web.histogram import histogram
from lb.web.jobs import Related
from lb.web.jobtable import COLUMNS, all_children_row, job_row
from lb.web.meanings import meaning
from lb.web.rows import Form, Row, Section
from lb.web.text import cut
from lb.web.timeline import layout as layout_timeline

#: Characters of a value, and of a long text, that are shown; the plain text has all.
_VALUE: Final = 20_000
_TEXT: Final = 400_000
#: What a view gets beside the value: the job's server, for links.
_View = Callable[[Any, "str | None"], Flattenable]


def _lines(values: Sequence[str], server: str | None) -> Flattenable:
    return tags.ul([tags.li(cut(value, _VALUE)) for value in values], class_="plain")


def _pairs(pairs: Sequence[tuple[str, str]], server: str | None) -> Flattenable:
    return tags.dl(
        [tags.div(tags.dt(cut(name, _VALUE)), tags.dd(cut(value, _VALUE))) for name, value in pairs], class_="tags"
    )


#: Histograms are not among them: the children have theirs.
_VIEWS: Final[dict[Form, _View]] = {
    Form.TEXT: lambda value, server: cut(value, _VALUE),
    Form.JOB: lambda value, server: job_link(value, server),
    Form.NAME: lambda value, server: value,
    Form.NUMBER: lambda value, server: str(int(value)),
    Form.YES_NO: lambda value, server: "YES" if value else "NO",
    Form.TIME: lambda value, server: moment(value),
    Form.LIST: _lines,
    Form.TAGS: _pairs,
}


def job_page(
    status: JobStatus,
    events: Sequence[Event],
    children: Sequence[JobStatus],
    related: Sequence[Related],
    asked: address.Address,
    subject: str,
    live: str | None = None,
) -> Deferred[bytes]:
    """The page; `children` are the newest of them, `asked` is its own address, for links to its other pages.

    `live` as for `document`.
    """
    server = server_of(status.jobId)
    ordered = sorted(events, key=lambda event: event.timestamp)
    parts = [("Events", len(ordered))]
    if status.jobtype in PARENT_TYPES:
        parts.append(("Children", max(len(children), status.children_num)))
    title = f"{state_name(status.state)} · {status.jobId or 'job'}"
    return document(
        title,
        [
            _head(status, asked, parts),
            _timeline(status, ordered),
            _children(status, children),
            _related(related, server),
            *_attributes(status, server),
            _events(ordered, asked, server),
            *_texts(status, asked),
        ],
        subject=subject,
        live=live,
    )


def _jump(name: str, number: int) -> Flattenable:
    """A link to a part of the page that is far down."""
    return [tags.a(f"{name} ({number:,})", href=f"#{name.lower()}"), " · "]


def _utc(microseconds: int) -> Flattenable:
    return [moment(microseconds), " UTC"] if microseconds else ""


def _head(status: JobStatus, asked: address.Address, parts: Sequence[tuple[str, int]]) -> Tag:
    """What a job is and how it stands; `parts` of the page below: name, how much there is."""
    jobid = cut(status.jobId or "", _VALUE)
    facts: list[tuple[str, Flattenable]] = [
        ("Type", tags.span(type_name(status), class_="jobtype")),
        ("Owner", cut(status.owner or "unknown", _VALUE)),
        ("Registered", _utc(registered(status))),
        ("State entered", _utc(status.stateEnterTime)),
        ("Last update", _utc(status.lastUpdateTime)),
    ]
    if status.destination:
        facts.append(("Destination", cut(status.destination, _VALUE)))
    if status.parent_job:
        facts.append(("Parent", job_link(status.parent_job, server_of(status.jobId))))
    return tags.section(
        tags.h1(badge(status), " ", tags.span(jobid, class_="id")),
        tags.p(meaning(status), class_="dim"),
        tags.dl([tags.div(tags.dt(name), tags.dd(value)) for name, value in facts if value], class_="facts"),
        tags.p(tags.strong("Reason "), cut(status.reason, _VALUE), class_="reason") if status.reason else "",
        tags.p(
            [_jump(name, number) for name, number in parts],
            tags.a("Plain text", href=f"{asked.path}?text"),
            " · ",
            tags.a("Display full history of this job", href=address.write(asked.path, flags=Flag.HISTORY)),
            class_="actions",
        ),
        follow_job(status.jobId, asked.path[1:]) if status.jobId is not None else "",
        class_="head",
    )


def _timeline(status: JobStatus, events: Sequence[Event]) -> Flattenable:
    picture = layout_timeline(status, events)
    if picture is None:
        return ""
    drawing = tags.div(
        draw(picture, status.done_code),
        class_="scroll card",
        tabindex="0",
        role="region",
        **{"aria-label": "Timeline"},
    )
    return tags.section(tags.h2("Timeline"), drawing)


# --- attributes -------------------------------------------------------------------------------------------------


def _attributes(status: JobStatus, server: str | None) -> list[Flattenable]:
    """Attributes that are known, by section; below them, folded, those that are not."""
    cards: dict[Section, list[Tag]] = {section: [] for section in Section}
    unused: list[Row] = []
    for row in rows.of_job(status):
        if row.form is Form.HISTOGRAM:
            continue
        value = row.value(status)
        if value is None:
            unused.append(row)
        else:
            view = badge(status) if row.key == "Status" else _VIEWS[row.form](value, server)
            cards[row.section].append(tags.tr(tags.th(row.label, scope="row"), tags.td(view)))
    used = [
        tags.section(tags.h3(section.value), tags.table(tags.tbody(lines)), class_="card")
        for section, lines in cards.items()
        if lines
    ]
    empty = tags.details(
        tags.summary(f"{len(unused)} attributes without a value"),
        tags.table(tags.tbody([tags.tr(tags.th(row.label, scope="row"), class_="notused") for row in unused])),
        class_="unused",
    )
    return [tags.section(tags.h2("Attributes"), tags.div(used, class_="cards"), empty if unused else "")]


# --- events and children ----------------------------------------------------------------------------------------


def _events(events: Sequence[Event], asked: address.Address, server: str | None) -> Tag:
    last = max(1, -(-len(events) // PAGE))
    page = min(asked.page, last)
    links = pages(
        "Pages of events",
        page,
        last,
        [address.write(asked.path, flags=asked.flags, page=number) for number in (1, page - 1, page + 1, last)],
    )
    shown = events[(page - 1) * PAGE : page * PAGE]
    return tags.section(
        tags.h2("Events ", tags.span(f"{len(events):,}", class_="count")),
        event_table(shown, server) if shown else tags.p("There is no event to show.", class_="dim"),
        links,
        id="events",
    )


def _children(status: JobStatus, children: Sequence[JobStatus]) -> Flattenable:
    if status.jobtype not in PARENT_TYPES:
        return ""
    number = max(len(children), status.children_num)
    rows: list[Flattenable] = [job_row(child) for child in children]
    if number > len(children) > 0:
        rows.append(all_children_row(status))
    caption = "Children of the job, newest first"
    return tags.section(
        tags.h2("Children ", tags.span(f"{number:,}", class_="count")),
        histogram(dict(enumerate(status.children_hist or ())), f"parent_job={status.jobId}"),
        table(caption, COLUMNS, rows) if rows else tags.p("No child is known yet.", class_="dim"),
        id="children",
    )


def _related(related: Sequence[Related], server: str | None) -> Flattenable:
    if not related:
        return ""
    rows: list[Flattenable] = [
        tags.tr(
            tags.th(job_link(one.other, server), scope="row"),
            tags.td(display("jobtype", one.type)),
            tags.td(one.status.name.capitalize()),
        )
        for one in related
    ]
    columns = (("Job", ""), ("Type", ""), ("Relationship", ""))
    return tags.section(tags.h2("Related Jobs"), table("Related jobs", columns, rows), id="related")


# --- texts ------------------------------------------------------------------------------------------------------


def _texts(status: JobStatus, asked: address.Address) -> list[Flattenable]:
    sections: list[Flattenable] = []
    if status.history is not None:
        sections.append(_text("Job History", status.history))
    for heading, text in (
        ("Job description", status.jdl),
        ("CREAM Job description", status.cream_jdl),
        ("Matched job description", status.matched_jdl),
        ("Condor job description", status.condor_jdl),
    ):
        if text:
            laid_out = layout_classad(text) if len(text) <= _TEXT else None
            sections.append(_text(heading if laid_out else f"{heading} (not a ClassAd)", laid_out or text))
    if status.rsl:
        sections.append(_text("RSL", status.rsl))
    return sections


def _text(heading: str, text: str) -> Tag:
    return tags.section(
        tags.h2(heading),
        tags.pre(cut(text, _TEXT), class_="card", tabindex="0", role="region", **{"aria-label": heading}),
    )
