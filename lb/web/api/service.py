"""The API as one object: a request in, an answer out. Knows nothing of connections.

Methods, types and authentication are checked here, before anything is looked up.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

import lb
from lb.model.errors import LBError, missing
from lb.web.api import openapi
from lb.web.api.intake import Intake, Storing
from lb.web.api.jobs import JobDocuments
from lb.web.api.limits import APILimits
from lb.web.api.messages import EVENTS, Answer, Asked, Problem, Streaming, answer, problem
from lb.web.api.parameters import read
from lb.web.api.registrations import RegistrationDocuments, Registrations
from lb.web.api.routes import ROOT, ROUTES, Route
from lb.web.api.stream import Changes, Streams
from lb.web.jobs import JobPages

_NOT_MODIFIED: Final = 304


class API:
    """Answers requests for paths below `ROOT`."""

    jobs: JobDocuments
    intake: Intake
    streams: Streams
    registrations: RegistrationDocuments
    now: Callable[[], float]
    limits: APILimits

    def __init__(
        self,
        jobs: JobPages,
        storing: Storing,
        changes: Changes,
        clock: IReactorTime,
        limits: APILimits = APILimits(),  # noqa: B008  # immutable
        figures: Callable[[], Mapping[str, float]] = dict,
        registrations: Registrations | None = None,
    ) -> None:
        """`clock` gives seconds since the epoch; `figures`: what the server counted since it started."""
        self.jobs = JobDocuments(jobs, limits)
        self.intake = Intake(storing, limits)
        self.registrations = RegistrationDocuments(registrations)
        self.streams = Streams(changes, clock, limits)
        self.now = clock.seconds
        self.limits = limits
        self._figures = figures
        self._started = clock.seconds()
        self._description = answer(openapi.document(ROUTES, ROOT, limits.page_jobs))

    async def answer(self, asked: Asked) -> Answer | Streaming:
        """The answer; only mistakes of ours raise."""
        try:
            made = await self._answer(asked)
            return made if isinstance(made, Streaming) else _fresh(asked, made)
        except LBError as error:
            return problem(error)

    async def _answer(self, asked: Asked) -> Answer | Streaming:
        here, values = _routes(asked.path)
        method = "GET" if asked.method == "HEAD" else asked.method
        allowed = ", ".join(sorted({"OPTIONS", *_methods(here)}))
        if method == "OPTIONS":
            return Answer(204, headers={"Allow": allowed})
        route = next((route for route in here if route.method == method), None)
        if route is None:
            raise Problem(405, errno.ENOSYS, f"{asked.method[:20]} of {asked.path[:80]}", {"Allow": allowed})
        if not route.anonymous and asked.peer.name is None:
            raise Problem(401, errno.EPERM, "user not authenticated: show a certificate")
        if not accepts(asked.header("accept"), route.produces):
            raise Problem(406, errno.EINVAL, f"answers are {route.produces}")
        made = await route.answer(self, asked, values)
        # Its head is all that HEAD asks for.
        return Answer(200, content_type=EVENTS) if isinstance(made, Streaming) and asked.method == "HEAD" else made

    def body_bound(self, method: str, path: str) -> int:
        """Bytes of a body that a request may have, 0 when none is taken."""
        return self.limits.post_bytes if any(r.takes and r.method == method for r in _routes_at(path)) else 0

    async def stats(self, asked: Asked) -> Answer:
        """What was counted since the start."""
        read(asked.query)
        return answer(
            {"version": lb.__version__, "uptime": round(self.now() - self._started, 3), "figures": self._figures()}
        )

    async def description(self, asked: Asked) -> Answer:
        """The OpenAPI document."""
        read(asked.query)
        return self._description


def _routes_at(path: str) -> list[Route]:
    return [route for route in ROUTES if route.match(path) is not None]


def _routes(path: str) -> tuple[list[Route], Mapping[str, str]]:
    here = _routes_at(path)
    if not here:
        raise missing(f"there is nothing at {path[:200]}; {ROOT}/openapi.json says what there is")
    return here, here[0].match(path) or {}


def _methods(routes: Sequence[Route]) -> set[str]:
    methods = {route.method for route in routes}
    return methods | {"HEAD"} if "GET" in methods else methods


def _fresh(asked: Asked, made: Answer) -> Answer:
    """The answer, without its body for whoever has it already."""
    tag = made.headers.get("ETag")
    held = asked.header("if-none-match")
    if tag is None or held is None or made.status != 200:
        return made
    tags = {each.strip().removeprefix("W/") for each in held.split(",")}
    return made._replace(status=_NOT_MODIFIED, body=b"") if tag in tags or "*" in tags else made


def accepts(header: str | None, content_type: str) -> bool:
    """Whether an Accept header takes a type: the most specific range that fits it decides (RFC 9110 §12.5.1)."""
    if header is None or not header.strip():
        return True
    kind = content_type.partition("/")[0]
    best: tuple[int, bool] = (-1, False)
    for each in header.split(","):
        span, *parameters = (part.strip().lower() for part in each.split(";"))
        if span in ("*/*", f"{kind}/*", content_type):
            rank = ("*/*", f"{kind}/*", content_type).index(span)
            refused = any(_is_zero(parameter) for parameter in parameters)
            best = max(best, (rank, not refused))
    return best[1]


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and not value.strip().strip("0.")
