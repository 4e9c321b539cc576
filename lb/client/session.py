"""A client put together: settings, credentials, producer, consumer and notifications on one reactor.

Credentials are looked for as C clients do, and when there are none the development PKI of the state directory serves.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred

from lb.client.consumer import Carrier, Consumer, HTTPCarrier, Pages
from lb.client.dialer import TLSDialer
from lb.client.lease import Lease
from lb.client.notification import Notifications, Registration
from lb.client.producer import Producer
from lb.client.receiver import Receiver
from lb.client.settings import Address, Settings, find_settings
from lb.client.watch import Watch
from lb.model.errors import LBError
from lb.model.query import Query
from lb.model.subject import normalise
from lb.security.credentials import Credential, Surroundings, for_client, load, trust_directory
from lb.security.identity import end_entity
from lb.security.names import slash_form
from lb.security.pki import DevelopmentPKI
from lb.security.state_directory import state_directory
from lb.security.tls import EndpointCredentials

if TYPE_CHECKING:
    from lb.broker.agent import Agent, Control
    from lb.broker.destination import Destination
    from lb.broker.url import BrokerURL
    from lb.broker.vouching import Vouching
    from lb.client.viabroker import BrokerProducer
    from lb.rpc.client import PBCarrier
    from lb.rpc.following import Following


class Trust(NamedTuple):
    """Own credential, and the directory or file of authorities that servers are checked against."""

    credential: Credential
    authorities: Path


def find_trust(
    surroundings: Surroundings,
    state: Path,
    now: float,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    authorities: Path | None = None,
) -> Trust:
    """What to show and whom to trust: explicit files, the places of the C clients, the PKI in `state`.

    Raises `CredentialError` when there is nothing, or what was found first cannot be used.
    """
    pki = DevelopmentPKI(state / "pki")
    user = pki.user if pki.user.certificate.exists() else None
    credential = for_client(surroundings, now, certificate=certificate, key=key, fallback=user)
    ours = pki.authorities if pki.authorities.exists() else None
    directory = trust_directory(surroundings, explicit=authorities, fallback=ours, credential=credential)
    return Trust(credential, directory)


class Session:
    """A producer, a consumer and registrations that share credentials and settings."""

    def __init__(self, reactor: Any, settings: Settings, trust: Trust, *, now: Callable[[], float] = time.time) -> None:
        """`reactor` provides IReactorTCP, IReactorTime and IReactorPluggableNameResolver. Raises `CredentialError`."""
        pair = load(trust.credential, now())
        if not settings.host:
            settings = msgspec.structs.replace(settings, host=socket.getfqdn())
        self.settings = settings
        self.identity = normalise(slash_form(end_entity([pair.certificate, *pair.chain])))
        self._reactor = reactor
        self._now = now
        self._credentials = EndpointCredentials(trust.credential, trust.authorities, reactor, now=now)
        self._dialer = dialer = TLSDialer(reactor, self._credentials)
        self._followed: PBCarrier | None = None
        self.producer = Producer(dialer, reactor, settings, self.identity, now=now)
        self.consumer = Consumer(_carrier(dialer, reactor, settings), settings)
        patient = msgspec.structs.replace(settings, query_timeout=settings.notification_timeout)
        self.notifications = Notifications(
            HTTPCarrier(dialer, reactor, patient), settings, Pages(dialer, reactor, patient)
        )

    def receiver(self, **arguments: Any) -> Receiver:
        """A port for notifications with the same credentials, listening; arguments as `Receiver` takes them.

        It is the caller's to close, before the session.
        """
        return Receiver(self._reactor, self._credentials, **arguments)

    def lease(self, registration: Registration, receiver: Receiver, *, seconds: float | None) -> Lease:
        """Keep a registration valid, for `seconds` each time, until it is stopped; what is lost closes the receiver."""

        def lost(error: LBError) -> None:
            Deferred.fromCoroutine(receiver.close(error))

        return Lease(self.notifications, registration, self._reactor, now=self._now, seconds=seconds, lost=lost)

    def watch(self, receiver: Receiver) -> Watch:
        """Registrations that last as long as somebody watches; it closes the receiver."""
        return Watch(self.notifications, receiver, self._reactor, now=self._now)

    def via(self, urls: Sequence[BrokerURL], destination: Destination) -> BrokerProducer:
        """A producer that sends events to a destination at a broker, from which a server collects them.

        URLs that name no certificate are shown ours. It is the caller's to close.
        """
        from lb.broker.dial import SessionOpener  # few clients want them, and their libraries need some time to load
        from lb.client.viabroker import BrokerProducer

        opener = SessionOpener(self._reactor, self._credentials)
        return BrokerProducer(urls, destination, opener, self._reactor, self.settings.log_timeout)

    def agent(
        self,
        control: Control,
        urls: Sequence[BrokerURL],
        vouching: Vouching,
        book: Path,
        allowed: Callable[[Destination], bool],
        *,
        server: Address,
        named: str | None = None,
    ) -> Agent:
        """A registration agent for a server, running; `book` is its file, the other arguments are those of `Agent`.

        It is the caller's to stop.
        """
        from lb.broker.agent import Agent
        from lb.broker.agent_book import Book
        from lb.broker.dial import SessionOpener
        from lb.client.agent import ClientRegistrar
        from lb.service.worker import Worker

        agent = Agent(
            control,
            urls,
            SessionOpener(self._reactor, self._credentials),
            vouching,
            ClientRegistrar(self.notifications, str(server)),
            Book(book),
            Worker(self._reactor, "lb-agent").call,
            allowed,
            self._reactor,
            named=named,
        )
        agent.startService()
        return agent

    async def follow(self, query: Query, *, server: Address | None = None, after: int | None = None) -> Following:
        """The changes of the jobs that meet a query, over Perspective Broker; as `PBCarrier.follow`.

        It is the caller's to close, before the session.
        """
        if self._followed is None:
            from lb.rpc.client import PBCarrier  # few clients want it

            self._followed = PBCarrier(self._dialer, self._reactor, self.settings)
        return await self._followed.follow(server or self.settings.query_server, query, after)

    async def close(self) -> None:
        """End all connections."""
        if self._followed is not None:
            await self._followed.close()
        await self.producer.close()
        await self.consumer.close()
        await self.notifications.close()


def _carrier(dialer: TLSDialer, reactor: Any, settings: Settings) -> Carrier:
    """How questions travel."""
    if not settings.perspective_broker:
        return HTTPCarrier(dialer, reactor, settings)
    from lb.rpc.client import PBCarrier  # few clients want it

    return PBCarrier(dialer, reactor, settings)


def open_session(
    reactor: Any,
    *,
    environ: Mapping[str, str] = os.environ,
    explicit: Mapping[str, Any] | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    authorities: Path | None = None,
    state: Path | None = None,
) -> Session:
    """A session with what this process finds around it; `explicit`: fields of `Settings` that are given.

    Raises `LBError` for settings and `CredentialError` for files that cannot be used.
    """
    settings = find_settings(environ, explicit)
    home, uid = Path.home(), os.getuid()
    surroundings = Surroundings(environ, home, uid)
    place = state or state_directory(environ, home, uid)
    trust = find_trust(surroundings, place, time.time(), certificate=certificate, key=key, authorities=authorities)
    return Session(reactor, settings, trust)
