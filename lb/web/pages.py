"""The table of pages: which address leads to which page, and how each is asked for and made.

A page is one function here; who asks is known and authenticated before any of them is called.
"""

from __future__ import annotations

import errno
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from lb.model.errors import Code, LBError, forbidden, missing
from lb.model.grammar import read_query
from lb.model.query import Flag, Query, own_jobs
from lb.model.status import PARENT_TYPES, JobStatus
from lb.security.identity import Identity
from lb.web import feeds, notifications, plain, wsdl
from lb.web.address import Address
from lb.web.api.routes import ROOT
from lb.web.jobpage import job_page
from lb.web.jobs import Administration, JobPages, ServerInfo, Usage
from lb.web.listing import children_of, listing
from lb.web.listpage import empty_page, list_page
from lb.web.notifications import Registrations
from lb.web.serverpages import configuration_page, error_page, facts, usage_page
from lb.wire.http_status import REASONS, Operation, status_of

HTML: Final = "text/html; charset=utf-8"
PLAIN: Final = "text/plain; charset=utf-8"
RSS: Final = "application/rss+xml; charset=utf-8"
XML: Final = "text/xml; charset=utf-8"
#: Where changes are told.
STREAM: Final = f"{ROOT}/stream"
#: Children that a job's page shows; a query finds all.
_CHILDREN: Final = 20
#: Ids that are looked for at once for a text.
_PART: Final = 1_000

_Found = TypeVar("_Found")


class Page(NamedTuple):
    """An answer; `rest`: what comes behind the body, as it is found."""

    status: int
    content_type: str
    body: bytes
    rest: AsyncIterator[bytes] | None = None


class Refused(LBError):  # noqa: N818  # an answer, like its base
    """An error that has its status by where it happened, not by its number."""

    def __init__(self, status: int, code: int, description: str) -> None:
        super().__init__(code, description)
        self.status = status


class Asked(NamedTuple):
    """One request: who asks for which address; `base`: the server's own, as the asker calls it, without a slash."""

    peer: Identity
    subject: str
    address: Address
    base: str = ""


class Server(NamedTuple):
    """What pages are made from; `now` gives seconds since the epoch. Without `registrations` they have no pages.

    `place` gives the number of the last change of a job; without it pages are not live. `wsdl`: where WSDL files are.
    """

    jobs: JobPages
    info: ServerInfo
    now: Callable[[], float]
    registrations: Registrations | None = None
    place: Callable[[], int] | None = None
    administration: Administration | None = None
    usage: Usage | None = None
    wsdl: Sequence[Path] = ()

    def live(self, **conditions: str) -> str | None:
        """The address of the stream that tells what changes from now on: to be asked for before a page is made."""
        if self.place is None:
            return None
        return f"{STREAM}?{urlencode({'after': self.place(), **conditions}, errors='surrogateescape')}"


Show = Callable[[Server, Asked], Awaitable[Page]]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(text: str) -> Page:
    return Page(200, PLAIN, _encoded(text))


async def _list(server: Server, asked: Asked) -> Page:
    """Own jobs, or those that a query finds."""
    # Forms send an empty query when no condition is left.
    address = asked.address._replace(query=asked.address.query or None)
    if address.query is None:
        query = own_jobs(address.flags)
    else:
        query = read_query(address.query, int(server.now()), address.flags)
    if address.text:
        return await _list_text(server, asked, query)
    live = None
    if address.before is None:  # what changed is new: it stands on the first page
        live = server.live() if address.query is None else server.live(query=address.query)
    host = asked.base.removeprefix("https://")
    try:
        found = await listing(server.jobs, asked.peer, query, address.before)
    except LBError as error:
        if error.code != errno.ENOENT:
            raise
        return Page(404, HTML, await empty_page(error, address, asked.subject, host, live))
    return Page(200, HTML, await list_page(found, address, asked.subject, host, live))


async def _list_text(server: Server, asked: Asked, query: Query) -> Page:
    """All ids, however many, in the order of queries; sent while they are found."""
    query = msgspec.structs.replace(query, flags=query.flags | Flag.NO_STATES)
    first = await server.jobs.page(asked.peer, query, "", _PART)
    if not first.jobs:
        await server.jobs.newest(asked.peer, query, None, 1)  # says why
    if first.next is None:
        return _text(plain.jobs_begin(first.jobs) + plain.jobs_end(asked.subject))

    async def rest() -> AsyncIterator[bytes]:
        after = first.next
        while after is not None:
            part = await server.jobs.page(asked.peer, query, after, _PART)
            yield _encoded(plain.jobs_next(part.jobs))
            after = part.next
        yield _encoded(plain.jobs_end(asked.subject))

    return _text(plain.jobs_begin(first.jobs))._replace(rest=rest())


async def _job(server: Server, asked: Asked) -> Page:
    address = asked.address
    unique = address.path[1:]
    flags = address.flags | Flag.CLASSADD
    if address.text:
        status = await server.jobs.status(asked.peer, unique, flags)
        return _text(plain.job(status, await _if_any(server.jobs.related(asked.peer, unique))))
    live = server.live()
    # Children are counted as they change, and not all read.
    status = await server.jobs.status(asked.peer, unique, flags | Flag.CHILDHIST_FAST)
    events = await _if_any(server.jobs.events(asked.peer, unique))
    related = await _if_any(server.jobs.related(asked.peer, unique))
    children: Sequence[JobStatus] = ()
    if status.jobtype in PARENT_TYPES and status.jobId is not None:
        children = await _if_any(_children(server, asked.peer, status.jobId))
    if live is not None and status.jobId is not None:
        live += f"&jobid={quote(status.jobId, safe='', errors='surrogateescape')}"
    made = await job_page(status, events, children, related, address, asked.subject, live)
    return Page(200, HTML, made)


async def _if_any(found: Awaitable[Sequence[_Found]]) -> Sequence[_Found]:
    """What was found; nothing is no error here, nor is what this peer may not see: the state alone may be readable."""
    try:
        return await found
    except LBError as error:
        if error.code not in (errno.EPERM, errno.ENOENT, errno.EIDRM):
            raise
        return ()


async def _children(server: Server, peer: Identity, jobid: str) -> Sequence[JobStatus]:
    found = await server.jobs.newest(peer, children_of(jobid, Query()), None, _CHILDREN)
    return [job for _, job in found.jobs]


async def _feed(server: Server, asked: Asked) -> Page:
    """Jobs that changed lately."""
    address = asked.address
    name = address.path.partition(":")[2]
    query = feeds.query_of(name, address.query, int(server.now()))
    if query is None:
        raise LBError(errno.EINVAL, "Invalid RSS feed specified")
    found: Sequence[tuple[int, JobStatus]] = ()
    try:
        found = (await server.jobs.newest(asked.peer, query, None, feeds.MOST)).jobs
    except LBError as error:
        if error.code == Code.NO_INDEX:
            raise missing("current index configuration does not support RSS feeds") from None
    document = feeds.write(f"{asked.base}{address.path}", [job for _, job in found])
    return Page(200, PLAIN if address.text else RSS, _encoded(document))


async def _version(server: Server, asked: Asked) -> Page:
    return _text(server.info.version)


async def _configuration(server: Server, asked: Asked) -> Page:
    indices = [index[0].title for index in await server.jobs.indices()]
    known = facts(server.info, asked.subject, indices)
    if server.administration is not None and server.administration.sees_all(asked.peer):
        known += await server.administration.facts()
    if asked.address.text:
        return _text(plain.configuration(known))
    return Page(200, HTML, await configuration_page(known, asked.subject))


async def _stats(server: Server, asked: Asked) -> Page:
    if server.usage is None:
        raise LBError(errno.ENOSYS, "this server does not count its use")
    if not server.usage.seen_by(asked.peer):
        raise forbidden("Only superusers can view server usage statistics on this server.")
    figures = server.usage.figures()
    if asked.address.text:
        return _text(plain.usage(figures))
    return Page(200, HTML, await usage_page(figures, asked.subject))


async def _wsdl(server: Server, asked: Asked) -> Page:
    try:
        content = wsdl.read(asked.address.special or "", server.wsdl, asked.base)
    except LBError as error:
        raise Refused(500, error.code, error.description or "") from None
    return Page(200, PLAIN if asked.address.text else XML, content)


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
SPECIALS: Final[dict[str, Show]] = {
    **dict.fromkeys(wsdl.FILES, _wsdl),
    "version": _version,
    "configuration": _configuration,
    "stats": _stats,
}
#: Pages by their path; the first that fits counts.
PATHS: Final[tuple[tuple[re.Pattern[str], Show], ...]] = (
    (re.compile("/"), _list),
    (re.compile(r"/favicon\.ico"), _favicon),
    (re.compile(r"/RSS:[^/]*"), _feed),
    (re.compile("/NOTIF(?::[A-Za-z0-9_-]*)?", re.ASCII), _registrations),
    # Names with these beginnings are never jobs.
    (re.compile("/(?!NOTIF(?:$|:)|RSS:|VMHOST:|static/)[^/\x00-\x20\x7f]+"), _job),
)


def page_at(address: Address) -> Show:
    """The page that an address leads to; refuses what leads nowhere."""
    if address.special is not None and address.path == "/":
        return SPECIALS[address.special]
    for pattern, show in PATHS:
        if pattern.fullmatch(address.path):
            return show
    raise Refused(400, Code.JOBID_FORMAT, f"{address.path}: no page and no job id")


def counter(address: Address) -> str:
    """The usage counter of an address (wire-web.md §1.4)."""
    if address.path.startswith("/RSS:"):
        return "queries_rss"
    special = address.path == "/" and address.special is not None and address.special != "stats"
    return "queries_text" if special or address.text else "queries_html"


async def error(refused: LBError, address: Address, subject: str | None) -> Page:
    """The page that says what went wrong."""
    status = refused.status if isinstance(refused, Refused) else status_of(Operation.PAGE, refused.code)
    reason = REASONS[status]
    if address.text:
        return _text(plain.error(reason, refused))._replace(status=status)
    return Page(status, HTML, await error_page(reason, refused, subject, address))
