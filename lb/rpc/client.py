"""Asking a server over Perspective Broker: the questions and answers of `lb.client.consumer`, carried by remote calls.

One connection a server, kept; a call that it died under is made once more on a new one, since asking changes nothing.
"""

from __future__ import annotations

import errno
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.spread import pb

from lb.client.dialer import Dialer, error_of_failure
from lb.client.settings import Address, Settings
from lb.model.errors import LBError
from lb.rpc.errors import error_of
from lb.rpc.pages import read_all
from lb.rpc.plain import OFFSET, plain_data

#: Path of the query protocol → method that answers the same document.
_METHODS: Final = {"/queryJobs": "query_jobs", "/queryEvents": "query_events"}
_LOST: Final = (pb.PBConnectionLost, pb.DeadReferenceError)


class _Broker(pb.Broker):
    """The client's side of a connection."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell also those who wait for the connection to be ready: with endpoints nobody else does."""
        super().connectionLost(reason)
        factory: Any = self.factory
        factory.clientConnectionLost(None, reason)


class PBCarrier:
    """Carries query documents to the Perspective Broker ports of servers."""

    def __init__(self, dialer: Dialer, clock: IReactorTime, settings: Settings) -> None:
        self._dialer = dialer
        self._clock = clock
        self._timeout = settings.query_timeout
        self._logins: dict[Address, Deferred[Any]] = {}
        self._brokers: dict[Address, pb.Broker] = {}
        self._closed = False

    async def ask(self, server: Address, path: str, document: bytes) -> bytes:
        """The answer of a server, named by its port for queries; raises `LBError`."""
        call = Deferred.fromCoroutine(self._ask(server, _METHODS[path], document))
        try:
            return await call.addTimeout(self._timeout, self._clock)
        except LBError as error:
            raise LBError(error.code, f"{server}: {error.description}") from None
        except Exception:
            self._forget(server)
            failure = Failure()
            if failure.check(CancelledError) or isinstance(failure.value, TimeoutError):
                raise LBError(errno.ETIMEDOUT, f"{server}: no answer in time") from None
            if isinstance(failure.value, _LOST):
                raise LBError(errno.ENOTCONN, f"{server}: the connection was closed before the answer") from None
            raise error_of_failure(server, failure) from None

    async def _ask(self, server: Address, method: str, document: bytes) -> bytes:
        kept = server in self._brokers
        try:
            return await self._call(server, method, document)
        except _LOST:
            if not kept:
                raise
            self._forget(server)
            return await self._call(server, method, document)

    async def _call(self, server: Address, method: str, document: bytes) -> bytes:
        perspective = await self._perspective(server)
        try:
            first, rest = await perspective.callRemote(method, document)
            return await read_all(first, rest)
        except _LOST:
            raise
        except Exception as error:
            raise error_of(error) from None

    async def _perspective(self, server: Address) -> Any:
        """The perspective on a server; all that need it wait for one login."""
        if self._closed:
            raise LBError(errno.ENOTCONN, "this client is closed")
        login = self._logins.get(server)
        if login is None:
            login = self._logins[server] = Deferred.fromCoroutine(self._log_in(server))
            login.addErrback(self._not_logged_in, server)
        waiter: Deferred[Any] = Deferred()

        def done(result: Any) -> Any:
            if not waiter.called:
                waiter.callback(result)
            return None if isinstance(result, Failure) else result

        login.addBoth(done)
        return await waiter

    def _not_logged_in(self, failure: Failure, server: Address) -> Failure:
        self._logins.pop(server, None)
        return failure

    async def _log_in(self, server: Address) -> Any:
        factory: Any = pb.PBClientFactory(security=plain_data(failures=True))
        factory.noisy = False
        factory.protocol = _Broker
        port = Address(server.host, server.port + OFFSET)
        broker = await self._dialer.dial(port, factory, alpn=None, max_version=0)
        self._brokers[server] = broker
        root = await factory.getRootObject()
        try:
            return await root.callRemote("login")
        except _LOST:
            raise
        except Exception as error:
            raise error_of(error) from None

    def _forget(self, server: Address) -> None:
        self._logins.pop(server, None)
        broker = self._brokers.pop(server, None)
        if broker is not None and not broker.disconnected:
            transport: Any = broker.transport
            transport.abortConnection()

    async def close(self) -> None:
        """End all connections; what is outstanding fails."""
        self._closed = True
        for server in tuple(self._brokers):
            self._forget(server)
