"""Pages about the server itself: its configuration, its use, what could not be done (wire-web.md §8.2, §8.3, §9)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, tags

from lb.model.errors import Code, LBError
from lb.web import filters
from lb.web.frame import document, table
from lb.web.jobs import Fact, Figure, ServerInfo
from lb.web.text import SECOND, ctime, cut, shown

#: Characters of an error's description that are shown.
_DESCRIPTION: Final = 2_000

#: What a person can do about an error.
_ADVICE: Final[dict[int, str]] = {
    errno.EPERM: "A job is shown to its owner and to those whom its access list names. If your browser showed no "
    "certificate, or another one than you meant, choose one and come back.",
    errno.ENOENT: "There is nothing here by that name, or nothing that meets the conditions.",
    errno.EIDRM: "The job was removed from this server, together with its events.",
    errno.EINVAL: "Something in the address cannot be understood.",
    errno.E2BIG: "There are more jobs than this server gives at once: add conditions.",
    Code.NO_INDEX: "This server finds jobs by jobid, parent_job or owner: add one of these conditions.",
    Code.JOBID_FORMAT: "There is no page at this address.",
}
#: Errors that other conditions may cure.
_QUERY_ERRORS: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.ENOSYS, errno.E2BIG, int(Code.NO_INDEX)})


def facts(info: ServerInfo, subject: str, indices: Sequence[str]) -> list[Fact]:
    """Facts that whoever is authenticated may know; `indices`: names of columns."""
    return [
        ("server_version", "Server version", (info.version,)),
        ("server_identity", "Server identity", (info.identity,) if info.identity else ()),
        ("client_identity", "Client identity", (subject,)),
        ("server_indices", "Server indices", indices),
        ("msg_brokers", "Messaging brokers", info.brokers),
        ("msg_prefixes", "Messaging prefixes", info.prefixes),
    ]


def configuration_page(known: Sequence[Fact], subject: str) -> Deferred[bytes]:
    """The configuration as a table."""
    rows = []
    for _, label, values in known:
        if not values:
            rows.append(tags.tr(tags.th(label, scope="row", colspan="2"), class_="notused"))
            continue
        value = tags.td(
            [[shown(value), tags.br()] for value in values[:-1]], shown(values[-1].rstrip("\n")), class_="kept"
        )
        rows.append(tags.tr(tags.th(label, scope="row"), value))
    main = [
        tags.h1("LB Server Configuration"),
        tags.div(tags.table(tags.tbody(rows)), class_="card"),
        tags.p(tags.a("Usage of the server", href="/?stats"), class_="actions"),
    ]
    return document("Server Configuration", main, subject=subject)


def usage_page(figures: Sequence[Figure], subject: str) -> Deferred[bytes]:
    """The usage counters as a table, whose labels and cells are those of the C server."""
    # Scripts look at it line by line.
    rows: list[Flattenable] = [
        ["\n", tags.tr(tags.td(one.label), tags.td(str(one.number)), tags.td(ctime(one.since * SECOND)))]
        for one in figures
    ]
    columns = (("Variable", ""), ("Value", ""), ("Measured from", ""))
    main = [tags.h1("LB Server Usage Statistics"), table("Usage of the server", columns, rows)]
    return document("Server Usage Statistics", main, subject=subject)


def error_page(reason: str, error: LBError, subject: str | None, query: str | None) -> Deferred[bytes]:
    """What went wrong; `query` are the conditions that were asked for, to be corrected."""
    main: list[Flattenable] = [
        tags.h1(reason),
        tags.p(cut(f"{error.code}: {error}", _DESCRIPTION), class_="reason"),
    ]
    if error.code in _ADVICE:
        main.append(tags.p(_ADVICE[error.code]))
    if query is not None and error.code in _QUERY_ERRORS:
        main += [filters.choices(query), filters.conditions(query, opened=True)]
    return document("Error", main, subject=subject)
