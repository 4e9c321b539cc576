"""Opening sessions: credentials, brokers that say nothing, and giving up; each by every driver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from lb.broker.dial import SessionOpener
from lb.broker.errors import LoginError, LostError
from lb.broker.url import SCHEMES, BrokerURL, read_url
from lb.security.credentials import Credential
from lb.security.tls import EndpointCredentials
from tests.broker.brokers import PIKA_TLS, RABBIT_STOMP_TLS, TXAMQP_TLS, BrokerTestCase, Owner, Way, clock, for_ways
from tests.peers.certificates import Certificates, shared_certificates
from tests.peers.process import private_directory


class Silent(Protocol):
    """Accepts, and says nothing."""

    def connectionMade(self) -> None:
        self.factory.connected.callback(self)  # type: ignore[union-attr]

    def connectionLost(self, reason: object = None) -> None:
        self.factory.lost.callback(None)  # type: ignore[union-attr]


class SilentTests(TestCase):
    """Somebody listens there who is no broker."""

    timeout = 60

    def setUp(self) -> None:
        self.factory: Any = Factory.forProtocol(Silent)
        self.factory.connected, self.factory.lost = Deferred(), Deferred()
        port = clock.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def url(self, scheme: str, options: str) -> BrokerURL:
        """A URL of that port."""
        return read_url(f"{scheme}://127.0.0.1:{self.port}/?ca={shared_certificates().ca}{options}")

    async def silent(self, scheme: str) -> None:
        """The opening ends in time, and the connection with it."""
        opening = SessionOpener(clock, None).open(self.url(scheme, "&timeout=0.1"), Owner())
        error = await self.assertFailure(opening, LostError)
        self.assertIn("no answer in time; does that port speak ", str(error))
        self.assertEqual("over TLS" in str(error), SCHEMES[scheme].tls)
        await self.factory.lost

    async def cancelled(self, scheme: str) -> None:
        """Whoever does not want the session any more closes the connection."""
        opening = SessionOpener(clock, None).open(self.url(scheme, ""), Owner())
        await self.factory.connected
        opening.cancel()
        error = await self.assertFailure(opening, LostError)
        self.assertIn("given up", str(error))
        await self.factory.lost


def _for_schemes(name: str) -> None:
    method = getattr(SilentTests, name)
    for scheme in SCHEMES:

        async def test(self: SilentTests, scheme: str = scheme) -> None:
            await method(self, scheme)

        test.__doc__ = f"{method.__doc__} [{scheme}]"
        setattr(SilentTests, f"test_{name}_{scheme.replace('+', '_')}", test)


_for_schemes("silent")
_for_schemes("cancelled")


@for_ways(RABBIT_STOMP_TLS, PIKA_TLS, TXAMQP_TLS)
class CredentialTests(BrokerTestCase):
    """Who we are and whom we trust."""

    async def each_our_own(self, way: Way) -> None:
        """Without options in the URL our own certificate is shown and our own authorities are trusted."""
        made = shared_certificates()
        ours = EndpointCredentials(Credential(made.user.certificate, made.user.key), made.ca, clock)
        session = await SessionOpener(clock, ours).open(self.bare(way), Owner())
        await session.close()

    async def each_nobody(self, way: Way) -> None:
        """Without a certificate the broker refuses us; without authorities we refuse it before a word is said."""
        error = await self.assertFailure(self.open(replace(self.bare(way), ca=shared_certificates().ca)), LostError)
        self.assertIn("localhost", str(error))
        self.assertIn("a certificate that it trusts: give it with the option cert", str(error))
        error = await self.assertFailure(self.open(self.bare(way)), LoginError)
        self.assertIn("no authorities to trust", str(error))

    async def each_stranger(self, way: Way) -> None:
        """A broker whose certificate nobody we trust has signed is not believed (P7)."""
        stranger = Certificates(private_directory()).ca
        error = await self.assertFailure(self.open(replace(way.url(), ca=stranger)), LoginError)
        self.assertIn("TLS", str(error))
        self.assertIn("give whoever issued the broker's certificate with the option ca", str(error))

    def bare(self, way: Way) -> BrokerURL:
        """The way's URL without options."""
        return replace(way.url(), ca=None, cert=None, key=None, user_id=None)

    def open(self, url: BrokerURL) -> Any:
        """An opening that is to fail."""
        return SessionOpener(clock, None).open(url, Owner())
