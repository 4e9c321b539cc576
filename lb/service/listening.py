"""Ports as services: bound at start in order, told about when all listen, closed before what they feed.

A port that cannot be had stops the daemon at once with an error that names it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

#: Connections that may wait to be accepted.
_BACKLOG = 512


class _PromptTLSFactory(TLSMemoryBIOFactory):
    """Sends what is written at once, since our ports write an answer in one piece.

    Twisted's own choice waits a turn of the reactor for more.
    """

    protocol = TLSMemoryBIOProtocol


class TLSPort(Service):
    """A listening TLS port. `bound` is the port number once it listens, also when 0 was asked for."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        factory: IProtocolFactory,
        creator: IOpenSSLServerConnectionCreator,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._factory = _PromptTLSFactory(creator, False, factory, reactor)
        self._listening: IListeningPort | None = None
        self.bound = port

    def privilegedStartService(self) -> None:
        self._listen()
        super().privilegedStartService()

    def startService(self) -> None:
        self._listen()
        super().startService()

    def _listen(self) -> None:
        if self._listening is None:
            try:
                self._listening = self._reactor.listenTCP(self._port, self._factory, _BACKLOG, self._host)
            except CannotListenError as error:
                self._log.critical(
                    "cannot listen on {host} port {port}: {reason}; stop what listens there, or choose others "
                    "(--host, --port)",
                    host=self._host,
                    port=self._port,
                    reason=getattr(error.socketError, "strerror", None) or str(error.socketError),
                )
                raise
            self.bound = self._listening.getHost().port  # type: ignore[union-attr]  # a TCP address

    def stopService(self) -> Any:
        super().stopService()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None


class Readiness(Service):
    """Says once, on standard error and to systemd, that all ports listen; the last child of a daemon's service."""

    def __init__(self, line: Callable[[], str], environ: Mapping[str, str] = os.environ) -> None:
        self._line = line
        self._environ = environ

    def startService(self) -> None:
        super().startService()
        # twistd puts its log in place of sys.stderr; this line is for whoever started the daemon.
        stream = sys.__stderr__
        if stream is not None:
            stream.write(self._line() + "\n")
            stream.flush()
        notify(self._environ, "READY=1")


def notify(environ: Mapping[str, str], state: str) -> None:
    """Tell systemd something, when it listens (sd_notify)."""
    address = environ.get("NOTIFY_SOCKET")
    if address:
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.sendto(state.encode("ascii"), address)
