"""A server with its administration, everything in one thread: what is asked has been done when the call returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from lb.model.jobid import JobId
from lb.model.status import STATES
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.admin.housekeeping import Housekeeping
from lb.server.admin.loading import Load, Loading
from lb.server.admin.port import Administration, Places, Stopping
from lb.server.admin.purging import Purging
from lb.server.admin.removal import Removal
from lb.server.draft import Stream
from lb.server.jobcache import JobCache
from lb.server.query import Questions
from lb.server.queryport import QueryPort
from lb.wire import http
from lb.wire.lbxml import dump, purge
from tests.server.fixture import Server

ADMIN = Identity("/CN=admin")
NOW = 1_800_000_000
ALL = (0,) * STATES
REALLY = purge.PurgeFlag.REALLY_PURGE
LISTED = purge.PurgeFlag.LIST_JOBS
DUMPED = purge.PurgeFlag.SERVER_DUMP


class Here:
    """A thread that is this one; `before` is called before each call."""

    before: Callable[[], None] = staticmethod(lambda: None)

    def call(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Deferred[Any]:
        self.before()
        return execute(function, *arguments, **more)


class Administered:
    """A server and what administers it."""

    def __init__(self, directory: Path, *, statistics: int = 1, **options: Any) -> None:
        directory = directory.resolve()
        directory.mkdir(exist_ok=True)
        self.cache = JobCache()
        policy = Policy.open().permitting(str(ADMIN.name), Action.ADMIN_ACCESS)
        self.server = Server(directory, policy, cache=self.cache, **options)
        self.clock = Clock()
        self.clock.advance(NOW)
        self.reader = self.server.store.reader()
        self.places = Places(directory / "purge", directory / "dump", directory / "archive")
        self.writing, thread = Here(), Here()
        self.stopping = Stopping()
        writer = self.server.writer
        loading = Loading(writer, lambda: policy, self.clock.seconds, self.cache, None, 100_000)
        self.removal = Removal(writer, self.cache, self.clock.seconds)
        self.purging = Purging(
            self.reader, thread, self.removal, writer.purge.clear, self.writing, self.clock, self.stopping.check
        )
        self.housekeeping = Housekeeping(writer, self.writing, self.clock)
        load = Load(
            loading,
            thread,
            self.writing,
            (self.places.dumps, self.places.purges, self.places.archives),
            self.clock.seconds,
        )
        self.port = Administration(
            writer,
            self.writing,
            self.reader,
            thread,
            self.purging,
            load,
            self.housekeeping,
            lambda: self.server.policy,
            self.clock,
            self.places,
            own_name="/CN=localhost",
            statistics=statistics,
            go_on=self.stopping.check,
        )
        self.queries = QueryPort(Questions(thread, self.server.lookup), self.port.answers)

    def ask(self, path: str, document: bytes, peer: Identity = ADMIN) -> http.Response:
        """The response to a request."""
        return self.send(http.request("POST", path, document), peer)

    def send(self, data: bytes, peer: Identity = ADMIN) -> http.Response:
        """The response to the bytes of a request."""
        (request,) = http.RequestReader().feed(data)
        found: list[Any] = []
        self.queries.answer(request, peer).addCallback(found.append)
        (answer,) = found
        whole = b"".join(answer.pieces()) if isinstance(answer, Stream) else answer
        (response,) = http.ResponseReader().feed(whole)
        return response

    def purge(self, peer: Identity = ADMIN, **asked: Any) -> purge.Result:
        """Purge; all jobs, unless said otherwise, and listed."""
        asked = {"timeouts": ALL, "flags": REALLY | LISTED, **asked}
        return purge.read_result(self.ask("/purgeRequest", purge.write_request(purge.Request(**asked)), peer).body)

    def dump(self, since: int = dump.LAST_END, until: int = dump.NOW) -> dump.Result:
        """Dump."""
        asked = dump.write_dump_request(dump.DumpRequest(since, until))
        return dump.read_dump_result(self.ask("/dumpRequest", asked).body)

    def load(self, path: str | None) -> dump.Result:
        """Load."""
        return dump.read_load_result(self.ask("/loadRequest", dump.write_load_request(str(path))).body)

    def everything(self) -> dict[JobId, tuple[Any, ...]]:
        """All that is known of all jobs."""
        found = {}
        for key, unique in self.server.writer.after(0, 1_000_000):
            job = self.server.writer.load([unique])[unique]
            events = sorted(self.server.writer.events(key))
            found[job.jobid] = job.owner, job.parent, job.acl, job.grey, job.state.view(), job.state.hidden, events
        return found

    def close(self) -> None:
        self.reader.close()
        self.server.close()
