"""The events of a job as a table, a page of them at a time: what each said, long values folded away.

How much of a value is shown is bounded; the whole is in the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.web.template import Flattenable, Tag, tags

from lb.model.catalogue import Attribute, Kind
from lb.model.event import Event, Value
from lb.web.frame import job_link, moment, table
from lb.web.text import cut, shown

#: Rows of one page.
PAGE: Final = 200
#: Characters of a value that stand in the row, and that are shown at all.
_INLINE: Final = 120
_SHOWN: Final = 20_000

_COLUMNS: Final = (("Time (UTC)", ""), ("Event", ""), ("Source", ""), ("Host", ""), ("Details", "details"))


def event_table(events: Sequence[Event], server: str | None) -> Tag:
    """The rows of some events; ids of jobs of `server` are links."""
    return table("Events of the job", _COLUMNS, [_row(event, server) for event in events])


def _row(event: Event, server: str | None) -> Tag:
    pairs = [
        _pair(attribute, event, value, server)
        for attribute in event.type.attributes
        if (value := event.attributes.get(attribute.name)) is not None
    ]
    return tags.tr(
        tags.td(moment(event.timestamp), class_="time"),
        tags.th(event.type.name, scope="row"),
        tags.td(
            event.source_name, tags.span(shown(event.src_instance), class_="dim instance") if event.src_instance else ""
        ),
        tags.td(shown(event.host)),
        tags.td(tags.dl(pairs) if pairs else "", _origin(event), class_="details"),
    )


def _pair(attribute: Attribute, event: Event, value: Value, server: str | None) -> Tag:
    name = tags.dt(attribute.name)
    match attribute.kind:
        case Kind.JOBID:
            return tags.div(name, tags.dd(job_link(str(value), server)))
        case Kind.TIMEVAL if isinstance(value, int):
            return tags.div(name, tags.dd(moment(value)))
        case Kind.CODED | Kind.LOGSRC:
            return tags.div(name, tags.dd(event.code_name(attribute.name)))
    text = _text(value)
    if len(text) <= _INLINE and "\n" not in text:
        return tags.div(name, tags.dd(shown(text)))
    return tags.div(
        tags.dt(attribute.name, class_="hidden"),
        tags.dd(
            tags.details(
                tags.summary(attribute.name, tags.span(f" {len(text):,} characters", class_="dim")),
                tags.pre(cut(text, _SHOWN)),
            )
        ),
        class_="long",
    )


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{name}={content}" for name, content in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _origin(event: Event) -> Flattenable:
    """Where the event came from and its place among the others."""
    facts: list[tuple[str, Flattenable]] = [("sequence code", cut(event.seqcode, _SHOWN))]
    if event.user:
        facts.append(("logged by", cut(event.user, _SHOWN)))
    if event.arrived:
        facts.append(("arrived", moment(event.arrived)))
    return tags.details(
        tags.summary("origin"),
        tags.dl([tags.div(tags.dt(name), tags.dd(fact)) for name, fact in facts]),
        class_="origin",
    )
