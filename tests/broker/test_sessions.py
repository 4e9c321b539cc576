"""One suite for every driver and broker, plain and over TLS with a client certificate."""

from __future__ import annotations

import os

from lb.broker.dial import SessionOpener
from lb.broker.errors import LoginError, LostError
from tests.broker.brokers import (
    ACTIVE,
    PIKA,
    RABBIT_STOMP,
    TXAMQP,
    WAYS,
    BrokerTestCase,
    Owner,
    Way,
    clock,
    for_ways,
    message,
    queue,
    topic,
)

#: Bodies that some layer may take for something else.
BODIES = (b"", b"\0", b"\n\n", b"plain", bytes(range(256)), "žluťoučký".encode(), b"\xff\xfe\xce", b"\0" * 5 + b"x")


@for_ways(*WAYS)
class EachWayTests(BrokerTestCase):
    """What all ways have in common."""

    async def each_bodies(self, way: Way) -> None:
        """Bodies of any bytes, in order, confirmed and delivered with everything that was said about them."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source = queue()
        sent = [
            message(source, body, headers={"Job": "a:b\\c", "n": str(number)}, content_type=kind)
            for number, body in enumerate(BODIES)
            for kind in ("application/octet-stream", "text/javascript")
            if kind.startswith("app") or (body.isascii() and b"\0" not in body)
        ]
        session.publish(list(enumerate(sent)))
        await owner.until(lambda: len(owner.confirmations) == len(sent))
        self.assertEqual(sorted(owner.confirmations), list(range(len(sent))))
        consumer = await self.consuming(session, source)
        await consumer.until(lambda: len(consumer.deliveries) == len(sent))
        self.assertEqual(consumer.bodies, [each.body for each in sent])
        for each, delivery in zip(sent, consumer.deliveries, strict=True):
            self.assertEqual(delivery.id, each.id)
            self.assertEqual(delivery.content_type, each.content_type)
            self.assertLessEqual(each.headers.items(), delivery.headers.items())
            self.assertEqual(delivery.destination, str(source))
            self.assertFalse(delivery.redelivered)

    async def each_large(self, way: Way) -> None:
        """A message of 10 MB between small ones; all come whole and in order."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source = queue()
        bodies = [b"before", os.urandom(10_000_000), b"after"]
        session.publish([(number, message(source, body)) for number, body in enumerate(bodies)])
        await owner.until(lambda: len(owner.confirmations) == 3)
        consumer = await self.consuming(session, source)
        await consumer.until(lambda: len(consumer.deliveries) == 3)
        self.assertEqual([len(body) for body in consumer.bodies], [len(body) for body in bodies])
        self.assertTrue(consumer.bodies == bodies)

    async def each_topic(self, way: Way) -> None:
        """Every subscriber of a topic gets a copy, with reply address, correlation and the sender vouched for."""
        owner = Owner()
        session = await self.session(way.url(options="&vouched=JMSXUserID" if way.user else ""), owner)
        source = topic()
        first = await self.consuming(session, source)
        second = await self.consuming(session, source)
        session.publish([(1, message(source, correlation_id="c1", reply_to="/queue/answers"))])
        for consumer in (first, second):
            await consumer.until(lambda consumer=consumer: consumer.deliveries)
            (delivery,) = consumer.deliveries
            self.assertEqual(delivery.correlation_id, "c1")
            self.assertEqual(delivery.reply_to.replace("queue://", "/queue/"), "/queue/answers")
            self.assertEqual(delivery.user, way.user)
            self.assertEqual(delivery.destination, str(source))
        await owner.until(lambda: owner.confirmations == [1])

    async def each_redelivery(self, way: Way) -> None:
        """What was not acknowledged when a session ended comes again, marked, with its id; the rest does not (P2)."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source = queue()
        sent = [message(source, b"%d" % number) for number in range(6)]
        session.publish(list(enumerate(sent)))
        consumer = await self.consuming(session, source, acknowledge=False)
        await consumer.until(lambda: len(consumer.deliveries) == 6)
        # The oldest ones at once, then one from the middle: both forms that acknowledgements have.
        session.acknowledge(consumer.deliveries[:2])
        session.acknowledge(consumer.deliveries[3:4])
        await owner.until(lambda: len(owner.confirmations) == 6)
        await session.close()
        self.assertIsInstance(owner.endings[0], LostError)
        again = await self.consuming(await self.session(way.url()), source)
        await again.until(lambda: len(again.deliveries) == 3)
        self.assertEqual([delivery.id for delivery in again.deliveries], [sent[place].id for place in (2, 4, 5)])
        self.assertEqual([delivery.redelivered for delivery in again.deliveries], [True] * 3)

    async def each_prefetch(self, way: Way) -> None:
        """No more messages come than may be out without acknowledgement (P10); each one acknowledged makes room."""
        session = await self.session(way.url())
        source = queue()
        consumer = await self.consuming(session, source, acknowledge=False, prefetch=3)
        session.publish([(number, message(source, b"%d" % number)) for number in range(10)])
        await consumer.until(lambda: len(consumer.deliveries) == 3)
        # The answer to a second subscription comes after all that the first one could have got.
        await self.consuming(session, queue())
        self.assertEqual(len(consumer.deliveries), 3)
        session.acknowledge(consumer.deliveries[:1])
        await consumer.until(lambda: len(consumer.deliveries) == 4)

    async def each_nobody(self, way: Way) -> None:
        """A topic to which nobody listens takes messages; nothing is refused and nothing waits."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        session.publish([(1, message(topic()))])
        await owner.until(lambda: owner.confirmations == [1])

    async def each_many(self, way: Way) -> None:
        """Hundreds of small messages at once for several destinations: all confirmed, each queue in order."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        sources = [queue() for _ in range(3)]
        sent = [message(sources[number % 3], b"%d" % number) for number in range(600)]
        session.publish(list(enumerate(sent)))
        await owner.until(lambda: len(owner.confirmations) == 600)
        for place, source in enumerate(sources):
            consumer = await self.consuming(session, source)
            await consumer.until(lambda consumer=consumer: len(consumer.deliveries) == 200)
            self.assertEqual(consumer.bodies, [b"%d" % number for number in range(place, 600, 3)])


@for_ways(RABBIT_STOMP, ACTIVE, PIKA, TXAMQP)
class RefusalTests(BrokerTestCase):
    """What a broker refuses is a clear error, for the right message only (P5)."""

    async def each_password(self, way: Way) -> None:
        """A wrong password is a LoginError that names the broker, and not the password."""
        error = await self.assertFailure(self.open(way.url(login="guest:secret@")), LoginError)
        self.assertIn("guest@127.0.0.1", str(error))
        self.assertNotIn("secret", str(error))

    async def each_nobody_there(self, way: Way) -> None:
        """A port where nobody listens, and one where somebody listens who says nothing."""
        url = way.url()
        closed = type(url)(url.scheme, url.host, 1)
        error = await self.assertFailure(self.open(closed), LostError)
        self.assertIn("nobody listens", str(error))

    def open(self, url: object) -> object:
        """The opening of a session that is to fail."""
        return SessionOpener(clock, None).open(url, Owner())  # type: ignore[arg-type]
