"""The table of pages: which address leads to which page, and how each is asked for and made.

A page is one function here; who asks is known and authenticated before any of them is called.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from lb.model.errors import Code, LBError, missing
from lb.model.grammar import read_query
from lb.model.jobid import parse_cached
from lb.model.query import Attribute, Condition, Flag, Operator, Query, Results
from lb.model.status import PARENT_TYPES, JobStatus
from lb.security.identity import Identity
from lb.web import notifications, plain
from lb.web.address import Address
from lb.web.api.routes import ROOT
from lb.web.jobpage import job_page
from lb.web.jobs import Jobs, ServerInfo
from lb.web.listpage import list_page
from lb.web.notifications import Registrations
from lb.web.serverpages import configuration_page, error_page, facts
from lb.wire.http_status import REASONS, Operation, status_of

HTML: Final = "text/html; charset=utf-8"
PLAIN: Final = "text/plain; charset=utf-8"
#: Where changes are told.
STREAM: Final = f"{ROOT}/stream"
#: Children that a job's page shows; a query finds all.
_CHILDREN: Final = 20

_Found = TypeVar("_Found")


class Page(NamedTuple):
    """An answer."""

    status: int
    content_type: str
    body: bytes


class Refused(LBError):  # noqa: N818  # an answer, like its base
    """An error that has its status by where it happened, not by its number."""

    def __init__(self, status: int, code: int, description: str) -> None:
        super().__init__(code, description)
        self.status = status


class Asked(NamedTuple):
    """One request: who asks for which address."""

    peer: Identity
    subject: str
    address: Address


class Server(NamedTuple):
    """What pages are made from; `now` gives seconds since the epoch. Without `registrations` they have no pages.

    `place` gives the number of the last change of a job; without it pages are not live.
    """

    jobs: Jobs
    info: ServerInfo
    now: Callable[[], float]
    registrations: Registrations | None = None
    place: Callable[[], int] | None = None

    def live(self, **conditions: str) -> str | None:
        """The address of the stream that tells what changes from now on: to be asked for before a page is made."""
        if self.place is None:
            return None
        return f"{STREAM}?{urlencode({'after': self.place(), **conditions}, errors='surrogateescape')}"


Show = Callable[[Server, Asked], Awaitable[Page]]


def _text(text: str) -> Page:
    return Page(200, PLAIN, text.encode("utf-8", "surrogateescape"))


async def _list(server: Server, asked: Asked) -> Page:
    """Own jobs, or those that a query finds."""
    # Forms send an empty query when no condition is left.
    address = asked.address._replace(query=asked.address.query or None)
    live = server.live() if address.query is None else server.live(query=address.query)
    found: Sequence[JobStatus]
    if address.query is None:
        found = await server.jobs.own_jobs(asked.peer, address.flags)
    else:
        found = await server.jobs.jobs(asked.peer, read_query(address.query, int(server.now()), address.flags))
    if not found:
        raise missing(asked.subject if address.query is None else "no matching jobs found")
    if address.text:
        return _text(plain.jobs(found, asked.subject))
    return Page(200, HTML, await list_page(found, address, asked.subject, live))


async def _job(server: Server, asked: Asked) -> Page:
    address = asked.address
    unique = address.path[1:]
    flags = address.flags | Flag.CLASSADD | Flag.CHILDREN
    if address.text:
        return _text(plain.job(await server.jobs.status(asked.peer, unique, flags)))
    live = server.live()
    status = await server.jobs.status(asked.peer, unique, flags | Flag.CHILDHIST_THOROUGH)
    events = await _if_any(server.jobs.events(asked.peer, unique))
    children: Sequence[JobStatus] = ()
    if status.jobtype in PARENT_TYPES and status.jobId is not None:
        children = await _if_any(server.jobs.jobs(asked.peer, _children(status.jobId)))
    if live is not None and status.jobId is not None:
        live += f"&jobid={quote(status.jobId, safe='', errors='surrogateescape')}"
    return Page(200, HTML, await job_page(status, events, children, address, asked.subject, live))


async def _if_any(found: Awaitable[Sequence[_Found]]) -> Sequence[_Found]:
    """What was found; nothing is no error here, nor is what this peer may not see: the state alone may be readable."""
    try:
        return await found
    except LBError as error:
        if error.code not in (errno.EPERM, errno.ENOENT):
            raise
        return ()


def _children(jobid: str) -> Query:
    parent = Condition(Attribute.PARENT, Operator.EQUAL, parse_cached(jobid))
    return Query(jobs=((parent,),), soft_limit=_CHILDREN, results=Results.LIMITED)


async def _version(server: Server, asked: Asked) -> Page:
    return _text(server.info.version)


async def _configuration(server: Server, asked: Asked) -> Page:
    known = facts(server.info, asked.subject)
    if asked.address.text:
        return _text(plain.configuration(known))
    return Page(200, HTML, await configuration_page(known, asked.subject))


async def _registrations(server: Server, asked: Asked) -> Page:
    """The list of registrations, or one of them."""
    if server.registrations is None:
        raise LBError(errno.ENOSYS, "this server has no notifications")
    address = asked.address
    unique = address.path.partition(":")[2]
    if unique:
        one = server.registrations.one(asked.peer, unique)
        if address.text:
            return _text(notifications.text(one, server.registrations.trouble(one)))
        return Page(200, HTML, await notifications.page(one, asked.subject, server.registrations.trouble(one)))
    _, own, others = notifications.SCOPES[address.scope]
    found = server.registrations.listed(asked.peer, own=own, others=others)
    if address.text:
        return _text(notifications.list_text(found))
    everybody = server.registrations.sees_all(asked.peer)
    scope = address.scope if everybody else ""
    made = await notifications.list_page(found, scope, everybody=everybody, subject=asked.subject)
    return Page(200, HTML, made)


async def _favicon(server: Server, asked: Asked) -> Page:
    raise missing("there is no favicon.ico: pages name their icon")


#: Modifiers that are pages of their own.
SPECIALS: Final[dict[str, Show]] = {"version": _version, "configuration": _configuration}
#: Pages by their path; the first that fits counts.
PATHS: Final[tuple[tuple[re.Pattern[str], Show], ...]] = (
    (re.compile("/"), _list),
    (re.compile(r"/favicon\.ico"), _favicon),
    (re.compile("/NOTIF(?::[A-Za-z0-9_-]*)?", re.ASCII), _registrations),
    # Names with these beginnings are never jobs.
    (re.compile("/(?!NOTIF(?:$|:)|RSS:|VMHOST:|static/)[^/\x00-\x20\x7f]+"), _job),
)


def page_at(address: Address) -> Show:
    """The page that an address leads to; refuses what leads nowhere."""
    if address.special is not None and address.path == "/":
        if address.special not in SPECIALS:
            raise LBError(errno.ENOSYS, f"this server has no page {address.special}")
        return SPECIALS[address.special]
    for pattern, show in PATHS:
        if pattern.fullmatch(address.path):
            return show
    raise Refused(400, Code.JOBID_FORMAT, f"{address.path}: no page and no job id")


async def error(refused: LBError, address: Address, subject: str | None) -> Page:
    """The page that says what went wrong."""
    status = refused.status if isinstance(refused, Refused) else status_of(Operation.PAGE, refused.code)
    reason = REASONS[status]
    if address.text:
        return _text(plain.error(reason, refused))._replace(status=status)
    return Page(status, HTML, await error_page(reason, refused, subject, address.query))
