"""A sender of notifications: the client side of TLS towards a user who listens, like ours or like the C program."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory

from lb.client.connection import ILConnection
from lb.client.settings import Address
from lb.security import pki
from lb.security.tls import EndpointCredentials
from lb.wire import il
from tests.client import peers


class Sender(ILConnection):
    """What delivers notifications, to whoever listens as the user of the development PKI."""

    def __init__(self, reactor: Any, address: str, *, ours: bool = True, user: bool = False) -> None:
        _, _, port = address.rpartition(":")
        files = pki.DevelopmentPKI(peers.state_directory() / "pki")
        credentials = EndpointCredentials(files.user if user else files.host, files.authorities, reactor)
        super().__init__(Address("127.0.0.1", int(port)), _Dialer(reactor, credentials, ours=ours), reactor)

    def deliver(self, body: bytes) -> Deferred[il.Reply]:
        return self.send(il.frame(body), 30.0)


class _Dialer:
    def __init__(self, reactor: Any, credentials: EndpointCredentials, *, ours: bool) -> None:
        self._reactor = reactor
        self._credentials = credentials
        self._ours = ours

    def dial(self, address: Address, factory: Any, *, alpn: bytes | None, max_version: int) -> Deferred[Any]:
        creator = self._credentials.client_of(
            peers.IDENTITY, alpn=[il.ALPN] if self._ours else [], max_version=max_version
        )
        tls = TLSMemoryBIOFactory(creator, True, factory, clock=self._reactor)
        connecting = TCP4ClientEndpoint(self._reactor, address.host, address.port).connect(tls)
        return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)
