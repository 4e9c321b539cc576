"""Asking a server over Perspective Broker: the questions and answers of `lb.client.consumer`, carried by remote calls.

One connection a server, kept; a call that it died under is made once more on a new one, since asking changes nothing.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.spread import pb

from lb.client.dialer import Dialer, error_of_failure
from lb.client.settings import Address, Settings
from lb.model.errors import LBError
from lb.model.query import Query
from lb.rpc.errors import error_of
from lb.rpc.following import Callback, Following
from lb.rpc.pages import read_all
from lb.rpc.plain import OFFSET, plain_data

_T = TypeVar("_T")

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


class _Link:
    """The way of one following."""

    def __init__(self, carrier: PBCarrier, server: Address) -> None:
        self._carrier = carrier
        self._server = server

    async def subscribe(self, document: bytes, callback: Callback, after: int) -> tuple[int, int]:
        number, begin = await self._carrier.call(self._server, "subscribe", document, callback, after)
        return number, begin

    async def unsubscribe(self, number: int) -> None:
        await self._carrier.call(self._server, "unsubscribe", number)

    def when_lost(self) -> Deferred[None]:
        return self._carrier.when_lost(self._server)

    @property
    def closed(self) -> bool:
        return self._carrier.closed

    def cut(self) -> None:
        self._carrier.forget(self._server)


class PBCarrier:
    """Carries query documents to the Perspective Broker ports of servers."""

    def __init__(
        self, dialer: Dialer, clock: IReactorTime, settings: Settings, random: Callable[[], float] = random.random
    ) -> None:
        """`random`: numbers from 0 to 1, for pauses."""
        self._dialer = dialer
        self._random = random
        self._clock = clock
        self._timeout = settings.query_timeout
        self._logins: dict[Address, Deferred[Any]] = {}
        self._brokers: dict[Address, pb.Broker] = {}
        self.closed = False

    async def ask(self, server: Address, path: str, document: bytes) -> bytes:
        """The answer of a server, named by its port for queries; raises `LBError`."""
        return await self._bounded(server, self._ask(server, _METHODS[path], document))

    async def _bounded(self, server: Address, asking: Coroutine[Any, Any, _T]) -> _T:
        """What is asked of a server, within the time for a query; its errors say which server it was."""
        call = Deferred.fromCoroutine(asking)
        try:
            return await call.addTimeout(self._timeout, self._clock)
        except LBError as error:
            raise LBError(error.code, f"{server}: {error.description}") from None
        except Exception:
            self.forget(server)
            failure = Failure()
            if failure.check(CancelledError, defer.TimeoutError):
                raise LBError(errno.ETIMEDOUT, f"{server}: no answer in time") from None
            if isinstance(failure.value, _LOST):
                raise LBError(errno.ENOTCONN, f"{server}: the connection was closed before the answer") from None
            raise error_of_failure(server, failure) from None

    async def follow(self, server: Address, query: Query, after: int | None = None) -> Following:
        """The changes of the jobs that meet a query, from now on, or behind the `position` of another following.

        It is the caller's to close. Raises `LBError`.
        """
        following = Following(_Link(self, server), query, after, self._clock, self._random)
        await following.open()
        return following

    async def call(self, server: Address, method: str, *arguments: Any) -> Any:
        """What a method of the perspective on a server gives; raises `LBError`."""
        return await self._bounded(server, self._twice(server, lambda: self._answer(server, method, arguments)))

    async def _answer(self, server: Address, method: str, arguments: tuple[Any, ...]) -> Any:
        perspective = await self._perspective(server)
        try:
            return await perspective.callRemote(method, *arguments)
        except _LOST:
            raise
        except Exception as error:
            raise error_of(error) from None

    def when_lost(self, server: Address) -> Deferred[None]:
        """Fires when the connection to a server ends; at once when there is none."""
        lost: Deferred[None] = Deferred()
        broker = self._brokers.get(server)
        if broker is None or broker.disconnected:
            lost.callback(None)
        else:
            broker.notifyOnDisconnect(lambda: lost.callback(None))
        return lost

    async def _ask(self, server: Address, method: str, document: bytes) -> bytes:
        async def asked() -> bytes:
            first, rest = await self._answer(server, method, (document,))
            try:
                return await read_all(first, rest)
            except _LOST:
                raise
            except Exception as error:
                raise error_of(error) from None

        return await self._twice(server, asked)

    async def _twice(self, server: Address, ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What is asked of a server, over a new connection when a kept one has died under it."""
        kept = server in self._brokers
        try:
            return await ask()
        except _LOST:
            if not kept:
                raise
            self.forget(server)
            return await ask()

    async def _perspective(self, server: Address) -> Any:
        """The perspective on a server; all that need it wait for one login."""
        if self.closed:
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

    def forget(self, server: Address) -> None:
        """End the connection to a server."""
        self._logins.pop(server, None)
        broker = self._brokers.pop(server, None)
        if broker is not None and not broker.disconnected:
            transport: Any = broker.transport
            transport.abortConnection()

    async def close(self) -> None:
        """End all connections; what is outstanding fails."""
        self.closed = True
        for server in tuple(self._brokers):
            self.forget(server)
