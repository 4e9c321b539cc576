"""Small peers over real TLS on loopback: one that behaves like the C programs, one like ours.

The C-like peer takes one message at a time, offers no ALPN, and closes without a TLS goodbye; messages that come before
their turn are counted in `early`.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from lb.client.session import Trust
from lb.client.settings import Address
from lb.security import pki
from lb.security.identity import identity_of
from lb.security.tls import EndpointCredentials
from lb.wire import dglog, http, il


@cache
def state_directory() -> Path:
    """A state directory with a development PKI, for all tests of the process."""
    directory = Path(tempfile.mkdtemp(prefix="lb-test-pki-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    pki.ensure(directory / "pki")
    return directory


def trust() -> Trust:
    """The user of the development PKI."""
    ours = pki.DevelopmentPKI(state_directory() / "pki")
    return Trust(ours.user, ours.authorities)


IDENTITY = "/O=LB Development/CN=Development User"


class _PeerProtocol(Protocol):
    transport: Any

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.read = peer.make_reader()
        self.queue: list[Any] = []
        self.answered = 0
        self.version = ""

    def connectionMade(self) -> None:
        self.peer.connections.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0

    def dataReceived(self, data: bytes) -> None:
        self.version = self.transport.getHandle().get_protocol_version_name()
        self.queue += self.read(data)
        if not self.peer.alpn and len(self.queue) > 1:
            self.peer.early += 1
        self.peer.reactor.callLater(0, self.serve)

    def serve(self) -> None:
        while self.queue and self.connected:
            message = self.queue.pop(0)
            self.peer.messages.append(message)
            self.peer.users.append(identity_of(self.transport.getHandle()).name)
            answer = self.peer.answer(message)
            if answer is not None:
                self.transport.write(answer)
                self.answered += 1
            if answer is None or self.answered == self.peer.close_after:
                self.hang_up()

    def hang_up(self) -> None:
        """Close as C programs do: TCP only, no TLS goodbye."""
        self.transport.transport.loseConnection()


class Peer:
    """A listening peer. `answer` gives the bytes that answer a message, None to hang up instead."""

    def __init__(
        self,
        reactor: Any,
        make_reader: Callable[[], Callable[[bytes], list[Any]]],
        answer: Callable[[Any], bytes | None],
        *,
        alpn: bytes | None = None,
        close_after: int = 0,
    ) -> None:
        self.reactor = reactor
        self.make_reader = make_reader
        self.answer = answer
        self.alpn = alpn
        self.close_after = close_after
        self.messages: list[Any] = []
        self.users: list[str | None] = []
        self.connections: list[_PeerProtocol] = []
        self.early = 0
        ours = pki.DevelopmentPKI(state_directory() / "pki")
        credentials = EndpointCredentials(ours.host, ours.authorities, reactor)
        creator = credentials.server(certificate_required=False, alpn=[alpn] if alpn else [])
        factory = Factory.forProtocol(lambda: _PeerProtocol(self))
        factory.noisy = False
        tls = TLSMemoryBIOFactory(creator, False, factory, clock=reactor)
        tls.noisy = False
        self._factory = tls
        self._ports: list[Any] = []
        self.address = Address("127.0.0.1", self.listen_on("127.0.0.1", 0))

    def listen_on(self, address: str, port: int) -> int:
        """Listen on one more address; returns the port."""
        listening = self.reactor.listenTCP(port, self._factory, interface=address)
        self._ports.append(listening)
        number: int = listening.getHost().port
        return number

    def hang_up(self) -> None:
        """End all connections, as a C server does with idle ones."""
        for connection in self.connections:
            if connection.connected:
                connection.hang_up()

    async def close(self) -> None:
        """Stop listening and end all connections."""
        for connection in self.connections:
            if connection.connected:
                connection.transport.abortConnection()
        while self._ports:
            await self._ports.pop().stopListening()


def _read_lines() -> Callable[[bytes], list[bytes]]:
    reader = il.FrameReader()
    return lambda data: [il.read_line(body) for body in reader.feed(data)]


def store_peer(
    reactor: Any, answer: Callable[[bytes], il.Reply | None] = lambda line: il.OK, *, ours: bool = False, **more: Any
) -> Peer:
    """A store port; messages are event lines."""

    def reply(line: bytes) -> bytes | None:
        found = answer(line)
        return None if found is None else il.write_reply(found)

    return Peer(reactor, _read_lines, reply, alpn=il.ALPN if ours else None, **more)


def logger_peer(
    reactor: Any, answer: Callable[[bytes], int | None] = lambda line: 0, *, ours: bool = False, **more: Any
) -> Peer:
    """A logger; messages are event lines."""

    def code(line: bytes) -> bytes | None:
        found = answer(line)
        return None if found is None else dglog.answer(found)

    return Peer(reactor, lambda: dglog.MessageReader().feed, code, alpn=dglog.ALPN if ours else None, **more)


def query_peer(reactor: Any, answer: Callable[[http.Request], bytes | None], **more: Any) -> Peer:
    """A query port; messages are requests."""
    return Peer(reactor, lambda: http.RequestReader().feed, answer, **more)
