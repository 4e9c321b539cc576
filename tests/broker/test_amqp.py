"""The AMQP session over channels that do what a test says: who is blamed, who goes on, what is acknowledged."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.amqp import GOODBYE, AmqpSession
from lb.broker.amqp_model import ChannelError, Incoming, delivery_of
from lb.broker.destination import Destination, read_destination
from lb.broker.errors import LoginError, LostError, RefusedError
from lb.broker.message import ID_HEADER
from lb.broker.session import Subscription
from lb.broker.url import read_url
from tests.broker.brokers import Consumer, Owner, message

QUEUE, OTHER = read_destination("/queue/a"), read_destination("/queue/b")
TOPIC, SECRET = read_destination("/topic/t"), read_destination("/topic/secret")
EXCHANGE = read_destination("/exchange/e/k")


class FakeChannel:
    """A channel that agrees to everything but what its connection says."""

    def __init__(self, connection: FakeConnection, listener: Any) -> None:
        self.connection = connection
        self.listener = listener
        self.published: list[tuple[str, str, bytes, bool]] = []
        self.acknowledged: list[tuple[int, bool]] = []
        self.open = True

    def _answer(self, *question: str) -> Deferred[Any]:
        self.connection.asked.append(question)
        if self.connection.silent:
            self.connection.unanswered.append(Deferred())
            return self.connection.unanswered[-1]
        error = self.connection.refusals.get(question)
        if error is None:
            return succeed(question[1] if len(question) > 1 else None)
        self.listener.closed(error)
        return fail(error)

    def declare_queue(self, name: str, *, passive: bool = False, durable: bool = False, exclusive: bool = False) -> Any:
        how = [word for word, given in (("passive", passive), ("durable", durable), ("exclusive", exclusive)) if given]
        return self._answer("queue", name or "made-up", *how)

    def check_exchange(self, name: str) -> Any:
        return self._answer("exchange", name)

    def bind_queue(self, queue: str, exchange: str, routing_key: str) -> Any:
        return self._answer("bind", queue, exchange, routing_key)

    def prefetch(self, count: int) -> Any:
        return self._answer("prefetch", str(count))

    def confirm(self) -> Any:
        return self._answer("confirm")

    def consume(self, queue: str) -> Any:
        return self._answer("consume", queue)

    def publish(self, exchange: str, routing_key: str, properties: Any, body: bytes, mandatory: bool) -> None:
        self.published.append((exchange, routing_key, body, mandatory))

    def acknowledge(self, tag: int, multiple: bool) -> None:
        self.acknowledged.append((tag, multiple))

    def close(self) -> None:
        self.open = False


class FakeConnection:
    """Opens channels; says no to the questions in `refusals`."""

    def __init__(self) -> None:
        self.channels: list[FakeChannel] = []
        self.asked: list[tuple[str, ...]] = []
        self.refusals: dict[tuple[str, ...], ChannelError] = {}
        self.ending = ""
        self.silent = False
        self.unanswered: list[Deferred[Any]] = []

    def channel(self, listener: Any) -> Any:
        self.channels.append(FakeChannel(self, listener))
        return succeed(self.channels[-1])

    def close(self) -> None:
        self.ending += "close "

    def abort(self) -> None:
        self.ending += "abort "

    def lane(self) -> FakeChannel:
        """The last channel over which messages were published."""
        return [channel for channel in self.channels if channel.published][-1]


class AmqpTestCase(SynchronousTestCase):
    """One session that stands."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.owner = Owner()
        self.connection = FakeConnection()
        self.session = AmqpSession(self.clock, read_url("amqp://u:p@mq"), self.owner)
        self.session.stands(self.connection, 10)

    def tearDown(self) -> None:
        """No session leaves anything to be done when it is over."""
        self.session.lost("over")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PublishingTests(AmqpTestCase):
    """Messages out, and the session's end."""

    def publish(self, *destinations: Destination) -> None:
        """Publish messages under tags from 1, with the tag as body."""
        sent = [message(to, b"%d" % tag, id=f"i{tag}") for tag, to in enumerate(destinations, 1)]
        self.session.publish(list(enumerate(sent, 1)))

    def test_gates(self) -> None:
        """A queue is looked for and made when it is missing, once; an exchange must be there; a topic always is."""
        self.connection.refusals["queue", "a", "passive"] = ChannelError(404, "NOT_FOUND")
        self.publish(QUEUE, QUEUE, OTHER, TOPIC, EXCHANGE)
        asked = [question for question in self.connection.asked if question[0] in ("queue", "exchange")]
        self.assertEqual(
            asked,
            [("queue", "a", "passive"), ("queue", "a", "durable"), ("queue", "b", "passive"), ("exchange", "e")],
        )
        published = [each for channel in self.connection.channels for each in channel.published]
        self.assertEqual(
            published,
            [
                ("", "a", b"1", True),
                ("", "a", b"2", True),
                ("", "b", b"3", True),
                ("amq.topic", "t", b"4", False),
                ("e", "k", b"5", True),
            ],
        )

    def test_closed_gate(self) -> None:
        """What is refused before anything was sent takes nothing else along, and is looked at again the next time."""
        self.connection.refusals["exchange", "e"] = ChannelError(404, "NOT_FOUND - no exchange 'e'")
        self.publish(EXCHANGE, QUEUE)
        self.assertIn("no exchange 'e'", str(self.owner.refusals[1]))
        self.assertEqual(self.connection.lane().published, [("", "a", b"2", True)])
        self.connection.refusals.clear()
        self.publish(EXCHANGE)
        self.assertEqual(self.connection.lane().published, [("e", "k", b"1", True)])

    def test_several_at_once(self) -> None:
        """One acknowledgement for several messages confirms all up to it, without the one that was returned."""
        self.publish(EXCHANGE, EXCHANGE, EXCHANGE, EXCHANGE)
        lane = self.connection.lane().listener
        lane.returned("i2", "312 NO_ROUTE")
        lane.acknowledged(3, True, True)
        self.session.pass_on()
        self.assertEqual(self.owner.confirmations, [1, 3])
        self.assertEqual(list(self.owner.refusals), [2])
        lane.acknowledged(4, False, True)
        lane.acknowledged(4, False, True)
        lane.acknowledged(9, False, True)
        self.session.pass_on()
        self.assertEqual(self.owner.confirmations, [1, 3, 4])

    def test_returned_twice(self) -> None:
        """Two returned messages of one id are both refused."""
        self.session.publish([(tag, message(EXCHANGE, id="same")) for tag in (1, 2, 3)])
        lane = self.connection.lane().listener
        lane.returned("same", "312 NO_ROUTE")
        lane.returned("same", "312 NO_ROUTE")
        lane.acknowledged(3, True, True)
        self.session.pass_on()
        self.assertEqual((sorted(self.owner.refusals), self.owner.confirmations), ([1, 2], [3]))

    def test_deleted_queue(self) -> None:
        """A queue that somebody deleted meanwhile is made anew and gets its messages, in order."""
        self.publish(QUEUE, OTHER, QUEUE)
        lane = self.connection.lane()
        lane.published.clear()
        self.connection.asked.clear()
        lane.listener.returned("i1", "312 NO_ROUTE")
        lane.listener.returned("i3", "312 NO_ROUTE")
        lane.listener.acknowledged(3, True, True)
        self.session.pass_on()
        self.assertEqual((self.owner.confirmations, self.owner.refusals), ([2], {}))
        self.assertEqual(self.connection.asked, [("queue", "a", "passive")])
        self.assertEqual(lane.published, [("", "a", b"1", True), ("", "a", b"3", True)])

    def test_not_stored(self) -> None:
        """A negative acknowledgement, as of a full queue, refuses its destination for now; others go on (P5)."""
        self.publish(QUEUE, OTHER)
        self.connection.lane().listener.acknowledged(1, False, False)
        self.connection.lane().listener.acknowledged(2, False, True)
        self.session.pass_on()
        self.assertEqual((self.owner.confirmations, self.connection.ending), ([2], ""))
        self.assertIn("not stored", str(self.owner.refusals[1]))
        self.assertTrue(self.owner.refusals[1].everything)

    def test_lane_closed(self) -> None:
        """A refusal that closes the channel blames all messages for its exchange, or those whose key it names."""
        self.publish(TOPIC, SECRET, TOPIC, QUEUE)
        first = next(channel for channel in self.connection.channels if channel.published)
        first.listener.closed(ChannelError(403, "ACCESS_REFUSED - access to topic 'secret' in exchange 'amq.topic'"))
        self.assertEqual(list(self.owner.refusals), [2])
        self.assertEqual([body for _, _, body, _ in self.connection.lane().published], [b"1", b"3"])
        self.connection.lane().listener.closed(ChannelError(403, "ACCESS_REFUSED - access to exchange 'amq.topic'"))
        self.assertEqual(sorted(self.owner.refusals), [1, 2, 3])
        self.assertEqual(self.connection.ending, "")

    def test_poison(self) -> None:
        """A message that closes the channel by itself is refused alone; of several, senders find out which (P5)."""
        large = ChannelError(406, "PRECONDITION_FAILED - message size 9 is larger than configured max size 8")
        self.publish(TOPIC)
        self.connection.lane().listener.closed(large)
        self.assertEqual([(tag, reason.everything) for tag, reason in self.owner.refusals.items()], [(1, False)])
        self.publish(TOPIC, TOPIC)
        self.connection.lane().listener.closed(large)
        self.assertEqual((list(self.owner.refusals), self.connection.ending), ([1], "abort "))
        self.session.lost("gone")
        (ending,) = self.owner.endings
        assert isinstance(ending, RefusedError)
        self.assertFalse(ending.everything)

    def test_wrong_user(self) -> None:
        """A wrong user-id is no message's own: all of them wait until somebody mends the URL (P2)."""
        self.publish(TOPIC)
        self.connection.lane().listener.closed(
            ChannelError(406, "PRECONDITION_FAILED - user_id property set to 'x' but authenticated user was 'guest'")
        )
        self.assertTrue(self.owner.refusals[1].everything)

    def test_lane_broken(self) -> None:
        """A channel that the broker closes for a trouble of its own ends the session."""
        self.publish(QUEUE)
        self.connection.lane().listener.closed(ChannelError(541, "INTERNAL_ERROR"))
        self.session.lost("gone")
        self.assertIsInstance(self.owner.endings[0], LostError)
        self.assertIn("INTERNAL_ERROR", str(self.owner.endings[0]))

    def test_lost(self) -> None:
        """With the connection all channels go; the owner is told once, and nothing is blamed."""
        self.publish(QUEUE)
        for channel in self.connection.channels:
            channel.listener.closed(ChannelError(0, "gone"))
        self.session.lost("gone")
        self.assertEqual(self.owner.refusals, {})
        self.assertEqual(len(self.owner.endings), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """Twice the interval between signs of life in silence, and the connection is dropped; bytes are signs."""
        self.clock.advance(19)
        self.session.heard()
        self.clock.advance(19)
        self.assertEqual(self.connection.ending, "")
        self.clock.advance(1)
        self.assertEqual(self.connection.ending, "abort ")

    def test_close(self) -> None:
        """Closed in good order; abruptly when the broker takes too long; at once when there is nothing to close."""
        closed = self.session.close()
        self.assertEqual(self.connection.ending, "close ")
        self.clock.advance(GOODBYE)
        self.assertEqual(self.connection.ending, "close abort ")
        self.assertNoResult(closed)
        self.session.lost("aborted")
        self.successResultOf(closed)
        self.successResultOf(self.session.close())

    def test_over(self) -> None:
        """Whoever still has a session that is over, or being closed, can ask it for anything: nothing happens."""
        for end in (self.session.close, lambda: self.session.lost("gone")):
            end()
            self.publish(QUEUE)
            self.assertEqual(self.connection.channels, [])
        self.failureResultOf(self.session.subscribe(Subscription(QUEUE), Consumer()), LostError)

    def test_questions(self) -> None:
        """However many destinations are new at once, few channels are open for looking at them."""
        self.connection.silent = True
        self.publish(*(read_destination(f"/queue/q{number}") for number in range(2_000)))
        self.assertEqual(len(self.connection.channels), 50)
        self.connection.silent = False
        for unanswered in self.connection.unanswered:
            unanswered.callback("q")
        self.assertEqual(len(self.connection.lane().published), 2_000)

    def test_many_unanswered(self) -> None:
        """A session that ends with thousands of questions open ends like any other."""
        self.connection.silent = True
        self.publish(*(read_destination(f"/queue/q{number}") for number in range(2_000)))
        for unanswered in self.connection.unanswered:
            unanswered.errback(ChannelError(0, "gone"))
        self.session.lost("gone")
        self.assertEqual((len(self.owner.endings), self.owner.refusals, self.connection.ending), (1, {}, ""))

    def test_never_stood(self) -> None:
        """A connection that ends before the session stands fails the opening; the owner hears nothing."""
        for login, kind in ((True, LoginError), (False, LostError)):
            session = AmqpSession(self.clock, read_url("amqp://mq"), self.owner)
            session.lost("no", login=login)
            self.failureResultOf(session.opened, kind)
        self.assertEqual(self.owner.endings, [])


class ConsumingTests(AmqpTestCase):
    """Consumers on channels of their own."""

    def subscribe(self, source: Destination, durable: str | None = None) -> tuple[Consumer, FakeChannel]:
        """A consumer that was agreed to, and its channel."""
        consumer = Consumer(acknowledge=False)
        self.successResultOf(self.session.subscribe(Subscription(source, 7, durable), consumer))
        return consumer, self.connection.channels[-1]

    def deliver(self, channel: FakeChannel, *tags: int) -> None:
        """Messages come."""
        for tag in tags:
            channel.listener.delivered(Incoming(tag, False, "", "a", {}, b"%d" % tag))
        self.session.pass_on()

    def test_sources(self) -> None:
        """Queues are made sure of; topics and exchanges get a queue, which stays when it has a name."""
        for source, durable, expected in (
            (QUEUE, None, [("queue", "a", "passive")]),
            (TOPIC, None, [("queue", "made-up", "exclusive"), ("bind", "made-up", "amq.topic", "t")]),
            (EXCHANGE, "name", [("queue", "name", "durable"), ("bind", "name", "e", "k")]),
        ):
            self.connection.asked.clear()
            self.subscribe(source, durable)
            self.assertEqual(self.connection.asked[:-2], expected)
            self.assertEqual(self.connection.asked[-2], ("prefetch", "7"))

    def test_acknowledged(self) -> None:
        """The oldest messages are acknowledged with one frame, others one by one, none twice."""
        consumer, channel = self.subscribe(QUEUE)
        self.deliver(channel, 1, 2, 3, 4, 5, 6)
        taken = consumer.deliveries
        self.session.acknowledge(taken[:2])
        self.session.acknowledge(taken[3:5])
        self.session.acknowledge(taken[1:2])
        self.session.acknowledge([taken[2], taken[5]])
        self.assertEqual(channel.acknowledged, [(2, True), (4, False), (5, False), (6, True)])

    def test_cancelled(self) -> None:
        """After the broker ended a consumer nothing is acknowledged there any more: the messages come again."""
        for end in ("cancel", "close"):
            consumer, channel = self.subscribe(QUEUE)
            self.deliver(channel, 1)
            if end == "cancel":
                channel.listener.cancelled("deleted")
                self.assertFalse(channel.open)
            else:
                channel.listener.closed(ChannelError(406, "PRECONDITION_FAILED - timeout"))
            self.assertEqual(len(consumer.cancellations), 1)
            self.session.acknowledge(consumer.deliveries)
            self.assertEqual(channel.acknowledged, [])

    def test_late(self) -> None:
        """What is acknowledged after the session ended is not: it comes again over another one."""
        consumer, channel = self.subscribe(QUEUE)
        self.deliver(channel, 1)
        channel.listener.closed(ChannelError(0, "gone"))
        self.session.acknowledge(consumer.deliveries)
        self.assertEqual((channel.acknowledged, consumer.cancellations), ([], []))

    def test_refused(self) -> None:
        """A broker's no to a subscription is a RefusedError; the end of the session is none."""
        self.connection.refusals["consume", "a"] = ChannelError(403, "ACCESS_REFUSED")
        consumer = Consumer()
        failure = self.failureResultOf(self.session.subscribe(Subscription(QUEUE), consumer), RefusedError)
        self.assertIn("ACCESS_REFUSED", failure.getErrorMessage())
        self.connection.refusals["consume", "a"] = ChannelError(0, "gone")
        self.failureResultOf(self.session.subscribe(Subscription(QUEUE), consumer), LostError)
        self.assertEqual(consumer.cancellations, [])

    def test_properties(self) -> None:
        """What others put into properties and headers comes as text, and the id from wherever it stands."""
        headers = {"a": b"\xff", "b": True, "c": 5, "d": None, ID_HEADER: "from-header"}
        delivery = delivery_of(Incoming(1, True, "e", "k", {"headers": headers, "user_id": "u"}, b""), None)
        self.assertEqual(delivery.headers, {"a": "\udcff", "b": "true", "c": "5", "d": ""})
        self.assertEqual((delivery.id, delivery.user, delivery.destination), ("from-header", "u", "/exchange/e/k"))
        delivery = delivery_of(Incoming(1, False, "", "q", {"message_id": "m", "headers": headers}, b""), None)
        self.assertEqual((delivery.id, delivery.user, delivery.destination), ("m", None, "/queue/q"))
