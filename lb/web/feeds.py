"""RSS feeds of jobs that changed lately (spec: wire-web.md §7).

A feed is a query in the name of the reader; what it holds is bounded. Nothing that a job says becomes markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from lb.model.grammar import read_query
from lb.model.query import NO_FLAGS, Attribute, Condition, Group, Operator, Query
from lb.model.status import JobStatus, JobType, State
from lb.web.frame import state_name
from lb.web.text import ctime, shown

#: Jobs of one feed, the newest.
MOST: Final = 500
#: Seconds after a job's last change in which it is told.
LATELY: Final = 3_600


def _is(attribute: Attribute, *values: int) -> Group:
    return tuple(Condition(attribute, Operator.EQUAL, value) for value in values)


_OWN: Final[Group] = (Condition(Attribute.OWNER, Operator.EQUAL, None),)
_MACHINES: Final = _is(Attribute.JOB_TYPE, JobType.VIRTUAL_MACHINE)

FEEDS: Final[dict[str, tuple[Group, ...]]] = {
    "finished": (_OWN, _is(Attribute.STATUS, State.Done, State.Aborted, State.Cancelled)),
    "running": (_OWN, _is(Attribute.STATUS, State.Running)),
    "aborted": (_OWN, _is(Attribute.STATUS, State.Aborted)),
    "runningVM": (_OWN, _is(Attribute.STATUS, State.Running), _MACHINES),
    "doneVM": (_OWN, _is(Attribute.STATUS, State.Done), _is(Attribute.DONECODE, 0), _MACHINES),
}


def query_of(feed: str, text: str | None, now: int) -> Query | None:
    """The query of a feed, None for a name that is none and has no conditions; `now`: seconds since the epoch.

    EINVAL and ENOSYS for conditions that cannot be asked.
    """
    if feed in FEEDS:
        query = Query(jobs=FEEDS[feed])
    elif text:
        query = read_query(text, now, NO_FLAGS)
    else:
        return None
    lately = (Condition(Attribute.LASTUPDATETIME, Operator.GREATER, now - LATELY),)
    return msgspec.structs.replace(query, jobs=(*query.jobs, lately))


def write(link: str, found: Iterable[JobStatus]) -> str:
    """The document; `link` is the feed's own address."""
    items = "\n".join(map(_item, found))
    return (
        '<?xml version="1.0"?>\n<rss version="2.0">\n<channel>\n<title>LB feed</title>\n'
        f"<link>{_text(link)}</link>\n<description>List of jobs.</description>{items}\n</channel>\n</rss>"
    )


def _item(job: JobStatus) -> str:
    name = _text(job.jobId or "")
    lines = [f"Status: {state_name(job.state)}", f"State entered: {ctime(job.stateEnterTime)}\n"]
    if job.destination:
        lines.append(f"Destination: {_text(job.destination)}")
    described = "\n<![CDATA[<br/>]]>\n".join(lines)
    return (
        f"<item>\n<title>{name}</title>\n<link>{name}</link>\n<guid>{name}</guid>\n"
        f"<description>{described}\n</description>\n</item>"
    )


def _text(value: str) -> str:
    return escape(shown(value))
