"""Brokers that die, freeze or are full, under all ways at once: nothing is lost, everything catches up (P2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.threads import deferToThread

from lb.broker.errors import LostError
from lb.broker.publisher import Publisher
from lb.broker.session import Subscription
from lb.broker.subscriber import Subscriber
from tests.broker.brokers import (
    ACTIVE,
    ACTIVE_TLS,
    PIKA,
    PIKA_TLS,
    RABBIT_STOMP,
    RABBIT_STOMP_TLS,
    TXAMQP,
    TXAMQP_TLS,
    BrokerTestCase,
    Consumer,
    Owner,
    Way,
    clock,
    message,
    queue,
)
from tests.peers import activemq, rabbitmq

RABBIT = (RABBIT_STOMP, RABBIT_STOMP_TLS, PIKA, PIKA_TLS, TXAMQP, TXAMQP_TLS)
ACTIVES = (ACTIVE, ACTIVE_TLS)
#: RabbitMQ's name of its alarm for want of memory.
MEMORY = "{resource_limit, memory, node()}"


class Flow:
    """Numbered messages from a publisher through a queue to a consumer, over one way."""

    def __init__(self, case: BrokerTestCase, way: Way) -> None:
        self.way = way
        self.destination = queue()
        self.consumer = Consumer()
        self.publisher = Publisher(case.link(way.url()), clock)
        self.subscriber = Subscriber(case.link(way.url()), Subscription(self.destination), self.consumer, clock)
        self.published: list[Any] = []
        self.ids: list[str] = []

    def publish(self, count: int) -> None:
        """Publish the next messages; whether they were confirmed is looked at in the end."""
        for _ in range(count):
            each = message(self.destination, b"%d" % len(self.ids))
            self.ids.append(each.id)
            self.published.append(self.publisher.publish(each))


class OutageTests(BrokerTestCase):
    """Whole outages."""

    async def killed(self, ways: tuple[Way, ...]) -> None:
        """Kill the broker while messages are on their way, publish on, start it again."""
        broker = ways[0].broker
        flows = [Flow(self, way) for way in ways]
        for flow in flows:
            flow.publish(50)
        await gatherResults([flow.consumer.until(lambda flow=flow: len(flow.consumer.bodies) >= 10) for flow in flows])
        for flow in flows:
            flow.publish(500)
        await deferToThread(broker.kill)
        for flow in flows:
            flow.publish(50)
        await deferToThread(broker.restart)
        for flow in flows:
            outcomes = await DeferredList(flow.published)
            self.assertTrue(all(success for success, _ in outcomes), flow.way)
            consumer = flow.consumer
            await consumer.until(lambda consumer=consumer: len(set(consumer.bodies)) == 600)
            first: dict[bytes, str] = {}
            for delivery in consumer.deliveries:
                # The same message has the same id, however often it came.
                self.assertEqual(first.setdefault(delivery.body, delivery.id), delivery.id)
            self.assertEqual(list(first.values()), flow.ids, flow.way)

    async def frozen(self, ways: tuple[Way, ...]) -> None:
        """Freeze the broker: sessions that nobody closes end for want of a sign of life, and begin again."""
        owners = []
        for way in ways:
            owners.append(Owner())
            await self.session(way.url(options="&heartbeat=1"), owners[-1])
        flows = [Flow(self, way) for way in ways]
        with ways[0].broker.frozen():
            for flow in flows:
                flow.publish(3)
            await gatherResults([owner.until(lambda owner=owner: owner.endings) for owner in owners])
        for owner in owners:
            self.assertIsInstance(owner.endings[0], LostError)
            self.assertIn("no sign of life", str(owner.endings[0]))
        await gatherResults([published for flow in flows for published in flow.published])

    async def test_killed_rabbitmq(self) -> None:
        """RabbitMQ dies by kill -9 and comes back."""
        await self.killed(RABBIT)

    async def test_frozen_rabbitmq(self) -> None:
        """RabbitMQ freezes."""
        await self.frozen(RABBIT)

    async def test_killed_activemq(self) -> None:
        """ActiveMQ dies by kill -9 and comes back."""
        await self.killed(ACTIVES)

    async def test_frozen_activemq(self) -> None:
        """ActiveMQ freezes."""
        await self.frozen(ACTIVES)

    async def test_full_rabbitmq(self) -> None:
        """A broker that takes nothing for want of memory: messages wait, AMQP says why, then all are confirmed (P6)."""
        broker = PIKA.broker
        ways = (RABBIT_STOMP, PIKA, TXAMQP)
        flows = [Flow(self, way) for way in ways]
        owners = [Owner() for _ in ways]
        sessions = [await self.session(way.url(), owner) for way, owner in zip(ways, owners, strict=True)]

        def clear() -> Deferred[str]:
            return deferToThread(broker.control, "eval", f"rabbit_alarm:clear_alarm({MEMORY}).")

        self.addCleanup(clear)
        await deferToThread(broker.control, "eval", f"rabbit_alarm:set_alarm({{{MEMORY}, []}}).")
        for session in sessions:
            session.publish([(1, message(queue()))])
        for flow in flows:
            flow.publish(5)
        for owner in owners[1:]:
            await owner.until(lambda owner=owner: owner.blockings)
            self.assertIn("memory", str(owner.blockings[0]))
        # Over STOMP it reads one message before it stops to read.
        self.assertEqual([owner.confirmations for owner in owners[1:]], [[], []])
        await clear()
        for owner in owners:
            await owner.until(lambda owner=owner: owner.confirmations == [1])
        for owner in owners[1:]:
            await owner.until(lambda owner=owner: owner.blockings[-1] is None)
        await gatherResults([published for flow in flows for published in flow.published])

    async def test_failover(self) -> None:
        """With several URLs the next one is taken when there is nobody at the first (two brokers, one dead: P5)."""
        publisher = Publisher(self.link(replace(PIKA.url(), port=1), RABBIT_STOMP.url()), clock)
        await publisher.publish(message(queue()))

    test_killed_rabbitmq.skip = rabbitmq.absent  # type: ignore[attr-defined]
    test_frozen_rabbitmq.skip = rabbitmq.absent  # type: ignore[attr-defined]
    test_full_rabbitmq.skip = rabbitmq.absent  # type: ignore[attr-defined]
    test_failover.skip = rabbitmq.absent  # type: ignore[attr-defined]
    test_killed_activemq.skip = activemq.absent  # type: ignore[attr-defined]
    test_frozen_activemq.skip = activemq.absent  # type: ignore[attr-defined]
