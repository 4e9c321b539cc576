"""Bounds that every listening port shares: connections at once, memory for messages that have begun, time for each.

One `Bounds` a port; protocols ask it before they keep anything of a peer (P10).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Documented bounds of a port; each is an option of the daemons."""

    connections: int = 2_000  #: at once; the newest is closed beyond it
    handshake: float = 30.0  #: seconds until TLS must stand
    idle: float = 600.0  #: seconds without a message; loggers keep connections
    message: float = 120.0  #: seconds from the first to the last byte of a message, per started megabyte
    message_bytes: int = 102_400_128  #: one message
    anonymous_bytes: int = 65_536  #: one message of a peer without a certificate
    begun_bytes: int = 256 << 20  #: messages that have begun, over all connections
    window_events: int = 4_096  #: messages of one connection that wait for their answer
    window_bytes: int = 16 << 20  #: the same in bytes


class Budget:
    """Memory that messages in progress hold, over all connections of a port."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def change(self, before: int, after: int) -> bool:
        """Account for a connection that held `before` and now holds `after` bytes; False when that is too much.

        What fits into a small share is always granted, so that a few great messages never keep out the small ones.
        """
        self.held += after - before
        return self.held <= self._limit or after <= _SMALL


#: A message up to this many bytes may always be read.
_SMALL = 262_144
