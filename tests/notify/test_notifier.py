"""Delivery without a network: order, windows, receipts, receivers that vanish or freeze, Bind, Refresh, Drop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.model.registration import Registration
from lb.security.policy import Policy
from lb.server.notify.flight import Flight
from lb.server.notify.limits import NotifyDeliveryLimits
from lb.server.notify.notifier import Kind, Notifier
from lb.server.notify.queue import OutboxQueue
from lb.server.notify.registry import Receipt, Registry
from lb.server.notify.socketline import SocketLines
from lb.service.delivery import Delivery
from lb.state.job import Job, encode
from lb.store.interface import NewNotice, Outgoing, StoreError
from lb.store.sqlite import SQLiteStore
from lb.wire import il, notification
from tests.logger.fixture import Server as Endpoint
from tests.notify.registrations import ALICE, BOB, registration, status
from tests.server.test_ports import Later

NOW = 1_800_000_000
LIMITS = NotifyDeliveryLimits(window_records=8)
REFUSED = il.Reply(il.Major.PERM, 0, "no")
LATER = il.Reply(il.Major.DBERR, 5, "later")


class Notifying(SynchronousTestCase):
    """An outbox, a notifier, and receivers that are strings."""

    flight_bytes = 1 << 20

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(NOW)
        self.receivers: defaultdict[tuple[str, str], Endpoint] = defaultdict(Endpoint)
        self._open()
        self.addCleanup(lambda: self._close())

    def _open(self) -> None:
        self.store = SQLiteStore(self.path)
        writer = self.store.writer()
        self.outbox = writer.outbox
        self.registry = Registry(writer, Policy.open, self.clock.seconds, "salt", self)
        self.reading, self.writing = Later(), Later()
        self.flight = Flight(self.flight_bytes, 4, self.clock)
        self.quarantine: list[tuple[bytes, str]] = []
        self.quarantine_fails = False
        self.store_fails = False
        self.notifier = Notifier(
            self.registry.all(),
            self.store.outbox_reader(),
            self.reading,
            self._store_receipts,
            self._kinds(),
            self.clock,
            LIMITS.receipt_delay,
            self._set_aside,
            self.flight,
        )
        self.notifier.startService()
        self.reading.run()

    def _kinds(self) -> dict[str, Kind]:
        return {"": Kind(SocketLines("lb.example"), self._deliver)}

    def _close(self) -> None:
        """As kill -9 does: nothing more is stored."""
        for destination in self.notifier._destinations.values():
            destination.deliverer.stop()
        self.store.close()

    def _deliver(self, queue: OutboxQueue, registration: Registration) -> Delivery[Any]:
        receiver = self.receivers[registration.destination, registration.owner]
        return Delivery(queue, lambda: receiver, self.clock, lambda: 1.0, LIMITS)

    def _store_receipts(self, receipts: list[Receipt]) -> Deferred[None]:
        if self.store_fails:
            return fail(StoreError(28, "full"))
        return self.writing.call(self.registry.received, receipts)

    def _set_aside(self, line: bytes, reason: str) -> Deferred[None]:
        def append() -> None:
            if self.quarantine_fails:
                raise OSError(28, "full")
            self.quarantine.append((line, reason))

        return self.writing.call(append)

    def wake(self, numbers: Collection[int]) -> None:
        self.notifier.wake(numbers)

    def gone(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self.notifier.remove(number)

    # What tests do

    def _register(self, number: int = 1, **more: Any) -> Registration:
        made = self.registry.add(registration(number, valid=NOW + 10_000, **more))
        self.notifier.update(made)
        self.reading.run()
        return made

    def _tell(self, *receivers: Registration, count: int = 1) -> list[int]:
        """Store notices whose exit codes count up."""
        told = []
        for _ in range(count):
            number = self.outbox.new_notice()
            made = encode(Job(status(exit_code=number)))
            self.outbox.write(
                Outgoing([NewNotice(number, NOW * 1_000_000, made, tuple(one.number for one in receivers))])
            )
            told.append(number)
        self.notifier.wake([one.number for one in receivers])
        self.reading.run()
        return told

    def _got(self, address: str = "127.0.0.1:4000", owner: str = ALICE) -> list[int]:
        """Which notices a receiver got since the last look."""
        receiver = self.receivers[address, owner]
        if not receiver.connections:
            return []
        return [notification.read(line).status().exit_code for line in receiver.received()]

    def _reply(self, *replies: il.Reply, address: str = "127.0.0.1:4000", owner: str = ALICE) -> None:
        self.receivers[address, owner].reply(*replies)
        self.reading.run()

    def _advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.reading.run()
        self.writing.run()
        self.reading.run()

    def _waiting(self, to: Registration) -> list[int]:
        reader = self.store.outbox_reader()
        return [notice.number for notice in reader.notices(to.number, 0, 1_000, 1 << 30)]


class Delivering(Notifying):
    """One receiver."""

    def test_line(self) -> None:
        """A notification says what it is, whose, whither, until when, and holds the state."""
        one = self._register()
        self._tell(one)
        (line,) = self.receivers["127.0.0.1:4000", ALICE].received()
        told = notification.read(line)
        self.assertEqual((told.notifid, told.owner, told.expires), (str(one.id), ALICE, NOW + 10_000))
        self.assertEqual(
            (told.destination, told.host, told.timestamp), ("127.0.0.1:4000", "lb.example", NOW * 1_000_000)
        )

    def test_window_of_one(self) -> None:
        """A C receiver gets the next notification when it has answered the one before, in order (P4)."""
        one = self._register()
        told = self._tell(one, count=3)
        for number in told:
            self.assertEqual(self._got(), [number])
            self._reply(il.OK)
        self._advance(1)
        self.assertEqual((self._waiting(one), self.notifier.sent), ([], 3))

    def test_pipelining(self) -> None:
        """A receiver of ours gets a window at once, never more, and what follows as it answers."""
        self.receivers["127.0.0.1:4000", ALICE].pipelining = True
        one = self._register()
        told = self._tell(one, count=20)
        self.assertEqual(self._got(), told[:8])
        self._reply(*[il.OK] * 8)
        self.assertEqual(self._got(), told[8:16])
        self._reply(*[il.OK] * 8)
        self.assertEqual(self._got(), told[16:])

    def test_great_ones(self) -> None:
        """A notification greater than a window goes alone; those behind it follow (P10)."""
        one = self._register()
        told = self._tell(one)
        for size in (LIMITS.window_bytes * 2, 10, LIMITS.window_bytes - 100, 10):
            number = self.outbox.new_notice()
            made = encode(Job(status(exit_code=number, reason="r" * size)))
            self.outbox.write(Outgoing([NewNotice(number, NOW * 1_000_000, made, (one.number,))]))
            told.append(number)
        self.notifier.wake([one.number])
        self.reading.run()
        got = []
        for _ in told:
            got += self._got()
            self._reply(il.OK)
        self.assertEqual(got, told)

    def test_receipts_in_groups(self) -> None:
        """Receipts of a while are stored together, and again after a failure of the store."""
        one = self._register()
        told = self._tell(one, count=3)
        for _ in range(2):
            self._got()
            self._reply(il.OK)
        self.assertEqual(self._waiting(one), told)
        self.store_fails = True
        self._advance(LIMITS.receipt_delay)
        self.store_fails = False
        self.assertEqual(self._waiting(one), told)
        self._advance(2)
        self.assertEqual(self._waiting(one), told[2:])
        self.assertEqual(len(self.writing.calls), 0)

    def test_ids_share_a_connection(self) -> None:
        """Registrations with one destination take turns on one connection; each keeps its order."""
        first, second = self._register(1), self._register(2)
        told = [self._tell(one) for one in (first, second, first, second)]
        got = []
        for _ in range(4):
            got += self._got()
            self._reply(il.OK)
        self.assertEqual(sorted(got), sorted(number for numbers in told for number in numbers))
        self.assertLess(got.index(told[0][0]), got.index(told[2][0]))
        self.assertLess(got.index(told[1][0]), got.index(told[3][0]))
        self.assertEqual(self.receivers["127.0.0.1:4000", ALICE].attempts, 1)

    def test_owners_do_not_share(self) -> None:
        """P7: the same address of another owner is another receiver, who has to be that owner."""
        self._tell(self._register(1), self._register(2, owner=BOB))
        self.assertEqual((len(self._got()), len(self._got(owner=BOB))), (1, 1))

    def test_refused_for_good(self) -> None:
        """P5: what its receiver refuses for good is kept with the reason, not sent again, and holds up nothing."""
        one = self._register()
        told = self._tell(one, count=2)
        self.assertEqual(self._got(), told[:1])
        self._reply(REFUSED)
        self.assertEqual(self._got(), told[1:])
        self._reply(il.OK)
        self.writing.run()
        self._advance(1)
        self.assertEqual((self._waiting(one), self.notifier.refused, self.notifier.sent), ([], 1, 2))
        ((line, reason),) = self.quarantine
        self.assertEqual(notification.read(line).status().exit_code, told[0])
        self.assertEqual(reason, "refused by the receiver at 127.0.0.1:4000: 600/0 no")

    def test_quarantine_cannot_be_written(self) -> None:
        """P2: what was refused stays where it was while it cannot be set aside, and is tried again."""
        one = self._register()
        told = self._tell(one, count=3)
        self.quarantine_fails = True
        self._got()
        self._reply(REFUSED)
        self._got()
        self._reply(il.OK)  # what is behind it, before the disk has answered
        self._advance(LIMITS.receipt_delay)
        self.quarantine_fails = False
        self._advance(1)
        self.assertEqual((self._got(), self.quarantine), (told[:1], []))
        self._reply(REFUSED)
        self._got()
        self._reply(il.OK)
        self.writing.run()
        self._advance(1)
        self.assertEqual((self._waiting(one), len(self.quarantine)), ([], 1))

    def test_refused_for_now(self) -> None:
        """One that is refused for now comes again, in its place."""
        one = self._register()
        told = self._tell(one, count=2)
        self._got()
        self._reply(LATER)
        self._advance(5)
        self.assertEqual(self._got(), told[:1])

    def test_expired(self) -> None:
        """What expired while its receiver was away is not sent; after a Refresh it is (§3.6)."""
        receiver = self.receivers["127.0.0.1:4000", ALICE]
        receiver.refusing = True
        one = self._register()
        told = self._tell(one)
        self._advance(20_000)
        receiver.refusing = False
        self._advance(100)
        self.assertEqual(self._got(), [])
        refreshed = msgspec.structs.replace(one, valid=NOW + 100_000)
        self.registry.change(refreshed)
        self.notifier.update(refreshed)
        self.reading.run()
        self.assertEqual(self._got(), told)


class Moving(Notifying):
    """Receivers that come and go."""

    def test_after_a_restart_of_the_server(self) -> None:
        """P2: what was not received is sent after a restart, what was received and stored is not."""
        one = self._register()
        told = self._tell(one, count=3)
        self._got()
        self._reply(il.OK)
        self._advance(1)
        self._close()
        self.receivers.clear()
        self._open()
        self.assertEqual(self._got(), told[1:2])

    def test_lost_connection(self) -> None:
        """P2, P4: what had no answer when a connection ended comes again over the next one, in order."""
        self.receivers["127.0.0.1:4000", ALICE].pipelining = True
        one = self._register()
        told = self._tell(one, count=5)
        self._got()
        self._reply(il.OK, il.OK)
        self.receivers["127.0.0.1:4000", ALICE].close()
        self._advance(5)
        self.assertEqual(self._got(), told[2:])

    def test_lost_while_reading(self) -> None:
        """What was being read when a connection ended is not forgotten."""
        receiver = self.receivers["127.0.0.1:4000", ALICE]
        one = self._register()
        number = self.outbox.new_notice()
        made = encode(Job(status(exit_code=number)))
        self.outbox.write(Outgoing([NewNotice(number, NOW * 1_000_000, made, (one.number,))]))
        self.notifier.wake([one.number])
        receiver.close()
        self._advance(5)
        self.assertEqual(self._got(), [number])

    def test_bind_moves_what_is_queued(self) -> None:
        """After a Bind all that was not received goes to the new destination, the rest does not."""
        one = self._register()
        told = self._tell(one, count=3)
        self._got()
        self._reply(il.OK)
        self._got()
        moved = msgspec.structs.replace(one, destination="127.0.0.1:5000")
        self.registry.change(moved)
        self.notifier.update(moved)
        self.reading.run()
        self.assertTrue(self.receivers["127.0.0.1:4000", ALICE].connections[-1][1].aborted)
        for number in told[1:]:
            self.assertEqual(self._got("127.0.0.1:5000"), [number])
            self._reply(il.OK, address="127.0.0.1:5000")
        self._advance(1)
        self.assertEqual(self._waiting(one), [])

    def test_bind_to_the_same_place_ends_the_pause(self) -> None:
        """Who comes back and binds is not kept waiting by the failures before."""
        receiver = self.receivers["127.0.0.1:4000", ALICE]
        receiver.refusing = True
        one = self._register()
        told = self._tell(one)
        self._advance(30)
        receiver.refusing = False
        self.notifier.update(one)
        self.reading.run()
        self.assertEqual(self._got(), told)

    def test_drop_discards(self) -> None:
        """What waits for a dropped registration is neither sent nor kept."""
        self.receivers["127.0.0.1:4000", ALICE].refusing = True
        one = self._register()
        self._tell(one, count=3)
        self.registry.drop([one])
        self.receivers["127.0.0.1:4000", ALICE].refusing = False
        self._advance(100)
        self.assertEqual(self._got(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        while self.registry.sweep():
            pass
        self.assertEqual(self._waiting(one), [])

    def test_stopping(self) -> None:
        """Receipts that wait to be stored when the server stops are stored before it ends."""
        one = self._register()
        self._tell(one, count=2)
        self._got()
        self._reply(il.OK)
        self.clock.advance(LIMITS.receipt_delay)
        self._got()
        self._reply(il.OK)
        stopped = self.notifier.stopService()
        self.assertEqual(len(self.writing.calls), 2)
        self.assertNoResult(stopped)
        self.writing.run()
        self.successResultOf(stopped)
        self.assertEqual(self._waiting(one), [])


class Many(Notifying):
    """A thousand receivers."""

    def test_one_is_frozen(self) -> None:
        """P5, P10: beside a frozen receiver the others get everything; each takes a window of memory at most."""
        made = [self._register(number, destination=f"127.0.0.1:{number}") for number in range(1, 1_001)]
        for one in made:
            self.receivers[one.destination, ALICE].pipelining = True
        told = [self._tell(*made)[0] for _ in range(4)]
        for _ in range(3):
            told += self._tell(*made, count=10)
            for one in made[1:]:
                got = self._got(one.destination)
                self._reply(*[il.OK] * len(got), address=one.destination)
                more = self._got(one.destination)
                self._reply(*[il.OK] * len(more), address=one.destination)
        for _ in range(3):  # one group of receipts is stored while the next one comes together
            self._advance(1)
        self.assertEqual({one.number: waiting for one in made[1:] if (waiting := self._waiting(one))}, {})
        self.assertEqual(self._waiting(made[0]), told)
        frozen = self.receivers["127.0.0.1:1", ALICE]
        self.assertEqual(self._got("127.0.0.1:1"), told[: LIMITS.window_records])
        self.assertEqual(frozen.attempts, 1)
        self._advance(LIMITS.patience)
        self.assertTrue(frozen.connections[0][1].aborted)
