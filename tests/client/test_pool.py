"""Which channel serves a request, and how many there are."""

from __future__ import annotations

import errno

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.client.connection import HTTPConnection
from lb.client.pool import Pool
from lb.client.settings import Address
from lb.model.errors import LBError
from tests.client.fakes import FakeDialer

A, B, C = (Address(host, 9000) for host in "abc")


class PoolTests(SynchronousTestCase):
    """Channels by address."""

    def setUp(self) -> None:
        self.dialer = FakeDialer()
        self.clock = Clock()

    def pool(self, connections: int, width: int) -> Pool[HTTPConnection]:
        return Pool(
            lambda address: HTTPConnection(address, self.dialer, self.clock), connections=connections, width=width
        )

    def occupy(self, channel: HTTPConnection) -> None:
        channel.submit(b"x", 10, lambda answer, error: None)

    def test_kept(self) -> None:
        """The same channel serves an address again and again, and others theirs."""
        pool = self.pool(5, 1)
        first = pool.channel(A)
        self.occupy(first)
        self.assertIs(pool.channel(A), first)
        self.assertIsNot(pool.channel(B), first)

    def test_width(self) -> None:
        """Busy channels are joined by new ones up to the width, then the least busy one is taken."""
        pool = self.pool(5, 2)
        first = pool.channel(A)
        self.occupy(first)
        second = pool.channel(A)
        self.assertIsNot(second, first)
        self.occupy(second)
        self.occupy(second)
        self.assertIs(pool.channel(A), first)

    def test_bound(self) -> None:
        """P10: beyond the bound the least recently used idle channel is closed, never one at work."""
        pool = self.pool(2, 1)
        first, second = pool.channel(A), pool.channel(B)
        self.occupy(first)
        pool.channel(C)
        self.assertIs(pool.channel(A), first)
        self.assertIsNot(pool.channel(B), second)
        told: list[LBError | None] = []
        second.submit(b"x", 10, lambda answer, error: told.append(error))
        self.assertIsNotNone(told[0])

    def test_closed(self) -> None:
        """A closed pool serves nobody."""
        pool = self.pool(2, 1)
        self.occupy(pool.channel(A))
        self.successResultOf(pool.close())
        with self.assertRaises(LBError) as raised:
            pool.channel(A)
        self.assertEqual(raised.exception.code, errno.ENOTCONN)
        self.assertEqual(self.clock.getDelayedCalls(), [])
