"""Bounds that every listening port shares: connections at once, memory for messages that have begun, time for each.

One `Bounds` a port; protocols ask it before they keep anything of a peer (P10).
"""

from __future__ import annotations

from dataclasses import dataclass

from lb.bound import GIBIBYTE, MEBIBYTE, Unit, bound

#: The most that four bytes of a length field announce.
_LONGEST = 2 * GIBIBYTE - 1


@dataclass(frozen=True)
class Limits:
    """Bounds of a port on which peers send messages; sizes in bytes, times in seconds."""

    connections: int = bound(
        "max-connections", 2_000, Unit.COUNT, "connections at once; the newest is closed beyond it"
    )
    handshake: float = bound("handshake-timeout", 30.0, Unit.SECONDS, "time until TLS must stand", least=0.1)
    idle: float = bound(
        "idle-timeout", 600.0, Unit.SECONDS, "time without a message; loggers keep connections", least=0.1
    )
    message: float = bound(
        "message-timeout",
        120.0,
        Unit.SECONDS,
        "time for a message that has begun, each megabyte earns it again",
        least=0.1,
    )
    message_bytes: int = bound("max-message", 102_400_128, Unit.BYTES, "longest message", least=1_024, most=_LONGEST)
    anonymous_bytes: int = bound(
        "max-anonymous-message",
        65_536,
        Unit.BYTES,
        "longest message of a peer without a certificate",
        least=1_024,
        most=_LONGEST,
    )
    begun_bytes: int = bound(
        "max-unfinished",
        256 * MEBIBYTE,
        Unit.BYTES,
        "messages that have begun, over all connections of a port, beside an equal share of each",
    )
    window_events: int = bound(
        "window-events", 4_096, Unit.COUNT, "messages of a connection that wait for their answer"
    )
    window_bytes: int = bound(
        "window-bytes", 16 * MEBIBYTE, Unit.BYTES, "size of the messages of a connection that wait for their answer"
    )


class Budget:
    """Memory that messages in progress hold, over all connections of a port."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.begun_bytes
        self._share = limits.begun_bytes // limits.connections
        self.held = 0

    def change(self, before: int, after: int) -> bool:
        """Account for a connection that held `before` and now holds `after` bytes; False when that is too much.

        An equal share is always granted, so that a few great messages never keep out the small ones; in all, no more
        than twice the bound is held.
        """
        self.held += after - before
        return self.held <= self._limit or after <= self._share
