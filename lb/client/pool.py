"""Channels by address, so that connections are kept and never more than a bounded number of them.

What is least used goes first when the bound is met; a channel with requests under way never goes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, gatherResults

from lb.client.connection import Channel
from lb.client.settings import Address
from lb.model.errors import LBError

ChannelType = TypeVar("ChannelType", bound=Channel[Any])


class Pool(Generic[ChannelType]):
    """At most `connections` channels altogether, at most `width` to one address."""

    def __init__(self, make: Callable[[Address], ChannelType], *, connections: int, width: int = 1) -> None:
        """With `width` 1 all requests to an address keep their order."""
        self._make = make
        self._connections = connections
        self._width = width
        self._channels: list[ChannelType] = []  # the most recently used last
        self._closed = False

    def channel(self, address: Address) -> ChannelType:
        """The channel to use for the next request to `address`; raises ENOTCONN after `close`."""
        if self._closed:
            raise LBError(errno.ENOTCONN, f"{address}: this client is closed")
        there = [channel for channel in self._channels if channel.address == address]
        chosen = min(there, key=lambda channel: channel.outstanding, default=None)
        if chosen is None or (chosen.outstanding and len(there) < self._width):
            self._make_room()
            chosen = self._make(address)
        else:
            self._channels.remove(chosen)
        self._channels.append(chosen)
        return chosen

    def _make_room(self) -> None:
        for channel in [channel for channel in self._channels if not channel.outstanding]:
            if len(self._channels) < self._connections:
                break
            self._channels.remove(channel)
            channel.close()

    def close(self) -> Deferred[None]:
        """End all connections; fires when they are gone."""
        self._closed = True
        channels, self._channels = self._channels, []

        def done(results: list[None]) -> None:
            return None

        return gatherResults([channel.close() for channel in channels]).addCallback(done)
