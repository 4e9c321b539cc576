"""Ports that take frames, connected without a network: their transport, and a peer that has shown who it is."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.testing import StringTransport

from lb.security.identity import Identity
from lb.service.exchange import Exchange, ExchangeFactory

_Port = TypeVar("_Port", bound=Exchange)


class Transport(StringTransport):
    """A transport that can be cut and tells how often it was written to."""

    aborted = False
    writes = 0

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def abortConnection(self) -> None:
        self.aborted = True


def connected(factory: ExchangeFactory, kind: type[_Port], peer: Identity) -> tuple[_Port, Transport]:
    """A port of a factory after the handshake with `peer`, and what it writes to."""
    port = factory.buildProtocol(None)
    assert isinstance(port, kind)
    transport = Transport()
    port.makeConnection(transport)
    port.peer = peer
    port.handshakeCompleted()
    return port, transport
