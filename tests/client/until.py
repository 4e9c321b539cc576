"""Waiting in a reactor's thread for something to become true."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred


async def until(holds: Callable[[], bool]) -> None:
    """Let the reactor turn until it holds; the test's own time-out ends it otherwise."""
    while not holds():
        turned: Deferred[None] = Deferred()
        reactor.callLater(0.001, turned.callback, None)  # type: ignore[attr-defined]
        await turned
