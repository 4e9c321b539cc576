"""Who listens at a destination, as far as each broker tells."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.advisories import ADVISORY, Advisories
from lb.broker.destination import Destination, Kind, read_destination, read_reply
from lb.broker.errors import RefusedError
from lb.broker.message import Delivery
from lb.broker.url import read_url
from lb.model.errors import LBError
from tests.broker.brokers import (
    ACTIVE,
    ACTIVE_TLS,
    PIKA,
    PIKA_TLS,
    RABBIT_STOMP,
    TXAMQP,
    BrokerTestCase,
    Owner,
    Way,
    for_ways,
    message,
    queue,
    topic,
)
from tests.broker.fakes import FakeSession


@for_ways(PIKA, PIKA_TLS, TXAMQP)
class QueueTests(BrokerTestCase):
    """Queues over AMQP."""

    async def each_count(self, way: Way) -> None:
        """Consumers of a queue are counted; a queue that is not there has none; topics say nothing."""
        session = await self.session(way.url())
        source = queue()
        self.assertEqual(await session.listeners(source), 0)
        for count in (1, 2):
            await self.consuming(session, source)
            self.assertEqual(await session.listeners(source), count)
        self.assertIsNone(await session.listeners(topic()))
        self.assertIsNone(await session.listeners(read_destination("/exchange/amq.direct/key")))

    async def each_locked(self, way: Way) -> None:
        """A queue that is somebody's own counts as one who listens, as long as he is there; then it is gone."""
        other = await self.session(way.url())
        channel = await other.channel(_Silent())  # type: ignore[attr-defined]
        name = await channel.declare_queue("", exclusive=True)
        session = await self.session(way.url())
        reply = read_reply(name)
        self.assertEqual(await session.listeners(reply), 1)
        await other.close()
        count: int | None = 1
        while count:  # the broker takes its time over it
            count = await session.listeners(reply)
        self.assertEqual(count, 0)

    async def each_over(self, way: Way) -> None:
        """A session that is over knows nothing."""
        session = await self.session(way.url())
        await session.close()
        self.assertIsNone(await session.listeners(queue()))


@for_ways(ACTIVE, ACTIVE_TLS)
class ActiveMQTests(BrokerTestCase):
    """Announcements of ActiveMQ."""

    async def each_count(self, way: Way) -> None:
        """Those who were there before are known, and those who come and go; topics and queues are told apart."""
        here, there = topic(), queue()
        listening = await self.session(way.url())
        for source in (here, here, there):
            await self.consuming(listening, source)
        session = await self.session(way.url())
        self.assertEqual(await session.listeners(here), 2)
        self.assertEqual(await session.listeners(there), 1)
        self.assertEqual(await session.listeners(Destination(Kind.QUEUE, here.name)), 0)
        await listening.close()
        while await session.listeners(there):
            # Each question takes the broker a moment: it announces the end of a consumer a little later.
            await self.consuming(session, queue())
        self.assertEqual(await session.listeners(topic()), 0)


@for_ways(RABBIT_STOMP)
class SilentTests(BrokerTestCase):
    """RabbitMQ over STOMP."""

    async def each_silent(self, way: Way) -> None:
        """It tells nothing of anybody."""
        session = await self.session(way.url())
        self.assertIsNone(await session.listeners(queue()))


@for_ways(PIKA, TXAMQP)
class ReplyTests(BrokerTestCase):
    """Answers to queues that live as long as who asked."""

    async def each_reply(self, way: Way) -> None:
        """A message gets into a queue of somebody else's connection; into one that is gone it is refused."""
        other = await self.session(way.url())
        channel = await other.channel(_Silent())  # type: ignore[attr-defined]
        name = await channel.declare_queue("", exclusive=True)
        owner = Owner()
        session = await self.session(way.url(), owner)
        session.publish([(1, message(read_reply(name))), (2, message(read_reply("amq.gen-nobody")))])
        await owner.until(lambda: owner.confirmations and owner.refusals)
        self.assertEqual((owner.confirmations, list(owner.refusals)), ([1], [2]))
        self.assertFalse(owner.refusals[2].everything)


class _Silent:
    """Listens on a channel."""

    def closed(self, reason: Exception) -> None:
        """The test is over."""


class NameTests(SynchronousTestCase):
    """Where requests want their answers."""

    def test_read(self) -> None:
        """Temporary queues in all spellings, destinations, bare names of queues; anything else is refused."""
        for text, kind, written in (
            ("amq.gen-q3Fz_", Kind.REPLY, "/reply-queue/amq.gen-q3Fz_"),
            ("amq.rabbitmq.reply-to.g1h/AA==.x+y", Kind.REPLY, "/reply-queue/amq.rabbitmq.reply-to.g1h/AA==.x+y"),
            ("/reply-queue/amq.gen-x", Kind.REPLY, "/reply-queue/amq.gen-x"),
            ("/remote-temp-queue/ID:host-1:2", Kind.REPLY, "/remote-temp-queue/ID:host-1:2"),
            ("/queue/a", Kind.QUEUE, "/queue/a"),
            ("/topic/a", Kind.TOPIC, "/topic/a"),
            ("answers", Kind.EXISTING, "/amq/queue/answers"),
        ):
            read = read_reply(text)
            self.assertEqual((read.kind, str(read)), (kind, written))
        for text in ("", "/", "a b", "/temp-queue/", "/remote-temp-queue/a\nb"):
            self.assertRaises(LBError, read_reply, text)


class AdvisoryTests(SynchronousTestCase):
    """Announcements without a network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.session = FakeSession(read_url("stomp://b"), None)
        self.advisories = Advisories(self.clock, self.session)

    def announce(self, kind: str, name: str, count: str) -> None:
        headers = {"consumerCount": count}
        delivery = Delivery(
            b"", headers, "1", f"/topic/{ADVISORY}Consumer.{kind}.{name}", "", None, None, None, False, 0
        )
        self.advisories.received(self.session, [delivery])

    def agree(self) -> None:
        for _, _, agreed in self.session.subscriptions:
            agreed.callback(None)

    def count(self, destination: str) -> int | None:
        counted: int | None = self.successResultOf(self.advisories.listeners(read_destination(destination)))
        return counted

    def test_wildcards(self) -> None:
        """Who consumes from a pattern listens to each name that it means."""
        self.agree()
        for name, count in (("grid.*.a", "1"), ("grid.>", "2"), ("grid.x", "4"), ("gridx", "8")):
            self.announce("Topic", name, count)
        self.clock.advance(1)
        self.assertEqual([self.count(name) for name in ("grid.x.a", "grid.x", "grid.x.b", "other")], [3, 6, 2, 0])

    def test_nothing_before_it_is_settled(self) -> None:
        """A question waits until those who were there before have been announced."""
        asked = self.advisories.listeners(read_destination("a"))
        self.agree()
        self.assertNoResult(asked)
        self.announce("Topic", "a", "1")
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(asked), 1)

    def test_gone(self) -> None:
        """One who goes is forgotten; virtual topics, whose consumers have other names, are not known."""
        self.agree()
        self.clock.advance(1)
        self.announce("Topic", "a", "1")
        self.announce("Topic", "a", "0")
        self.assertEqual(self.count("a"), 0)
        self.assertIsNone(self.count("VirtualTopic.a"))

    def test_refused(self) -> None:
        """A broker that does not let us read announcements tells nothing."""
        asked = self.advisories.listeners(read_destination("a"))
        self.session.subscriptions[0][2].errback(RefusedError("no"))
        self.session.subscriptions[1][2].errback(RefusedError("no"))
        self.assertIsNone(self.successResultOf(asked))

    def test_over(self) -> None:
        """When the session is over what was announced counts no longer."""
        self.agree()
        self.announce("Topic", "a", "1")
        self.clock.advance(1)
        self.advisories.over()
        self.assertIsNone(self.count("a"))
