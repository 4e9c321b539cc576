"""A Perspective Broker port on loopback over real TLS, in front of a real server side, and a client of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, succeed
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from lb.client.consumer import Consumer
from lb.client.dialer import TLSDialer
from lb.client.settings import Address, Settings
from lb.model.errors import LBError
from lb.rpc import port
from lb.rpc.client import PBCarrier
from lb.rpc.plain import OFFSET
from lb.rpc.realm import Offered
from lb.security import pki
from lb.security.credentials import Credential
from lb.security.identity import Identity
from lb.security.tls import EndpointCredentials
from lb.server.assembly import Assembly
from lb.server.changes import Changes
from lb.server.feed import Feed
from lb.server.query import Questions
from lb.service.bounds import Limits
from tests.client import peers
from tests.server.fixture import Server

reactor: Any = _reactor
USER = Identity(peers.IDENTITY)
#: Followers that the server tells of changes.
FOLLOWERS = 3


class AtOnce:
    """A thread that is done already."""

    def call(self, function: Any, *arguments: Any) -> Deferred[Any]:
        try:
            return succeed(function(*arguments))
        except LBError as error:
            failed: Deferred[Any] = Deferred()
            failed.errback(error)
            return failed


class Served(TestCase):
    """A port on loopback and a client of it."""

    timeout = 60

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory)
        self.addCleanup(self.server.close)
        questions: Any = Questions(AtOnce(), self.server.lookup)
        changes = Changes(self.server.reader, Assembly(self.server.reader, lambda: self.server.policy, "salt"))
        self.feed = Feed(AtOnce(), changes, lambda: self.server.writer.last_change, reactor, lambda call: call())
        self.server.stored = self.feed.stored
        self.feed.startService()
        self.addCleanup(self.feed.stopService)
        self.factory = port.PBFactory(Offered(questions, self.feed, reactor, FOLLOWERS), Limits())
        trust = peers.trust()
        self.credentials = EndpointCredentials(trust.credential, trust.authorities, reactor)
        host = pki.DevelopmentPKI(peers.state_directory() / "pki").host
        server = EndpointCredentials(Credential(host.certificate, host.key), trust.authorities, reactor)
        creator = server.server(certificate_required=False)
        listening = reactor.listenTCP(0, TLSMemoryBIOFactory(creator, False, self.factory), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.address = Address("127.0.0.1", listening.getHost().port - OFFSET)
        settings = Settings(query_server=self.address, query_server_override=True, query_timeout=30.0)
        self.carrier = PBCarrier(TLSDialer(reactor, self.credentials), reactor, settings)
        self.consumer = Consumer(self.carrier, settings)

    async def tearDown(self) -> None:
        await self.consumer.close()
        # The port's side of a connection ends a moment after the client's.
        while self.factory._connections:
            waiter: Deferred[None] = Deferred()
            reactor.callLater(0.001, waiter.callback, None)
            await waiter
