"""What is on its way to all receivers together is bounded in bytes and in connections, and everybody is served."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.model.registration import Registration
from lb.server.notify.flight import Flight
from lb.server.notify.queue import OutboxQueue
from lb.service.delivery import Delivery
from lb.service.link import FAREWELL
from lb.service.turns import LEAST, TICK, Turns
from lb.wire import il
from tests.notify.registrations import ALICE
from tests.notify.test_notifier import LIMITS, Notifying


class Memory(SynchronousTestCase):
    """The account alone."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.flight = Flight(100, 5, self.clock)

    def test_bound(self) -> None:
        """P10: up to the bound everything is taken, beyond it only what is within an equal share."""
        for held, size, taken in ((0, 99, True), (99, 2, False), (99, 1, True), (0, 21, False), (0, 20, True)):
            self.assertEqual(self.flight.take(held, size), taken, (held, size))
        self.assertEqual(self.flight.held, 120)

    def test_greater_than_everything(self) -> None:
        """P5: what alone is greater than the bound goes when nothing else is on its way."""
        self.assertTrue(self.flight.take(0, 1))
        self.assertFalse(self.flight.take(0, 1_000))
        self.flight.give(1, list)
        self.assertTrue(self.flight.take(0, 1_000))

    def test_most(self) -> None:
        """No more is read than can be taken, and never nothing."""
        self.assertEqual(self.flight.most(0, 70), 70)
        self.flight.take(0, 90)
        self.assertEqual((self.flight.most(0, 70), self.flight.most(15, 70)), (20, 10))
        self.flight.take(0, 20)
        self.assertEqual(self.flight.most(20, 70), 1)

    def test_waiting(self) -> None:
        """Who waits is called once when there is room, not amid what makes room; who gives, in any case."""
        called: list[str] = []
        mine, other = partial(called.append, "mine"), partial(called.append, "other")
        self.flight.take(0, 100)
        self.flight.take(0, 20)
        for wake in (mine, mine, other):
            self.flight.wait(wake)
        self.flight.give(20, mine)
        self.assertEqual(called, [])
        self.clock.advance(0)
        self.assertEqual(called, ["mine"])
        self.flight.give(1, list)
        self.flight.give(1, list)
        self.clock.advance(0)
        self.assertEqual(called, ["mine", "other"])


class FewBytes(Notifying):
    """Room for some notifications to all receivers."""

    flight_bytes = 8_000

    def test_frozen_receivers(self) -> None:
        """P5, P10: frozen receivers hold the bound between them, and one that answers gets everything."""
        made = [self._register(number, destination=f"127.0.0.1:{number}") for number in range(1, 7)]
        for one in made:
            self.receivers[one.destination, ALICE].pipelining = True
        told = self._tell(*made, count=60)
        self.assertLess(self.flight.held, 2 * self.flight_bytes)
        got: list[int] = []
        while received := self._got("127.0.0.1:6"):
            got += received
            self._reply(*[il.OK] * len(received), address="127.0.0.1:6")
            self._advance(0)
            self.assertLess(self.flight.held, 2 * self.flight_bytes)
        self.assertEqual(got, told)
        for one in made:
            self.notifier.remove(one.number)
        self.assertEqual(self.flight.held, 0)


class FewConnections(Notifying):
    """Two connections at once."""

    def setUp(self) -> None:
        super().setUp()
        self.turns = Turns(2, self.clock)

    def _deliver(self, queue: OutboxQueue, registration: Registration) -> Delivery[Any]:
        receiver = self.receivers[registration.destination, registration.owner]
        gate = partial(self.turns.enter, registration.destination)
        return Delivery(queue, lambda: receiver, self.clock, lambda: 1.0, LIMITS, gate=gate)

    def _addresses(self, count: int) -> list[str]:
        addresses = [f"127.0.0.1:{number}" for number in range(1, count + 1)]
        self.made = [self._register(number, destination=address) for number, address in enumerate(addresses, 1)]
        return addresses

    def _answer(self, address: str) -> list[int]:
        """What a receiver got, which it takes; a connection that was ended is gone."""
        receiver = self.receivers[address, ALICE]
        got = self._got(address) if receiver.connections else []
        for _ in got:
            self._reply(il.OK, address=address)
        if receiver.connections and receiver.connections[-1][1].disconnecting:
            receiver.close()
            receiver.connections.clear()
        return got

    def test_in_turns(self) -> None:
        """P5: five receivers with two connections between them all get everything in order, also busy ones (P4)."""
        addresses = self._addresses(5)
        told = self._tell(*self.made, count=20)
        got: dict[str, list[int]] = {address: [] for address in addresses}
        for _ in range(200):
            for address in addresses:
                got[address] += self._answer(address)
                self.assertLessEqual(self.turns.held, 2)
            self._advance(LEAST / 10)
        self.assertEqual(got, dict.fromkeys(addresses, told))
        self.assertGreater(self.receivers[addresses[0], ALICE].attempts, 1)

    def test_refused_connections(self) -> None:
        """A receiver that is away holds no connection while it is not tried."""
        self.receivers["127.0.0.1:1", ALICE].refusing = True
        addresses = self._addresses(3)
        told = self._tell(*self.made)
        self.assertEqual([self._got(address) for address in addresses], [[], told, told])
        self.assertEqual((self.turns.held, self.turns.waiting), (2, 0))

    def test_no_goodbye(self) -> None:
        """P10: a receiver that does not answer our goodbye is cut off, and its place is free."""
        addresses = self._addresses(3)
        told = self._tell(*self.made)
        for address in addresses[:2]:
            self.assertEqual(self._got(address), told)
            self._reply(il.OK, address=address)
        self._advance(LEAST + TICK)
        transport = self.receivers[addresses[0], ALICE].connections[0][1]
        self.assertEqual((transport.disconnecting, transport.aborted), (True, False))
        self._advance(FAREWELL)
        self.assertTrue(transport.aborted)
        self.receivers[addresses[0], ALICE].close()
        self._advance(0)
        self.assertEqual(self._got(addresses[2]), told)

    def test_dropped_while_waiting(self) -> None:
        """A registration that is dropped waits for no connection."""
        self._addresses(3)
        self._tell(*self.made)
        self.assertEqual(self.turns.waiting, 1)
        self.notifier.remove(self.made[2].number)
        self.assertEqual(self.turns.waiting, 0)
