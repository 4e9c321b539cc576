"""Pages about the server itself: its configuration, its use, what could not be done (wire-web.md §8.2, §8.3, §9)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.web.template import Flattenable, Tag, tags

from lb.model.errors import Code, LBError
from lb.web import address, filters
from lb.web.address import Address
from lb.web.frame import document, table
from lb.web.jobs import Fact, Figure, ServerInfo
from lb.web.text import SECOND, ctime, cut, shown

#: Characters of an error's description that are shown.
_DESCRIPTION: Final = 2_000

#: What a person can do about an error.
_ADVICE: Final[dict[int, str]] = {
    errno.EPERM: "A job is shown to its owner and to those whom its access list names. If your browser showed "
    "another certificate than you meant, end it and choose again when it asks.",
    errno.ENOENT: "There is nothing here by that name, or nothing that meets the conditions.",
    errno.EIDRM: "The job was removed from this server, together with its events.",
    errno.EINVAL: "Something in the address cannot be understood.",
    errno.E2BIG: "There are more jobs than this server gives at once: add conditions.",
    Code.NO_INDEX: "This server finds jobs by jobid, parent_job or owner: add one of these conditions.",
    Code.JOBID_FORMAT: "There is no page at this address.",
}
#: Errors that other conditions may cure.
_QUERY_ERRORS: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.ENOSYS, errno.E2BIG, int(Code.NO_INDEX)})


def _certificate() -> Tag:
    """How to show who one is."""
    return tags.div(
        tags.p("This server knows people by the certificates that their browsers show; yours showed none."),
        tags.ol(
            tags.li(
                "Import your certificate with its key into the browser, a file that ends in ",
                tags.code(".p12"),
                " or ",
                tags.code(".pfx"),
                ". ",
                tags.code("make run"),
                " makes one and names it.",
            ),
            tags.li("End the browser, open this page again, and choose the certificate when you are asked."),
        ),
        tags.p("Programs show one too: ", tags.code("curl --cert user.pem --key user.key --cacert ca.pem …")),
    )


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
    return document("Server Configuration", main, subject=subject, here="/?configuration")


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


def error_page(reason: str, error: LBError, subject: str | None, asked: Address) -> Deferred[bytes]:
    """What went wrong, and what can be done; the conditions that were asked for are there to be corrected."""
    main: list[Flattenable] = [
        tags.h1(reason),
        tags.p(cut(f"{error.code}: {error}", _DESCRIPTION), class_="reason"),
    ]
    if subject is None and error.code == errno.EPERM:
        main.append(_certificate())
    elif error.code in _ADVICE:
        main.append(tags.p(_ADVICE[error.code]))
    own = None if subject is None else filters.own(subject)
    if asked.query is not None and error.code in _QUERY_ERRORS:
        if error.code == Code.NO_INDEX and own is not None:
            narrowed = address.write("/", f"{own}&{asked.query}", asked.flags)
            main.append(tags.p(tags.a("The same among my own jobs", href=narrowed)))
        main += [filters.choices(asked.query), filters.conditions(asked.query, opened=True)]
    if subject is not None:
        main.append(tags.p(tags.a("My jobs", href="/"), class_="actions"))
    return document("Error", main, subject=subject)
