"""The end of a connection that txamqp carries."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.amqp_model import ChannelError
from lb.broker.amqp_txamqp import TxamqpProtocol
from lb.broker.url import read_url


class Ending(SynchronousTestCase):
    """Channels are closed one after the other, and who waits on one is told at once."""

    def test_channel_for_another(self) -> None:
        """Who asks for a channel when he hears that his is closed gets none, and the others are closed all the same."""
        url = read_url("amqp://localhost")
        session = Mock(url=url, clock=Clock())
        protocol = TxamqpProtocol(session)
        transport: Any = StringTransport()
        transport.setTcpNoDelay = lambda on: None
        transport.abortConnection = transport.loseConnection
        protocol.makeConnection(transport)
        again: list[Deferred[Any]] = []
        failed: list[Failure] = []

        def ask(failure: Failure) -> None:
            failed.append(failure)
            again.append(protocol.channel_for(Mock()))

        for _ in range(3):
            protocol.channel_for(Mock()).addErrback(ask)
        protocol.connectionLost(Failure(ConnectionResetError()))
        self.assertEqual(len(failed), 3)
        for each in again:
            self.failureResultOf(each, ChannelError)
        self.assertEqual(session.lost.call_count, 1)
