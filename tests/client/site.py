"""What a logger and a server together know, in memory: enough of both to replay streams and ask about them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.internet.error import CannotListenError

from lb.client.settings import Address
from lb.model.catalogue import BY_NAME
from lb.model.errors import LBError, missing
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import Attribute
from lb.model.status import JobStatus
from lb.state import fold
from lb.wire import http, il, ulm
from lb.wire.http_status import Operation, status_of
from lb.wire.lbxml import requests, results
from lb.wire.lbxml import status as status_document
from tests.client import peers

_REGISTRATION = BY_NAME["RegJob"]


class Site:
    """Events by job, in the order in which they came; duplicates are kept, so that tests see them."""

    def __init__(self) -> None:
        self.events: dict[JobId, list[Event]] = {}
        #: What is logged, without what is registered.
        self.logged: list[Event] = []
        self.refuse: Callable[[Event], int] = lambda event: 0

    def register(self, event: Event) -> il.Reply:
        """The store port: registers jobs, and their subjobs with them."""
        if event.type is not _REGISTRATION:
            return il.Reply(700, errno.ENOENT, "job not registered")
        self.events.setdefault(event.jobid, []).append(event)
        for subjob in fold.subjobs_of(event):
            self.events.setdefault(subjob, [])
        return il.OK

    def log(self, event: Event) -> int:
        """The logger, and at once the server behind it; returns an error number."""
        code = self.refuse(event)
        if not code:
            self.logged.append(event)
            if event.jobid in self.events:
                self.events[event.jobid].append(event)
        return code

    def find(self, job: JobId) -> list[Event]:
        """Events of a job as a query shows them; raises ENOENT."""
        found = self.events.get(job)
        if not found:
            raise missing("no matching events found")
        return found

    def status(self, job: JobId) -> JobStatus:
        """The state of a job; raises ENOENT."""
        if job not in self.events:
            raise missing("no matching jobs found")
        return fold.recompute(self.events[job], jobid=job, owner=peers.IDENTITY).status


def _answer(error: LBError, document: bytes) -> bytes:
    return http.response(status_of(Operation.QUERY, error.code), document)


class Server:
    """A site behind real ports: queries on one, events on the next, the logger anywhere."""

    def __init__(self, reactor: Any, *, ours: bool = True) -> None:
        self.site = Site()
        self.query = peers.query_peer(reactor, self._asked)
        self.store = peers.store_peer(reactor, lambda line: self.site.register(ulm.parse(line)), ours=ours)
        self.logger = peers.logger_peer(reactor, self._logged, ours=ours)
        self._put_side_by_side()

    def _put_side_by_side(self) -> None:
        """The store port has to be the one after the query port."""
        port = self.query.address.port
        for candidate in (port, *range(20000, 30000, 7)):
            try:
                if candidate != port:
                    self.query.listen_on("127.0.0.1", candidate)
                self.store.listen_on("127.0.0.1", candidate + 1)
            except CannotListenError:
                continue
            self.address = Address("127.0.0.1", candidate)
            return

    @property
    def environ(self) -> dict[str, str]:
        """An environment that leads clients here."""
        return {
            "LB_STATE_DIR": str(peers.state_directory()),
            "GLITE_WMS_QUERY_SERVER": str(self.address),
            "GLITE_WMS_LOG_DESTINATION": str(self.logger.address),
            "GLOBUS_HOSTNAME": "ui.example.org",
        }

    def _logged(self, line: bytes) -> int:
        return self.site.log(ulm.parse(line, peers.IDENTITY))

    def _asked(self, request: http.Request) -> bytes:
        if request.path == "/queryEvents":
            job = requests.read_events(request.body).jobs[0][0].value
            assert isinstance(job, JobId)
            try:
                return http.response(200, b"".join(results.write_events(self.site.find(job))))
            except LBError as error:
                return _answer(error, b"".join(results.write_events([], error)))
        asked = requests.read_jobs(request.body)
        condition = asked.jobs[0][0]
        try:
            if condition.attribute is Attribute.OWNER:
                found = list(self.site.events)
            else:
                assert isinstance(condition.value, JobId)
                found = [condition.value]
            pairs = [(str(job), status_document.write(self.site.status(job))) for job in found]
            if not pairs:
                raise missing("no matching jobs found")
            return http.response(200, b"".join(results.write_jobs(pairs)))
        except LBError as error:
            return _answer(error, b"".join(results.write_jobs([], error)))

    async def close(self) -> None:
        """End everything."""
        for peer in (self.query, self.store, self.logger):
            await peer.close()
