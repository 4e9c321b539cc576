"""Asking servers about jobs and events, in the documents that C clients send (spec: wire-query.md §7).

A query about one job goes to the server in its id, other queries to the server of the settings.
Errors that come inside an answer are raised like all others; a cut answer keeps what came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.interfaces import IReactorTime

from lb.client.connection import HTTPConnection
from lb.client.dialer import Dialer
from lb.client.pool import Pool
from lb.client.settings import Address, Settings
from lb.model import query
from lb.model.catalogue import LEVEL_SYSTEM
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import Flag, Query, Results
from lb.model.status import JobStatus
from lb.wire import http, http_status, recompute
from lb.wire.lbxml import requests, results

#: What C clients ask for when they show one job.
FULL: Final = Flag.CLASSADD | Flag.CHILDREN | Flag.CHILDSTAT
#: Connections to one server: each does one query at a time.
_WIDTH: Final = 8


class CutAnswerError(LBError):
    """More matched than a limit allows; `results` holds what came nonetheless."""

    def __init__(self, error: LBError, results: list[Any]) -> None:
        super().__init__(error.code, error.description)
        self.results = results


class Carrier(Protocol):
    """A way for query documents to servers, as one identity."""

    async def ask(self, server: Address, path: str, document: bytes) -> bytes:
        """The document that answers another one, sent to a path of the query protocol; raises `LBError`."""

    async def close(self) -> None:
        """End all connections; what is outstanding fails."""


class HTTPCarrier:
    """The way of C clients: a POST to the path."""

    def __init__(self, dialer: Dialer, clock: IReactorTime, settings: Settings) -> None:
        self._timeout = settings.query_timeout
        self._servers: Pool[HTTPConnection] = Pool(
            lambda address: HTTPConnection(address, dialer, clock), connections=settings.connections, width=_WIDTH
        )

    async def ask(self, server: Address, path: str, document: bytes) -> bytes:
        message = http.request("POST", path, document)
        response = await self._servers.channel(server).send(message, self._timeout)
        error = http_status.failure(response.status, response.reason, response.body)
        if error is not None:
            raise LBError(error.code, f"{server}: {error.description}")
        return response.body

    async def close(self) -> None:
        await self._servers.close()


class Pages:
    """Pages of servers, as they are for scripts. On a connection that has asked for one, nothing else is answered."""

    def __init__(self, dialer: Dialer, clock: IReactorTime, settings: Settings) -> None:
        self._timeout = settings.query_timeout
        self._servers: Pool[HTTPConnection] = Pool(
            lambda address: HTTPConnection(address, dialer, clock), connections=settings.connections
        )

    async def get(self, server: Address, path: str) -> bytes:
        """A page's body; raises EPERM, ENOENT and what else its status says."""
        response = await self._servers.channel(server).send(http.page_request(path, str(server)), self._timeout)
        error = http_status.page_failure(response.status, response.reason)
        if error is not None:
            raise LBError(error.code, f"{server}: {error.description}")
        return response.body

    async def close(self) -> None:
        """End all connections; what is outstanding fails."""
        await self._servers.close()


class Consumer:
    """Asks over a carrier."""

    def __init__(self, carrier: Carrier, settings: Settings) -> None:
        self.settings = settings
        self.carrier = carrier

    async def status(self, jobid: JobId, flags: Flag = FULL) -> JobStatus:
        """The state of a job; raises ENOENT, EPERM (not yours to read), EIDRM (purged)."""
        found = await self._jobs(self.server_of(jobid), query.of_job(jobid, flags))
        if not found or found[0].status is None:
            raise LBError(2, f"{jobid}: the server's answer holds no state")
        return found[0].status

    async def events(
        self, asked: JobId | Query, *, level: int = LEVEL_SYSTEM, server: Address | None = None
    ) -> list[Event]:
        """The events of a job up to a level, in event order, or those that match a query; raises ENOENT without any."""
        if isinstance(asked, Query):
            limited = self._limited(asked, self.settings.events_limit)
        else:
            limited = query.log_of_job(asked, level)
            server = server or self.server_of(asked)
        document = requests.write_events(limited)
        body = await self.carrier.ask(server or self.settings.query_server, "/queryEvents", document)
        answer = results.read_events(body)
        if answer.error is not None:
            raise CutAnswerError(answer.error, answer.events) if answer.events else answer.error
        return answer.events

    async def jobs(self, asked: Query, *, server: Address | None = None) -> list[JobStatus]:
        """The states of the jobs that match; raises ENOENT when there are none."""
        limited = self._limited(asked, self.settings.jobs_limit)
        found = await self._jobs(server or self.settings.query_server, limited)
        return [job.status for job in found if job.status is not None]

    async def job_ids(self, asked: Query, *, server: Address | None = None) -> list[str]:
        """The ids of the jobs that match, without their states; raises ENOENT when there are none."""
        limited = self._limited(asked, self.settings.jobs_limit)
        bare = msgspec.structs.replace(limited, flags=Flag.NO_STATES)
        found = await self._jobs(server or self.settings.query_server, bare)
        return [job.jobid for job in found if job.jobid is not None]

    async def recompute(
        self, *, repair: bool = False, server: Address | None = None
    ) -> AsyncIterator[recompute.Answer]:
        """Have a server of ours check all its stored states, or repair them, slice by slice; raises EPERM."""
        after: int | None = 0
        while after is not None:
            asked = recompute.write(recompute.Request(after=after, repair=repair))
            body = await self.carrier.ask(server or self.settings.query_server, recompute.PATH, asked)
            answer = recompute.read_answer(body)
            yield answer
            after = answer.last

    async def own_jobs(self, flags: Flag = query.NO_FLAGS, *, server: Address | None = None) -> list[JobStatus]:
        """The states of the own jobs on a server; raises ENOENT when there are none."""
        return await self.jobs(query.own_jobs(flags), server=server)

    async def close(self) -> None:
        """End all connections; what is outstanding fails."""
        await self.carrier.close()

    def server_of(self, jobid: JobId) -> Address:
        """Whom to ask about a job."""
        if self.settings.query_server_override:
            return self.settings.query_server
        return Address(jobid.host, jobid.port)

    def _limited(self, asked: Query, limit: int) -> Query:
        """The query with the limits of the settings, where it has none."""
        return msgspec.structs.replace(
            asked,
            soft_limit=asked.soft_limit or limit,
            results=asked.results if asked.results is not Results.UNDEFINED else self.settings.results,
        )

    async def _jobs(self, server: Address, asked: Query) -> list[results.Job]:
        answer = results.read_jobs(await self.carrier.ask(server, "/queryJobs", requests.write_jobs(asked)))
        if answer.error is not None:
            states = [job.status for job in answer.jobs if job.status is not None]
            raise CutAnswerError(answer.error, states) if states else answer.error
        return answer.jobs
