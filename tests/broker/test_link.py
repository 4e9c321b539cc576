"""A link keeps a session, whatever happens, in the order of its URLs and with pauses; subscribers follow it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.destination import read_destination
from lb.broker.errors import LostError, RefusedError
from lb.broker.limits import LinkLimits
from lb.broker.link import Link
from lb.broker.session import Subscription
from lb.broker.subscriber import Subscriber
from lb.broker.url import read_url
from tests.broker.brokers import Consumer
from tests.broker.fakes import FakeOpener

PROVEN, RETRY = LinkLimits().proven, LinkLimits().subscription_pause
FIRST, SECOND = read_url("stomp://a"), read_url("amqp://b")


class LinkTests(SynchronousTestCase):
    """One link with two URLs; the n-th round of tries waits n+1 seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.opener = FakeOpener()
        self.link = Link("main", [FIRST, SECOND], self.opener, self.clock, delay=lambda rounds: 1.0 + rounds)

    def test_order(self) -> None:
        """A failed URL gives way to the next at once; a whole failed round is followed by a pause, which grows."""
        self.link.startService()
        self.assertEqual(self.opener.asked, [FIRST])
        waited = []
        for _ in range(6):
            self.opener.fail()
            seconds = 0.0
            while self.clock.getDelayedCalls() and self.opener._opening is None:
                seconds = self.clock.getDelayedCalls()[0].getTime() - self.clock.seconds()
                self.clock.advance(seconds)
            waited.append(seconds)
        self.assertEqual(self.opener.asked, [FIRST, SECOND] * 3 + [FIRST])
        self.assertEqual(waited, [1.0, 0.0, 2.0, 0.0, 3.0, 0.0])

    def test_lost(self) -> None:
        """After a good session the next is opened after the shortest pause, at the next URL; trouble is told."""
        self.link.startService()
        for _ in range(4):
            self.opener.fail()
            self.clock.advance(5)
        del self.opener.asked[:-1]
        session = self.opener.succeed()
        self.assertIs(self.link.session, session)
        self.assertIsNone(self.link.trouble)
        self.clock.advance(PROVEN)
        session.end(LostError("gone"))
        self.assertIsNone(self.link.session)
        self.assertEqual(str(self.link.trouble), "gone")
        self.clock.advance(0.9)
        self.assertEqual(self.opener.asked, [FIRST])
        self.clock.advance(0.1)
        self.assertEqual(self.opener.asked, [FIRST, SECOND])

    def test_flapping(self) -> None:
        """Sessions that end as soon as they stand are not opened faster and faster: pauses grow all the same."""
        self.link.startService()
        for rounds in range(3):
            self.opener.succeed().end(LostError("gone"))
            self.clock.advance(1.0 + rounds - 0.1)
            self.assertEqual(len(self.opener.asked), 2 * rounds + 1)
            self.clock.advance(0.1)
            self.opener.succeed().end(LostError("gone"))
            self.clock.advance(0)

    def test_stop(self) -> None:
        """A stopped link opens nothing any more: not from a pause, not from an opening, not after a session."""
        self.link.startService()
        self.link.stopService()
        self.assertIsNone(self.link.session)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.link.startService()
        self.opener.fail()
        self.link.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.link.startService()
        self.opener.succeed()
        stopped = self.link.stopService()
        assert stopped is not None
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.link.session)

    def test_blocked(self) -> None:
        """Why a broker takes nothing is known for as long as it does not."""
        self.link.startService()
        session = self.opener.succeed()
        session.owner.blocked(session, "no memory")
        self.assertEqual(self.link.blocked_reason, "no memory")
        session.owner.blocked(session, None)
        self.assertIsNone(self.link.blocked_reason)
        session.owner.blocked(session, "no disk")
        session.end(LostError("gone"))
        self.assertIsNone(self.link.blocked_reason)


class SubscriberTests(SynchronousTestCase):
    """A subscription on a link."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.opener = FakeOpener()
        self.link = Link("main", [FIRST], self.opener, self.clock, delay=lambda rounds: 1.0)
        self.consumer = Consumer()
        self.wanted = Subscription(read_destination("/queue/q"), prefetch=7)
        self.subscriber = Subscriber(self.link, self.wanted, self.consumer, self.clock)
        self.link.startService()
        self.session = self.opener.succeed()

    def test_again(self) -> None:
        """Each session is asked for the same; the consumer gets what comes, with the session to acknowledge over."""
        self.session.end(LostError("gone"))
        self.clock.advance(1)
        session = self.opener.succeed()
        for each in (self.session, session):
            ((wanted, _, _),) = each.subscriptions
            self.assertEqual(wanted, self.wanted)

    def test_refused(self) -> None:
        """A refused subscription is tried again after a while, and its trouble told until it is agreed to."""
        self.session.subscriptions[0][2].errback(RefusedError("no such queue"))
        self.assertEqual(str(self.subscriber.trouble), "no such queue")
        self.clock.advance(RETRY)
        self.assertEqual(len(self.session.subscriptions), 2)
        self.session.subscriptions[1][2].callback(None)
        self.assertIsNone(self.subscriber.trouble)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """The consumer is told when the broker ends the subscription, which is asked for again."""
        _, consumer, agreed = self.session.subscriptions[0]
        agreed.callback(None)
        consumer.cancelled(self.session, LostError("queue deleted"))
        self.assertEqual(len(self.consumer.cancellations), 1)
        self.clock.advance(RETRY)
        self.assertEqual(len(self.session.subscriptions), 2)

    def test_lost_meanwhile(self) -> None:
        """A session that ends takes the pause with it: the next one is asked at once, and only once."""
        agreed = self.session.subscriptions[0][2]
        self.session.end(LostError("gone"))
        self.clock.advance(1)
        session = self.opener.succeed()
        agreed.errback(LostError("gone"))
        self.assertIsNone(self.subscriber.trouble)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        session.subscriptions[0][2].errback(RefusedError("no"))
        session.end(LostError("gone"))
        self.clock.advance(RETRY)
        self.assertEqual(len(session.subscriptions), 1)
        self.assertEqual(len(self.opener.succeed().subscriptions), 1)
