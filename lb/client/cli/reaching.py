"""Reaching services for other things than a session does: pages of servers, and whether somebody is there at all.

Nothing is registered or logged this way. It loads the reactor and TLS: commands import it when they run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lb.client.blocking import call
from lb.client.cli import Surroundings
from lb.client.consumer import Pages
from lb.client.dialer import TLSDialer, error_of_failure
from lb.client.session import find_trust
from lb.client.settings import Address, Settings, find_settings
from lb.security import credentials
from lb.security.state_directory import state_directory
from lb.security.tls import EndpointCredentials

_T = TypeVar("_T")


class Reach:
    """Ways to services, with the credentials of a client."""

    def __init__(self, reactor: Any, dialer: TLSDialer, settings: Settings) -> None:
        self.settings = settings
        self._reactor = reactor
        self._dialer = dialer
        self._pages = Pages(dialer, reactor, settings)

    async def page(self, server: Address, path: str) -> str:
        """A page of a server, as it is for scripts; raises `LBError`."""
        return (await self._pages.get(server, path)).decode("utf-8", "surrogateescape")

    async def greet(self, address: Address) -> None:
        """Shake hands with a service and leave; raises `LBError` when nobody is there, or not with us."""
        greeting = _Greeting()
        factory = Factory.forProtocol(lambda: greeting)
        factory.noisy = False
        done: Deferred[None] = self._dialer.dial(address, factory, alpn=None, max_version=SSL.TLS1_2_VERSION)
        done.addCallback(lambda protocol: greeting.shaken)
        # What is left is the cancellation, which is told as a time-out.
        done.addTimeout(self.settings.query_timeout, self._reactor, lambda cancelled, seconds: cancelled)
        done.addErrback(lambda failure: Failure(error_of_failure(address, failure)))
        try:
            await done
        finally:
            if greeting.transport is not None:
                greeting.transport.loseConnection()

    async def close(self) -> None:
        """End all connections."""
        await self._pages.close()


@implementer(IHandshakeListener)
class _Greeting(Protocol):
    """Fires `shaken` after the handshake, or with the reason why there was none."""

    transport: Any = None

    def __init__(self) -> None:
        self.shaken: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        self.shaken.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.shaken.called:
            self.shaken.errback(reason)


def reach(
    given: argparse.Namespace, around: Surroundings, work: Callable[[Reach], Coroutine[Any, Any, _T]], **settings: Any
) -> _T:
    """What `work` returns; credentials as the arguments of `add_connection` say, `settings` explicit ones."""

    async def run(reactor: Any) -> _T:
        home, uid = Path.home(), os.getuid()
        surroundings = credentials.Surroundings(around.environ, home, uid)
        place = given.state_dir or state_directory(around.environ, home, uid)
        explicit = {"query_timeout": given.timeout, **settings}
        trust = find_trust(
            surroundings, place, time.time(), certificate=given.cert, key=given.key, authorities=given.ca_dir
        )
        dialer = TLSDialer(reactor, EndpointCredentials(trust.credential, trust.authorities, reactor))
        way = Reach(reactor, dialer, find_settings(around.environ, explicit))
        try:
            return await work(way)
        finally:
            await way.close()

    return call(run)
