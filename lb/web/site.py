"""The web site of the main port: connections of browsers, what is answered before a page is asked for, headers.

The port hands over transports with the bytes read so far; who the peer is is asked of the transport, never of the
request. Bodies are read where the API takes one, and never of a peer without a name.
"""

from __future__ import annotations

import errno
import re
from collections.abc import AsyncIterator, Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from lb.model.errors import LBError, forbidden
from lb.security.identity import ANONYMOUS, Identity, UnverifiedPeerError, identity_of
from lb.service.watch import Watch
from lb.web import address, plain
from lb.web.api import requests as api_requests
from lb.web.api.messages import Answer, Streaming, problem
from lb.web.api.service import API
from lb.web.assets import ASSETS
from lb.web.jobs import Administration, JobPages, ServerInfo, Usage
from lb.web.notifications import Registrations
from lb.web.pages import PLAIN, Asked, Page, Refused, Server, counter, error, page_at
from lb.wire import http
from lb.wire.http_status import REASONS

#: Longest request line or header line, bytes.
MAX_LINE: Final = http.MAX_LINE
#: Longest head, bytes; browsers send some 700.
MAX_HEAD: Final = 32_768

_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?", re.ASCII)

#: Sent with every answer. There is no Strict-Transport-Security: it would hold for all ports of the host.
_HEADERS: Final = {
    "Server": http.SERVER_NAME,
    "Cache-Control": "no-cache",
    "Vary": "Accept",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: The answer when ours could not be made: it needs nothing that may fail again.
_FAILED: Final = Page(
    500, PLAIN, plain.error(REASONS[500], LBError(errno.EIO, "internal error of the server")).encode()
)


_PeerOf = Callable[[Any], Identity]


class Channel(HTTPChannel):
    """One connection of a browser. `peer` is found out at its first request."""

    transport: Any
    site: PageSite
    callLater: Callable[..., IDelayedCall]
    _peer: Identity | None = None
    #: Length of the body that is read, and when it has to be there.
    _body = 0
    _deadline: IDelayedCall | None = None
    _dismissed = False

    MAX_LENGTH = MAX_LINE
    totalHeadersSize = MAX_HEAD

    def resetTimeout(self) -> None:
        """The time of a head runs from its first byte, not from the last that came; a body has a bound of its own."""
        if self._body or not (self.requests or self._buffer):
            super().resetTimeout()  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self.transport.write(http.response(400, content_type="text/plain", reason="HTTP Request line too long"))
        self.loseConnection()  # type: ignore[no-untyped-call]

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """A request with a body that is not read is the last one: where the next would begin is beyond it."""
        if (self.length == 0 or self._body) and not self._dismissed:
            return bool(super().checkPersistence(request, version))  # type: ignore[no-untyped-call]
        request.responseHeaders.setRawHeaders("Connection", ["close"])
        return False

    def allHeadersReceived(self) -> None:
        """Answer now, unless there is a body to be read."""
        request = self.requests[-1]
        if self.site.bodies is not None and self.peer.name is not None:
            try:
                self._body = self.site.bodies.take(
                    self._command.decode("latin-1"), _path(self._path), request.getHeader
                )
            except LBError as refused:
                request.refused = refused
        if self._body:
            self._deadline = self.callLater(self.site.body_time, self.forceAbortClient)
        else:
            request.requestHeaders.removeHeader("Expect")
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if not self._body:
            self.length = 0

    def allContentReceived(self) -> None:
        self._forget_deadline()
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        self._release()
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._forget_deadline()
        self._release()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dismiss(self) -> None:
        """Take no further request of a peer whose certificate has expired; the one that has begun is answered."""
        self._dismissed = True
        self.persistent = 0
        if not self.requests:
            # The port ends a connection whose peer does not.
            self.setTimeout(None)  # type: ignore[no-untyped-call]
            self.loseConnection()  # type: ignore[no-untyped-call]

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            deadline, self._deadline = self._deadline, None
            if deadline.active():
                deadline.cancel()

    def _release(self) -> None:
        """The memory of the body is free."""
        body, self._body = self._body, 0
        if body and self.site.bodies is not None:
            self.site.bodies.release(body)

    @property
    def known(self) -> str | None:
        """The name of the peer, once somebody has asked who it is."""
        return None if self._peer is None else self._peer.name

    @property
    def peer(self) -> Identity:
        """Who is at the other end; the handshake is complete when anything has come."""
        if self._peer is None:
            try:
                self._peer = self.site.peer_of(self.transport)
            except UnverifiedPeerError as unverified:
                Pages.log.info("peer counts as anonymous: {why}", why=str(unverified))
                self._peer = ANONYMOUS
        return self._peer


@implementer(IPushProducer)
class Pace:
    """Waits for a slow reader."""

    def __init__(self) -> None:
        self._paused: Deferred[None] | None = None

    async def wait(self) -> None:
        """Until there is room for more; cancelled when the reader is gone."""
        if self._paused is not None:
            await self._paused

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The request tells us itself that it is over."""


class PageRequest(Request):
    """One request; the one resource of the site is asked whatever the address looks like."""

    channel: Channel
    defaultContentType = None
    #: Why the body was not read.
    refused: LBError | None = None

    def gotLength(self, length: int | None) -> None:
        """Bodies are small enough for memory, whatever Twisted would do with them."""
        self.content = BytesIO()

    def process(self) -> None:
        self.site = self.channel.site
        self.render(self.channel.site.resource)  # type: ignore[no-untyped-call]


class Pages(Resource):
    """All pages."""

    isLeaf = True
    log = Logger()

    def __init__(self, server: Server, api: API | None = None, watch: Watch | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watch = watch if watch is not None else Watch()
        self._server = server
        self._api = api

    def render(self, request: Any) -> int:
        """Begin to answer."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        api = self._api if request.uri.startswith(api_requests.PREFIX) else None
        channel: Channel = request.channel
        began = self._watch.begin()
        answer = ensureDeferred(self._respond(request) if api is None else self._respond_in_json(request, api))
        answer.addBoth(self._answered, channel, request.uri, began, "page" if api is None else "API")
        request.notifyFinish().addErrback(lambda gone: answer.cancel())
        return int(NOT_DONE_YET)

    def _answered(self, result: Any, channel: Channel, uri: bytes, began: float, kind: str) -> Any:
        self._watch.end(began, kind, channel.known, uri)
        return result

    async def _respond(self, request: Any) -> None:
        try:
            page = await self._answer(request)
        except CancelledError:
            return  # the browser went away
        except Exception:  # a mistake of ours, and still an answer
            self.log.failure("page {uri!r} failed", uri=request.uri)
            page = _FAILED
        request.setResponseCode(page.status, REASONS[page.status].encode("ascii"))
        request.setHeader("Content-Type", page.content_type)
        if page.rest is None:
            request.setHeader("Content-Length", str(len(page.body)))
        request.write(page.body)
        if page.rest is None or await self._sent(request, page.rest):
            request.finish()

    async def _sent(self, request: Any, rest: AsyncIterator[bytes]) -> bool:
        """Send the rest of a long answer as fast as it is read; whether it came to its end."""
        pace = Pace()
        request.registerProducer(pace, True)
        try:
            async for piece in rest:
                request.write(piece)
                await pace.wait()
        except CancelledError:
            return False  # the browser went away
        except Exception:
            # Its beginning is there already: only the connection's end can tell that there should be more.
            self.log.failure("page {uri!r} failed", uri=request.uri)
            request.loseConnection()
            return False
        request.unregisterProducer()
        return True

    async def _respond_in_json(self, request: Any, api: API) -> None:
        answer: Answer | Streaming
        try:
            if request.refused is not None:
                answer = problem(request.refused)
            else:
                answer = await api.answer(api_requests.asked(request, request.channel.peer))
        except CancelledError:
            return  # who asked went away
        except Exception:  # a mistake of ours, and still an answer
            self.log.failure("request {method} {uri!r} failed", method=request.method, uri=request.uri)
            answer = api_requests.FAILED
        api_requests.respond(request, answer)

    async def _answer(self, request: Any) -> Page:
        asset = ASSETS.get(request.uri.decode("latin-1")) if request.method == b"GET" else None
        if asset is not None:
            request.setHeader("Cache-Control", "public, max-age=31536000, immutable")
            return Page(200, asset.content_type, asset.content)
        at = address.read(request.uri)
        subject: str | None = None
        try:
            _check(request)
            peer = request.channel.peer
            subject = peer.name
            if subject is None:
                raise forbidden("user not authenticated")
            if self._server.usage is not None:
                self._server.usage.count(counter(at))
            return await page_at(at)(self._server, Asked(peer, subject, at, _base(request)))
        except LBError as refused:
            if refused.code == errno.EPERM:
                self.log.info(
                    "denied {uri!r} to {peer!r}: {why}", uri=request.uri, peer=subject, why=refused.description
                )
            if isinstance(refused, Refused) and refused.status == 405:
                request.setHeader("Allow", "GET")
            return await error(refused, at, subject)


def _check(request: Any) -> None:
    """Refuse, before anything is done, what is not served here."""
    if request.method == b"POST":
        raise LBError(errno.ENOSYS, "POST from a browser")
    if request.method != b"GET":
        method = request.method.decode("utf-8", "surrogateescape")
        raise Refused(405, errno.ENOSYS, f"method {method}; pages are read with GET")
    if not request.requestHeaders.hasHeader("User-Agent"):
        raise Refused(400, errno.EINVAL, "there is no User-Agent header")


def tls_identity(transport: Any) -> Identity:
    """The peer of a TLS transport whose handshake is complete; without TLS everybody is anonymous."""
    return identity_of(transport.getHandle()) if isinstance(transport, TLSMemoryBIOProtocol) else ANONYMOUS


def _base(request: Any) -> str:
    """The server's address as the client calls it; empty when it calls it nothing sensible."""
    host = request.getHeader("host") or ""
    return f"https://{host}" if _HOST.fullmatch(host) else ""


def _path(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape").partition("?")[0]


class PageSite(Site):
    """The site; `buildProtocol` gives channels that take over a transport, whoever read from it before."""

    protocol = Channel  # type: ignore[assignment]  # Twisted's wraps one that can also speak HTTP/2
    requestFactory = PageRequest

    def __init__(
        self, pages: Pages, reactor: IReactorTime, peer_of: Callable[[Any], Identity], api: API | None
    ) -> None:
        super().__init__(pages, reactor=reactor)  # type: ignore[no-untyped-call]
        self.peer_of = peer_of
        self.bodies = None if api is None else api_requests.Bodies(api)
        self.body_time = 0.0 if api is None else api.limits.post_time


def site(
    jobs: JobPages,
    reactor: IReactorTime,
    identity_of: _PeerOf = tls_identity,
    server_info: ServerInfo = ServerInfo(),  # noqa: B008  # immutable
    api: API | None = None,
    watch: Watch | None = None,
    registrations: Registrations | None = None,
    administration: Administration | None = None,
    usage: Usage | None = None,
    wsdl: Sequence[Path] = (),
) -> Site:
    """The web site that answers from `jobs`; `identity_of` tells the peer of a transport, `api` serves `/api/`.

    `watch` is told of each answer. What is None has no pages; `wsdl`: where WSDL files may be.
    """
    place = None if api is None else lambda: api.streams.position
    server = Server(jobs, server_info, reactor.seconds, registrations, place, administration, usage, wsdl)
    return PageSite(Pages(server, api, watch), reactor, identity_of, api)
