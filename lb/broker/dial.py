"""Opening sessions: the connection, plain or TLS, and the driver that the URL names.

A session that does not stand in time is given up; nothing is tried twice here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from lb.broker import amqp_pika, amqp_txamqp, stomp
from lb.broker.errors import LoginError, LostError
from lb.broker.session import Owner, Session
from lb.broker.url import BrokerURL
from lb.security.credentials import Credential, CredentialError
from lb.security.tls import EndpointCredentials

_DRIVERS: Final[dict[str, Callable[[IReactorTime, BrokerURL, Owner], tuple[IProtocol, Deferred[Session]]]]] = {
    "stomp": stomp.connect,
    "pika": amqp_pika.connect,
    "txamqp": amqp_txamqp.connect,
}


class Opener(Protocol):
    """Opens sessions."""

    def open(self, url: BrokerURL, owner: Owner) -> Deferred[Session]:
        """Fires when the session stands; fails with LostError, also when it is cancelled."""


class SessionOpener:
    """Opens sessions over the network, with our credentials wherever a URL names no others."""

    def __init__(self, reactor: Any, credentials: EndpointCredentials | None) -> None:
        """`reactor` provides IReactorTCP, IReactorTime and IReactorPluggableNameResolver.

        `credentials` None suits brokers without TLS, and URLs with `ca` and, where wanted, `cert`.
        """
        self._reactor = reactor
        self._credentials = credentials
        self._own: dict[tuple[Path | None, Path | None, Path | None], EndpointCredentials] = {}

    def open(self, url: BrokerURL, owner: Owner) -> Deferred[Session]:
        protocol, opened = _DRIVERS[url.driver](self._reactor, url, owner)
        try:
            factory = self._factory(url, protocol)
        except CredentialError as reason:
            opened.errback(LoginError(f"{url}: {reason}"))
            return opened
        endpoint = HostnameEndpoint(self._reactor, url.host, url.port, timeout=url.timeout)
        connecting: Deferred[Any] = endpoint.connect(factory)
        connecting.addErrback(lambda failure: None if opened.called else opened.errback(failure))
        opened.addTimeout(url.timeout, self._reactor)

        def drop() -> None:
            connecting.cancel()
            if protocol.transport is not None:  # type: ignore[attr-defined]
                protocol.transport.abortConnection()  # type: ignore[attr-defined]

        def give_up(result: Deferred[Session]) -> None:
            result.errback(LostError(f"{url}: given up"))
            drop()

        def failed(failure: Failure) -> None:
            if not result.called:
                drop()
                result.errback(_reason(failure.value, url))

        result: Deferred[Session] = Deferred(give_up)
        opened.addCallbacks(result.callback, failed)
        return result

    def _factory(self, url: BrokerURL, protocol: IProtocol) -> IProtocolFactory:
        factory = _OneProtocol(protocol)
        if not url.tls:
            return factory
        creator = self._credentials_for(url).client(url.host, max_version=0)
        # The clock is given, since the default one belongs to the global reactor, which may not run.
        tls = TLSMemoryBIOFactory(creator, True, factory, clock=self._reactor)
        tls.noisy = False
        return tls

    def _credentials_for(self, url: BrokerURL) -> EndpointCredentials:
        chosen = (url.cert, url.key, url.ca)
        if not any(chosen) and self._credentials is not None:
            return self._credentials
        if chosen not in self._own:
            self._own[chosen] = self._read(url)
        return self._own[chosen]

    def _read(self, url: BrokerURL) -> EndpointCredentials:
        if url.ca is None:
            raise CredentialError("no authorities to trust", str(url), "Give the option ca of the URL")
        credential = None if url.cert is None else Credential(url.cert, url.key or url.cert)
        return EndpointCredentials(credential, url.ca, self._reactor)


class _OneProtocol(Factory):
    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Any:
        return self._protocol


def _reason(reason: BaseException | None, url: BrokerURL) -> LostError:
    if isinstance(reason, LoginError):
        return reason
    if isinstance(reason, LostError):  # nothing was said before the broker hung up
        return LostError(f"{str(reason).rstrip('.')}; {_doubt(url)}")
    if isinstance(reason, error.ConnectionRefusedError):
        return LostError(f"{url}: nobody listens there")
    if isinstance(reason, error.DNSLookupError):
        return LostError(f"{url}: the name of the host cannot be resolved")
    if isinstance(reason, error.TimeoutError):
        return LostError(f"{url}: the host does not answer in time")
    if isinstance(reason, defer.TimeoutError):
        return LostError(f"{url}: no answer in time; {_doubt(url)}")
    return LostError(f"{url}: {reason}")


def _doubt(url: BrokerURL) -> str:
    """What is mostly wrong with a port where somebody listens who does not let us in, nor says why."""
    protocol = "STOMP" if url.driver == "stomp" else "AMQP 0-9-1"
    if url.tls:
        return f"does that port speak {protocol} over TLS, and does the broker take our certificate?"
    return f"does that port speak {protocol}, and without TLS?"
