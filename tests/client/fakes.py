"""Connections without a network: what a test wants to come of them, and what was written to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from lb.client.settings import Address


class FakeTransport:
    """What a connection writes to; the peer's ALPN answer is given."""

    def __init__(self, negotiated: bytes | None) -> None:
        self.negotiatedProtocol = negotiated
        self.written: list[bytes] = []
        self.aborted = self.closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abortConnection(self) -> None:
        self.aborted = True

    def loseConnection(self) -> None:
        self.closed = True


class FakeDialer:
    """Connections as a test wants them: each dial waits until the test says what comes of it."""

    def __init__(self) -> None:
        self.dials: list[tuple[Any, Deferred[Any], int]] = []
        self.protocols: list[Any] = []
        self.addresses: list[Address] = []

    def dial(self, address: Address, factory: Any, *, alpn: bytes | None, max_version: int) -> Deferred[Any]:
        dialing: Deferred[Any] = Deferred()
        self.addresses.append(address)
        self.dials.append((factory, dialing, max_version))
        return dialing

    def connect(self, negotiated: bytes | None = None, *, ready: bool = True) -> Any:
        """The last dial succeeds; returns the protocol."""
        factory, dialing, _ = self.dials[-1]
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(FakeTransport(negotiated))
        dialing.callback(protocol)
        self.protocols.append(protocol)
        if ready:
            protocol.handshakeCompleted()
        return protocol

    def fail(self, reason: Exception) -> None:
        """The last dial fails."""
        self.dials[-1][1].errback(reason)
