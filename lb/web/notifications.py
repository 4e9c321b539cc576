"""Pages about registrations for notifications: the list, and one of them (spec: wire-web.md §6).

They show what was registered; what waits to be delivered is nobody's business but the receiver's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, Tag, tags

from lb.model.query import FORMS, NAMED, Condition, Group, Operator, Value, write_flags
from lb.model.registration import Registration
from lb.model.status import STATE_NAMES
from lb.security.identity import Identity
from lb.web.frame import document, table
from lb.web.text import line, shown


class Registrations(Protocol):
    """What may be asked about registrations; raises `LBError`."""

    def listed(self, peer: Identity, *, own: bool = True, others: bool = False) -> Sequence[Registration]:
        """The peer's, by unique part; those of others only when the peer is an administrator."""

    def sees_all(self, peer: Identity) -> bool:
        """Whether the peer is an administrator."""

    def one(self, peer: Identity, unique: str) -> Registration:
        """One by its unique part, for its owner or an administrator; ENOENT, EPERM."""

    def trouble(self, one: Registration) -> str | None:
        """Why what waits for a registration is not delivered, as far as it is known."""


#: Modifier → heading, whether own ones are listed, whether those of others are.
SCOPES: Final[dict[str, tuple[str, bool, bool]]] = {
    "": ("Your notifications", True, False),
    "all": ("All notifications", True, True),
    "foreign": ("Other users' notifications", False, True),
}

_COLUMNS: Final = (("Notification", ""), ("Destination", ""), ("Conditions", "wide"), ("Valid until (UTC)", ""))
#: Groups of conditions in the list.
_SHOWN: Final = 6

_SIGNS: Final = {
    Operator.EQUAL: "=",
    Operator.LESS: "<",
    Operator.GREATER: ">",
    Operator.UNEQUAL: "!=",
}


def _value(condition: Condition, value: Value | None) -> str:
    if isinstance(value, int):
        return FORMS[condition.attribute].names.get(value, str(value))
    return "NULL" if value is None else str(value)


def _condition(condition: Condition) -> str:
    name = FORMS[condition.attribute].element
    if condition.attribute in NAMED and condition.name:
        name = condition.name
    elif condition.state is not None:
        name = f"{name} {STATE_NAMES[condition.state]}"
    if condition.operator is Operator.CHANGED:
        return f"{name} ->"
    if condition.operator is Operator.WITHIN:
        return f"{name} within {_value(condition, condition.value)} and {_value(condition, condition.value2)}"
    return f"{name} {_SIGNS[condition.operator]} {_value(condition, condition.value)}"


def _group(group: Group) -> str:
    return f" ( {' or '.join(map(_condition, group))} )"


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _facts(one: Registration) -> list[tuple[str, str, str]]:
    """Key, label, value; conditions aside."""
    return [
        ("Notif_id", "Notification ID", one.id.notification),
        ("Owner", "Owner", one.owner),
        ("Destination", "Destination", one.destination),
        ("Valid_until", "Valid until", _moment(one.valid)),
        ("Flags", "Flags", write_flags(one.flags)),
        ("Job_id", "Job ID", one.jobs[0].unique if one.jobs else ""),
    ]


def list_text(found: Sequence[Registration]) -> str:
    """The unique parts, on one line."""
    return f"User_notifications={','.join(one.id.notification for one in found)}\n"


def text(one: Registration, trouble: str | None = None) -> str:
    """One registration, a line a fact; `trouble`: what keeps it from being delivered."""
    lines = [f"{key}={line(value)}\n" for key, _, value in _facts(one)]
    lines.append(f"Conditions={line(' and '.join(map(_group, one.groups)))}\n")
    if trouble is not None:
        lines.append(f"Trouble={line(trouble)}\n")
    return "".join(lines)


def list_page(found: Sequence[Registration], scope: str, *, everybody: bool, subject: str) -> Deferred[bytes]:
    """The list; `everybody`: whether the asker may see more than the own ones."""
    heading, _, _ = SCOPES[scope]
    main: list[Flattenable] = [tags.h1(heading)]
    if everybody:
        main.append(tags.p([[_scope(name, label[0], name == scope), " "] for name, label in SCOPES.items()]))
    main.append(tags.p(f"Total of {len(found)}"))
    rows: list[Flattenable] = [_row(one) for one in found]
    main.append(table("Registrations", _COLUMNS, rows) if rows else tags.p("No registrations found"))
    main.append(
        tags.p(
            "To be told when jobs change: ",
            "open a job or ",
            tags.a("a list of jobs", href="/"),
            " and look below ",
            tags.strong("Follow"),
            "; ",
            tags.code("lb watch --own"),
            " follows them on a terminal, ",
            tags.code("lb notify new"),
            " registers a receiver; their ",
            tags.code("--help"),
            " says of which jobs.",
            class_="dim",
        )
    )
    return document("Notifications", main, subject=subject, here="/NOTIF:")


def _row(one: Registration) -> Tag:
    name = one.id.notification
    return tags.tr(
        tags.th(tags.a(name, href=f"/NOTIF:{name}", class_="id"), scope="row"),
        tags.td(shown(one.destination)),
        tags.td(
            [tags.div(" or ".join(shown(_condition(each)) for each in group)) for group in one.groups[:_SHOWN]],
            class_="wide",
        ),
        tags.td(_moment(one.valid), class_="time"),
    )


def _scope(name: str, label: str, chosen: bool) -> Flattenable:
    return tags.strong(label) if chosen else tags.a(label, href=f"/NOTIF:?{name}" if name else "/NOTIF:")


def page(one: Registration, subject: str, trouble: str | None = None) -> Deferred[bytes]:
    """One registration as a table; `trouble`: what keeps it from being delivered."""
    rows = [tags.tr(tags.th(label, scope="row"), tags.td(shown(value))) for _, label, value in _facts(one)]
    groups: list[Flattenable] = []
    for group in one.groups:
        alternatives = [shown(_condition(condition)) for condition in group]
        groups.append(tags.div(alternatives[0], [[tags.br(), "\tor ", other] for other in alternatives[1:]]))
    rows.append(tags.tr(tags.th("Conditions", scope="row"), tags.td(groups)))
    if trouble is not None:
        rows.append(tags.tr(tags.th("Not delivered", scope="row"), tags.td(shown(trouble))))
    main = [tags.h1(f"Notification {one.id.notification}"), tags.div(tags.table(tags.tbody(rows)), class_="card")]
    return document("Notification Detail", main, subject=subject)
