"""The monitoring port: metrics for Prometheus, whether the daemon lives, whether it is ready for work.

Plain HTTP on the loopback address, for whoever is on this machine; nothing is told there of any job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from lb.bound import Unit, bound

#: Seconds within which a part of a daemon that lives gives a sign.
PATIENCE: Final = 5.0
_LOOPBACK: Final = "127.0.0.1"
_TEXT: Final = "text/plain; charset=utf-8"

#: Fails when something is not as it should be; the failure's text says what.
Check = Callable[[], object]


@dataclass(frozen=True)
class WatchLimits:
    """What is worth a line in the log."""

    slow_query: float = bound(
        "slow-query",
        0.0,
        Unit.SECONDS,
        "time beyond which a question is logged, with who asked it",
        least=0.001,
        zero="none is",
    )


class NotReadyError(Exception):
    """Why a daemon should not be given work."""


def check_certificate(expires: Callable[[], float | None], now: Callable[[], float]) -> Check:
    """Fails when our certificate has expired; both in seconds since the epoch."""

    def check() -> None:
        end = expires()
        if end is not None and end <= now():
            raise NotReadyError("it has expired")

    return check


class Monitoring(Service):
    """The port as a service; the last child of a daemon, so that it is ready when all else is."""

    def __init__(
        self,
        reactor: Any,
        port: int,
        metrics: CollectorRegistry,
        alive: Mapping[str, Check],
        ready: Mapping[str, Check],
    ) -> None:
        """`alive` are the checks of a daemon that works at all, `ready` those of one that can take work beside."""
        self._reactor = reactor
        self._port = port
        self._listening: IListeningPort | None = None
        root = Resource()
        root.putChild(b"metrics", _Metrics(metrics))
        root.putChild(b"healthz", _Checks(reactor, alive))
        root.putChild(b"readyz", _Checks(reactor, {**alive, **ready}))
        self._site = _QuietSite(root, reactor=reactor)
        self.bound = port

    def startService(self) -> None:
        super().startService()
        self._listening = self._reactor.listenTCP(self._port, self._site, interface=_LOOPBACK)
        self.bound = self._listening.getHost().port  # type: ignore[union-attr]  # a TCP address

    def stopService(self) -> Any:
        super().stopService()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None


class _QuietSite(Site):
    """Says nothing of requests: they come every few seconds for ever."""

    noisy = False

    def log(self, request: Any) -> None:
        """Nothing."""


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, metrics: CollectorRegistry) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Any) -> bytes:
        request.setHeader("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        return generate_latest(self._metrics)


class _Checks(Resource):
    """200 and ``ok``, or 503 and a line for each thing that is wrong."""

    isLeaf = True
    log = Logger()

    def __init__(self, reactor: Any, checks: Mapping[str, Check]) -> None:
        super().__init__()
        self._reactor = reactor
        self._checks = checks

    def render_GET(self, request: Any) -> int:
        asked = ensureDeferred(self._answer(request))
        request.notifyFinish().addErrback(lambda gone: asked.cancel())
        asked.addErrback(self._failed)
        return int(NOT_DONE_YET)

    def _failed(self, failure: Failure) -> None:
        if failure.check(Exception) and not failure.check("twisted.internet.defer.CancelledError"):
            self.log.failure("a check could not be answered", failure=failure)

    async def _answer(self, request: Any) -> None:
        # All at once: together they take no longer than the slowest.
        running = {name: self._begin(check) for name, check in self._checks.items()}
        wrong = [f"{name}: {reason}" for name, asked in running.items() if (reason := await asked) is not None]
        request.setResponseCode(503 if wrong else 200)
        request.setHeader("Content-Type", _TEXT)
        request.write("\n".join([*(wrong or ["ok"]), ""]).encode("utf-8", "replace"))
        request.finish()

    def _begin(self, check: Check) -> Awaitable[str | None]:
        done: Deferred[object] = maybeDeferred(check)
        done.addTimeout(PATIENCE, self._reactor)
        return done.addCallbacks(lambda _: None, lambda failure: failure.getErrorMessage() or str(failure.type))
