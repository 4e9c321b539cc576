"""Jobs out: lists in parts, one job, its events."""

from __future__ import annotations

from typing import Any

from lb.model.query import Flag
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.web.api.limits import APILimits
from lb.web.api.messages import Answer, Asked, answer
from lb.web.api.parameters import CURSOR, DEFAULT_LIMIT, FLAG, LIMIT, QUERY, read
from lb.web.jobs import JobPages
from lb.wire.documents import clean, event_document, status_document


class JobDocuments:
    """Answers with documents of jobs."""

    def __init__(self, jobs: JobPages, limits: APILimits) -> None:
        self._jobs = jobs
        self._limits = limits

    async def list(self, asked: Asked, now: int) -> Answer:
        """A part of the jobs that meet the conditions; `now`: seconds since the epoch."""
        given = read(asked.query, LIMIT, CURSOR, FLAG, QUERY, conditions=True)
        most = given.number(LIMIT, DEFAULT_LIMIT, self._limits.page_jobs)
        page = await self._jobs.page(asked.peer, given.query(now), given.named.get(CURSOR.name, ""), most)
        document: dict[str, Any] = {"jobs": [status_document(job) for job in page.jobs]}
        if page.next is not None:
            document["next_cursor"] = clean(page.next)
        return answer(document)

    async def one(self, asked: Asked, unique: str) -> Answer:
        """The state of one job."""
        return answer(status_document(await self._status(asked.peer, unique, read(asked.query, FLAG).flags())))

    async def events(self, asked: Asked, unique: str) -> Answer:
        """The events of one job, in event order."""
        read(asked.query)
        return answer({"events": [event_document(event) for event in await self._jobs.events(asked.peer, unique)]})

    async def _status(self, peer: Identity, unique: str, flags: Flag) -> JobStatus:
        return await self._jobs.status(peer, unique, flags)
