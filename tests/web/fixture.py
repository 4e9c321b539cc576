"""The web site without sockets: asked in bytes, answered in bytes, in front of a real server side or of given jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from html import unescape
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from lb.client.recording import Copy, read_file
from lb.model.errors import missing
from lb.model.event import Event
from lb.model.indexing import Index, from_title
from lb.model.query import Attribute, Flag, Group, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server.lookup import JobPage, Newest
from lb.server.query import Questions
from lb.store.interface import Connection
from lb.web.jobs import ServerInfo
from lb.web.site import site
from lb.wire import http, ulm
from tests.server.fixture import OWNER, Server

#: When pages are asked for, seconds since the epoch.
NOW = 1_800_000_000
#: As recorded.
INDICES = tuple(
    (from_title(title),) for title in ("STD_owner", "STD_location", "STD_destination", "STD_lastUpdateTime")
)
VECTORS = Path(__file__).with_name("vectors")


def _meets(job: JobStatus, group: Group) -> bool:
    values = {Attribute.PARENT: job.parent_job, Attribute.JOBID: job.jobId}
    return all(str(one.value) == values[one.attribute] for one in group if one.attribute in values)


class GivenJobs:
    """Answers with given jobs, to whoever asks."""

    def __init__(self, *jobs: JobStatus, events: Sequence[Event] = ()) -> None:
        self._jobs = list(jobs)
        self._events = list(events)
        self.connections: list[Connection] = []
        self.queries: list[Query] = []

    def status(self, peer: Identity, unique: str, flags: Flag) -> Deferred[JobStatus]:
        for job in self._jobs:
            if job.jobId is not None and job.jobId.endswith(f"/{unique}"):
                return succeed(job)
        return fail(missing(f"jobid='{unique}' not registered in DB"))

    def events(self, peer: Identity, unique: str) -> Deferred[list[Event]]:
        return succeed(list(self._events))

    def related(self, peer: Identity, unique: str) -> Deferred[list[Any]]:
        return succeed(list(self.connections))

    def indices(self) -> Deferred[tuple[Index, ...]]:
        return succeed(INDICES)

    def newest(self, peer: Identity, query: Query, before: int | None, most: int) -> Deferred[Newest]:
        """The first given is the newest; of several conditions those on ids and parents count, but for the first."""
        if len(query.jobs) < 2:
            self.queries.append(query)
        found = [
            (key, job)
            for key, job in zip(range(len(self._jobs), 0, -1), self._jobs, strict=True)
            if (before is None or key < before) and all(_meets(job, group) for group in query.jobs[1:])
        ]
        return succeed(Newest(found[:most], found[most - 1][0] if len(found) > most else None))

    def parents(self, uniques: Collection[str]) -> Deferred[set[str]]:
        named = {str(job.parent_job).rpartition("/")[2] for job in self._jobs if job.parent_job is not None}
        return succeed(named & set(uniques))

    def page(self, peer: Identity, query: Query, after: str, most: int) -> Deferred[JobPage]:
        """In the order given; the place in it stands for a unique part."""
        start = int(after or 0)
        more = len(self._jobs) > start + most
        return succeed(JobPage(self._jobs[start : start + most], str(start + most) if more else None))


class Here:
    """Calls blocking functions at once."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return execute(function, *arguments)


def questions(server: Server) -> Questions:
    """What a real server side answers."""
    return Questions(Here(), server.lookup)


def replay(server: Server, sample: str, peer: Identity = OWNER) -> str:
    """Log a packaged stream to a server; returns the id of its first job."""
    with resources.as_file(resources.files("lb").joinpath("samples")) as samples:
        recording = read_file(samples / f"{sample}.ulm.xz")
    copy = Copy(recording, "localhost:9000", peer.name or "")
    server.send_all([ulm.write(event) for event in (*copy.registrations, *copy.events)], peer)
    return str(copy.jobs[0])


def exchange(
    jobs: Any,
    uri: str,
    peer: Identity = OWNER,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    info: ServerInfo | None = None,
    **parts: Any,
) -> http.Response:
    """One request on a connection of its own, and what comes back for it; `parts` of the site beside jobs."""
    clock = Clock()
    clock.advance(NOW)
    pages = site(jobs, clock, lambda transport: peer, info if info is not None else ServerInfo(), **parts)
    channel: Any = pages.buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    lines = [f"{method} {uri} HTTP/1.1", "Host: localhost:9000"]
    lines += [f"{name}: {value}" for name, value in (headers if headers is not None else {"User-Agent": "t"}).items()]
    channel.dataReceived("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
    (response,) = http.ResponseReader().feed(transport.value())
    return response


def recorded(name: str) -> tuple[str, http.Response]:
    """A recorded exchange: the URI that was asked for, and the answer."""
    request, _, answer = VECTORS.joinpath(f"{name}.http").read_bytes().partition(b"<<<<<< RESPONSE\n")
    # The recording ends the file with a line end of its own.
    length = int(answer.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    head, _, body = answer.partition(b"\r\n\r\n")
    (response,) = http.ResponseReader().feed(b"%b\r\n\r\n%b" % (head, body[:length]))
    return request.split()[3].decode(), response


class Document(HTMLParser):
    """What a browser finds in a page: elements with their attributes, text, links."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.comments: list[str] = []
        self.feed(page.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def values(self, attribute: str) -> Iterator[str]:
        """The values of an attribute, wherever it is."""
        for _, attributes in self.elements:
            value = attributes.get(attribute)
            if value is not None:
                yield value

    def links(self) -> list[str]:
        return [unescape(attributes["href"] or "") for tag, attributes in self.elements if tag == "a"]
