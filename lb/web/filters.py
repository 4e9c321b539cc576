"""Forms that narrow a list of jobs down, without a script: a list's conditions as choices, and as text.

What a form sends is in the grammar of addresses; `address` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from twisted.web.template import Tag, tags

from lb.model.status import JobType, State, display
from lb.web.text import shown

#: Field, its label, and its choices: value as the form sends it, text.
_CHOICES: Final[tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]] = (
    (
        "status",
        "State",
        tuple((state.name.lower(), state.name) for state in State if State.Undefined < state < State.Unknown),
    ),
    (
        "jobtype",
        "Type",
        tuple((display("jobtype", kind).lower(), display("jobtype", kind)) for kind in JobType if kind >= 0),
    ),
    (
        "lastupdatetime",
        "Changed",
        ((">past3600", "in the last hour"), (">past86400", "in the last day"), (">past2592000", "in the last 30 days")),
    ),
)


def _condition(field: str, value: str) -> str:
    return f"{field}{value}" if value[0] in "<>" else f"{field}={value}"


_OFFERED: Final = frozenset(_condition(field, value) for field, _, choices in _CHOICES for value, _ in choices)


def own(subject: str) -> str | None:
    """The condition for the jobs of one person; None when the grammar cannot express the name."""
    return None if set("&|") & set(subject) or subject[:1] in tuple("=<>") else f"owner={subject}"


def choices(query: str) -> Tag:
    """The form with a choice for each field; conditions that it does not offer are kept as they are."""
    groups = query.split("&")
    kept = "&".join(group for group in groups if group not in _OFFERED)
    fields = [_select(field, label, options, groups) for field, label, options in _CHOICES]
    return tags.form(
        tags.input(type="hidden", name="query", value=shown(kept)),
        fields,
        tags.button("Filter", type="submit"),
        action="/",
        method="get",
        class_="filter",
        **{"aria-label": "Filter jobs"},
    )


def _select(field: str, label: str, options: Iterable[tuple[str, str]], groups: Sequence[str]) -> Tag:
    items = [tags.option("any", value="")]
    for value, text in options:
        item = tags.option(text, value=value)
        items.append(item(selected="selected") if _condition(field, value) in groups else item)
    return tags.label(tags.span(label), tags.select(items, name=field))


def conditions(query: str, *, opened: bool = False) -> Tag:
    """The form with the conditions as text, and what may stand there."""
    details = tags.details(
        tags.summary("Conditions"),
        tags.form(
            tags.label(
                tags.span("Conditions"),
                tags.input(type="text", name="query", value=shown(query), spellcheck="false", autocomplete="off"),
                class_="long",
            ),
            tags.button("Search", type="submit"),
            action="/",
            method="get",
            class_="filter",
            **{"aria-label": "Search jobs by conditions"},
        ),
        tags.p(
            "Conditions look like ",
            tags.code("owner=/CN=Me&status=done|=running&lastupdatetime>past3600"),
            ": ",
            tags.code("="),
            " ",
            tags.code("<>"),
            " ",
            tags.code("<"),
            " ",
            tags.code(">"),
            " on jobid, parent_job, owner, location, destination, networkserver, status, jobtype, vm_status, donecode, "
            "exitcode, resubmitted, stateentertime or lastupdatetime; ",
            tags.code("|"),
            " between alternatives, ",
            tags.code("&"),
            " between conditions that all must hold.",
            class_="dim",
        ),
        class_="conditions",
    )
    return details(open="open") if opened else details
