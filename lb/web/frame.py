"""The HTML that all pages share: the document around them, and the small pieces of which they are made.

All is built of `twisted.web.template` tags, which escape what is put into them; no markup is ever pasted from text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, Tag, flattenString, tags

from lb.model.errors import LBError
from lb.model.jobid import parse_cached
from lb.model.status import STATE_NAMES, JobStatus, State, display
from lb.web.assets import ICON, LIVE, STYLE
from lb.web.text import SECOND, iso, shown

#: Done jobs are green only when they ended well.
_FAILED_DONE: Final = frozenset({1, 2})
#: Unique parts that mean the same in an address as in an id; others are shown without a link.
_LINKABLE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_:.~-]{0,254}")
_COMMON_NAME = re.compile(r"/CN=([^/]+)")
#: The main pages.
_PAGES: Final = (("My jobs", "/"), ("Notifications", "/NOTIF:"), ("Server", "/?configuration"))


def document(
    title: str,
    main: Sequence[Flattenable],
    *,
    subject: str | None = None,
    live: str | None = None,
    here: str | None = None,
) -> Deferred[bytes]:
    """A whole page; `subject` is who asks, None when that is not known; `here` is the main page that this one is.

    `live`: address of the stream that tells when the page has to be got again, None for one that does not change.
    """
    head = tags.head(
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.meta(name="color-scheme", content="light dark"),
        tags.title(shown(title)),
        tags.link(rel="stylesheet", href=STYLE.path),
        tags.link(rel="icon", href=ICON.path, type="image/svg+xml"),
        "" if live is None else tags.script(src=LIVE.path, defer="defer"),
    )
    content = Tag("main")(id="content")  # Twisted's tags do not know it
    if live is not None:
        content(**{"data-live": live})
    body = tags.body(
        tags.a("Skip to the content", href="#content", class_="skip"),
        tags.header(
            tags.div(
                tags.a(
                    tags.strong("L&B"), tags.span(" Logging & Bookkeeping", class_="wide"), href="/", class_="brand"
                ),
                tags.nav(
                    [_to_page(name, target, target == here) for name, target in _PAGES],
                    **{"aria-label": "Pages"},
                ),
                tags.span(_short_name(subject), class_="who", title=shown(subject)) if subject else "",
                class_="bar",
            ),
            class_="top",
        ),
        content(list(main)),
    )
    page = flattenString(None, tags.html(head, body, lang="en"))
    return page.addCallback(lambda html: b"<!DOCTYPE html>\n%b\n" % html)


def _to_page(name: str, target: str, here: bool) -> Tag:
    link = tags.a(name, href=target)
    return link(**{"aria-current": "page"}) if here else link


def _short_name(subject: str) -> str:
    """The person in a name in slash form."""
    names: list[str] = _COMMON_NAME.findall(subject)
    return shown(names[0] if names else subject)


# --- pieces -----------------------------------------------------------------------------------------------------


def moment(microseconds: int) -> Flattenable:
    """A time in UTC, nothing for 0."""
    if not microseconds:
        return ""
    text = iso(microseconds)
    return tags.time(text.replace("T", " ").removesuffix("Z"), datetime=text)


def svg(name: str, *children: Flattenable, **attributes: str | float) -> Tag:
    """An element of a picture; underscores in names of attributes stand for hyphens, numbers are rounded."""
    return Tag(
        name,
        {
            key.rstrip("_").replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else value
            for key, value in attributes.items()
        },
        list(children),
    )


def state_name(state: int) -> str:
    return STATE_NAMES[state] if 0 <= state < len(STATE_NAMES) else str(state)


def tone(state: int, done_code: int = 0) -> str:
    """The class that gives a state its colour."""
    if state == State.Done and done_code in _FAILED_DONE:
        return "s-failed"
    return f"s-{state_name(state).lower()}"


def badge(status: JobStatus) -> Tag:
    """The state of a job, in words and in colour."""
    return tags.span(state_name(status.state), class_=f"badge jobstate {tone(status.state, status.done_code)}")


def type_name(status: JobStatus) -> str:
    return display("jobtype", status.jobtype) or "Unknown!"


def server_of(jobid: str | None) -> str | None:
    """The server part of a job id, None when it is none."""
    try:
        return parse_cached(jobid or "").server
    except LBError:
        return None


def job_link(jobid: str, server: str | None) -> Flattenable:
    """A job id, as a link when it is of `server`: links lead to this server under the name it was asked by."""
    try:
        job = parse_cached(jobid)
    except LBError:
        return tags.span(shown(jobid), class_="id")
    if server is None or job.server != server or not _LINKABLE.fullmatch(job.unique):
        return tags.span(shown(jobid), class_="id")
    return tags.a(jobid, href=f"/{job.unique}", class_="id")


def registered(status: JobStatus) -> int:
    """When a job began, microseconds: the earliest of all that is known."""
    entered = min((seconds for seconds in status.stateEnterTimes if seconds), default=0)
    return entered * SECOND or status.stateEnterTime or status.lastUpdateTime


def table(caption: str, columns: Iterable[tuple[str, str]], rows: list[Flattenable]) -> Tag:
    """A table that scrolls in itself when it is too wide; `columns` are (label, class)."""
    return tags.div(
        tags.table(
            tags.caption(caption, class_="hidden"),
            tags.thead(tags.tr([tags.th(label, scope="col", class_=class_) for label, class_ in columns])),
            tags.tbody(rows),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        **{"aria-label": caption},
    )


def pages(label: str, page: int, last: int, address: Sequence[str]) -> Flattenable:
    """Links to the neighbours of a page; `address`: of the first, the previous, the next and the last page."""
    if last < 2:
        return ""
    first, previous, following, final = address
    links: list[Flattenable] = []
    if page > 1:
        links += [tags.a("First", href=first), tags.a("Previous", href=previous, rel="prev")]
    links.append(tags.span(f"Page {page:,} of {last:,}", **{"aria-current": "page"}))
    if page < last:
        links += [tags.a("Next", href=following, rel="next"), tags.a("Last", href=final)]
    return tags.nav(links, class_="pages", **{"aria-label": label})
