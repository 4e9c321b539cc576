"""Opening TLS connections to named hosts, and what the failures of connections are called in the protocol's numbers.

Names are resolved by the reactor, all addresses are tried. Nothing is sent here.
"""

from __future__ import annotations

import errno
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from lb.client.settings import Address
from lb.model.errors import Code, LBError
from lb.security.credentials import CredentialError
from lb.security.tls import EndpointCredentials

#: Seconds for each address of a name; requests have time-outs of their own.
_ATTEMPT = 60.0


class Dialer(Protocol):
    """Opens connections."""

    def dial(
        self, address: Address, factory: IProtocolFactory, *, alpn: bytes | None, max_version: int
    ) -> Deferred[Any]:
        """Fires with the factory's protocol when TCP stands; the TLS handshake may still be under way."""


class TLSDialer:
    """Opens TLS connections with our credentials, to hosts whose certificates stand for their names."""

    def __init__(self, reactor: Any, credentials: EndpointCredentials) -> None:
        """`reactor` provides IReactorTCP, IReactorTime and IReactorPluggableNameResolver."""
        self._reactor = reactor
        self._credentials = credentials

    def dial(
        self, address: Address, factory: IProtocolFactory, *, alpn: bytes | None, max_version: int
    ) -> Deferred[Any]:
        protocols = [] if alpn is None else [alpn]
        creator = self._credentials.client(address.host, alpn=protocols, max_version=max_version)
        # The clock is given, since the default one belongs to the global reactor, which may not run.
        tls = TLSMemoryBIOFactory(creator, True, factory, clock=self._reactor)
        tls.noisy = False
        host = address.host.removeprefix("[").removesuffix("]")
        connecting: Deferred[Any] = HostnameEndpoint(self._reactor, host, address.port, timeout=_ATTEMPT).connect(tls)
        return connecting.addCallback(_protocol_within)


def _protocol_within(wrapper: Any) -> Any:
    return wrapper.wrappedProtocol


def error_of_failure(address: Address, failure: Failure) -> LBError:
    """What callers are told: the protocol's number for the kind of failure, and the address in words."""
    reason = failure.value
    if isinstance(reason, LBError):
        return reason
    if isinstance(reason, error.ConnectionRefusedError):
        return LBError(errno.ECONNREFUSED, f"{address}: nobody listens there")
    if isinstance(reason, error.DNSLookupError):
        return LBError(Code.DNS, f"{address}: the name of the host cannot be resolved")
    if isinstance(reason, error.TimeoutError | error.TCPTimedOutError | CancelledError):
        return LBError(errno.ETIMEDOUT, f"{address}: no answer in time")
    if isinstance(reason, SSL.Error | CredentialError):
        return LBError(Code.GSS, f"{address}: {_tls_text(reason)}")
    if isinstance(reason, error.ConnectError) and isinstance(reason.osError, int):
        return LBError(reason.osError, f"{address}: {reason}")
    if isinstance(reason, error.ConnectionClosed):
        return LBError(errno.ENOTCONN, f"{address}: the connection was closed before the answer")
    return LBError(errno.EIO, f"{address}: {reason}")


def _tls_text(reason: Exception) -> str:
    details = reason.args[0] if reason.args else None
    if isinstance(details, list):
        return "TLS: " + ("; ".join(str(entry[-1]) for entry in details if entry) or "connection broken")
    return str(reason)
