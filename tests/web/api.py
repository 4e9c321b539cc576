"""The JSON API without sockets: requests in bytes on the site's connections, in front of a real server side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.assembly import Assembly
from lb.server.changes import Changes
from lb.server.collector import Collector
from lb.server.feed import Feed
from lb.web.api.limits import APILimits
from lb.web.api.service import API
from lb.web.site import site
from lb.wire import http
from tests.server.fixture import OWNER, Server
from tests.web.fixture import NOW, Here, questions

ROOT = "/api/v1"


class Served:
    """A server side with its API."""

    def __init__(self, directory: Path, limits: APILimits | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.server = Server(directory, Policy.open())
        self.limits = limits if limits is not None else APILimits()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.collector = Collector(self.server.ingest, Here().call)
        self.changes = Changes(self.server.reader, Assembly(self.server.reader, lambda: self.server.policy, "salt"))
        self.feed = Feed(Here(), self.changes, lambda: self.server.writer.last_change, self.clock, lambda call: call())
        self.feed.startService()
        self.server.stored = self.feed.stored
        self.registrations: Any = None
        self.api = self.make()

    def make(self, storing: Any = None) -> API:
        return API(
            questions(self.server),
            storing or self.collector,
            self.feed,
            self.clock,
            self.limits,
            registrations=self.registrations,
        )

    def connect(self, peer: Identity = OWNER) -> Connection:
        return Connection(self, lambda transport: peer)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        peer: Identity = OWNER,
        **headers: str,
    ) -> http.Response:
        """One request on a connection of its own; names of headers with underscores for hyphens."""
        return self.connect(peer).ask(method, path, body, **headers)

    def get(self, path: str, peer: Identity = OWNER) -> Any:
        """The document at a path."""
        return document(self.ask("GET", path, peer=peer))

    def post(self, events: Any, peer: Identity = OWNER) -> http.Response:
        return self.ask(
            "POST", "/events", msgspec.json.encode(events), peer, Content_Type="application/json; charset=utf-8"
        )

    def close(self) -> None:
        self.server.close()


class Connection:
    """A connection that stays open."""

    def __init__(self, served: Served, peer_of: Callable[[Any], Identity]) -> None:
        self.transport = StringTransport()
        jobs = questions(served.server)
        self.channel: Any = site(jobs, served.clock, peer_of, api=served.api).buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """What comes back for it."""
        self.transport.clear()
        self.channel.dataReceived(data)
        return self.transport.value()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.Response:
        data = request(method, path, body, **headers)
        answer = self.send(data)
        if method == "HEAD":  # its Content-Length is that of the GET
            answer += b" " * int(answer.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        (response,) = http.ResponseReader().feed(answer)
        return response


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {ROOT}{path} HTTP/1.1", "Host: localhost:9000"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def document(response: http.Response, status: int = 200) -> Any:
    """The document of an answer with this status."""
    assert response.status == status, (response.status, response.body)
    return msgspec.json.decode(response.body)


class Waiting:
    """Storing that takes its time: `answer` ends it."""

    def __init__(self, *, congested: bool = False) -> None:
        self.congested = congested
        self.lines: list[bytes] = []
        self.asked: list[Deferred[Any]] = []

    def store(self, peer: Identity, lines: Any) -> Deferred[Any]:
        self.lines += lines
        self.asked.append(Deferred())
        return self.asked[-1]


def headers_of(response: http.Response, *names: str) -> Mapping[str, str | None]:
    return {name: response.headers.get(name) for name in names}
