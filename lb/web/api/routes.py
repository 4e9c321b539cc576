"""The table of routes: what may be asked, with which parameters, and what answers it.

The dispatcher and the description of the API walk over this table; there is no other list of routes.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from lb.web.api.messages import EVENTS, JSON, Answer, Asked, Streaming
from lb.web.api.parameters import AFTER, CURSOR, FLAG, LIMIT, QUERY, SCOPE, Parameter

if TYPE_CHECKING:
    from lb.web.api.service import API

#: Where the API lives.
ROOT: Final = "/api/v1"

_VARIABLE: Final = re.compile(r"\{(\w+)\}")

Answering = Callable[["API", Asked, Mapping[str, str]], Awaitable[Answer | Streaming]]


class Route(msgspec.Struct, frozen=True, dict=True):
    """One thing that may be asked. `path` is below `ROOT`, with ``{name}`` for what varies."""

    method: str
    path: str
    summary: str
    answer: Answering
    schema: str  #: name of the answer's schema
    parameters: tuple[Parameter, ...] = ()
    conditions: bool = False  #: whether conditions are parameters too
    takes: Mapping[str, str] = {}  #: content type of a body → name of its schema
    produces: str = JSON
    anonymous: bool = False  #: whether who shows no certificate may ask

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(ROOT) + _VARIABLE.sub(r"(?P<\1>[^/]+)", self.path))

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(_VARIABLE.findall(self.path))

    def match(self, path: str) -> Mapping[str, str] | None:
        """The decoded values of the path's variables; None for another path."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        return {name: unquote(text, errors="surrogateescape") for name, text in found.groupdict().items()}


ROUTES: Final = (
    Route(
        "GET",
        "/jobs",
        "Jobs that meet the conditions and may be read, in a stable order; without conditions one's own",
        lambda api, asked, path: api.jobs.list(asked, int(api.now())),
        "Jobs",
        parameters=(LIMIT, CURSOR, FLAG, QUERY),
        conditions=True,
    ),
    Route(
        "GET",
        "/jobs/{unique}",
        "The state of one job, by the unique part of its id",
        lambda api, asked, path: api.jobs.one(asked, path["unique"]),
        "Job",
        parameters=(FLAG,),
    ),
    Route(
        "GET",
        "/jobs/{unique}/events",
        "The events of one job in event order",
        lambda api, asked, path: api.jobs.events(asked, path["unique"]),
        "Events",
    ),
    Route(
        "POST",
        "/events",
        "Store an event, or several; who logs them is who sends them",
        lambda api, asked, path: api.intake.post(asked, int(api.now() * 1_000_000)),
        "Results",
        takes={"application/json": "EventsIn", "application/x-ndjson": "NewEvent"},
    ),
    Route(
        "GET",
        "/stream",
        "Changes of the jobs that meet the conditions, as they happen; without conditions of one's own",
        lambda api, asked, path: api.streams.open(asked),
        "Change",
        parameters=(FLAG, QUERY, AFTER),
        conditions=True,
        produces=EVENTS,
    ),
    Route(
        "GET",
        "/registrations",
        "Registrations for notifications",
        lambda api, asked, path: api.registrations.list(asked),
        "Registrations",
        parameters=(SCOPE,),
    ),
    Route(
        "GET",
        "/registrations/{unique}",
        "One registration, by the unique part of its id",
        lambda api, asked, path: api.registrations.one(asked, path["unique"]),
        "Registration",
    ),
    Route(
        "GET",
        "/stats",
        "Figures of the server since it started",
        lambda api, asked, path: api.stats(asked),
        "Stats",
    ),
    Route(
        "GET",
        "/openapi.json",
        "This description",
        lambda api, asked, path: api.description(asked),
        "Description",
        anonymous=True,
    ),
)
