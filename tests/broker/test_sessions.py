"""One suite for every driver and broker, plain and over TLS with a client certificate."""

from __future__ import annotations

import os
from dataclasses import replace

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from lb.broker.destination import read_destination
from lb.broker.dial import SessionOpener
from lb.broker.errors import LoginError, LostError, RefusedError
from lb.broker.publisher import Publisher
from lb.broker.session import Session, Subscription
from lb.broker.url import BrokerURL
from tests.broker.brokers import (
    ACTIVE,
    ACTIVE_TLS,
    PIKA,
    PIKA_TLS,
    RABBIT_STOMP,
    TXAMQP,
    TXAMQP_TLS,
    WAYS,
    BrokerTestCase,
    Consumer,
    Owner,
    Way,
    clock,
    for_ways,
    message,
    queue,
    topic,
    unique,
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
        session.publish([(1, message(source, correlation_id="c1", reply_to="/queue/answers", priority=7))])
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
        """A port where nobody listens is a LostError that says so."""
        error = await self.assertFailure(self.open(replace(way.url(), port=1)), LostError)
        self.assertIn("nobody listens", str(error))

    async def each_refused(self, way: Way) -> None:
        """Of messages published at once, those for a bad destination fail with the reason; the others arrive."""
        link = self.link(way.url())
        publisher = Publisher(link, clock)
        good = queue()
        bad = read_destination("/queue/refused.a" if way is ACTIVE else "/exchange/missing/a")
        sent = [message(bad if number % 5 == 2 else good, b"%d" % number) for number in range(20)]
        outcomes = await DeferredList([publisher.publish(each) for each in sent], consumeErrors=True)
        for each, (success, failure) in zip(sent, outcomes, strict=True):
            self.assertEqual(success, each.destination is good)
            if not success:
                failure.trap(RefusedError)
                self.assertIn("refused.a" if way is ACTIVE else "missing", failure.getErrorMessage())
        consumer = await self.consuming(await self.session(way.url()), good)
        expected = [each.body for each in sent if each.destination is good]
        await consumer.until(lambda: len(dict.fromkeys(consumer.bodies)) == len(expected))
        self.assertEqual(list(dict.fromkeys(consumer.bodies)), expected)

    def open(self, url: BrokerURL) -> Deferred[Session]:
        """The opening of a session that is to fail."""
        return SessionOpener(clock, None).open(url, Owner())


@for_ways(RABBIT_STOMP, PIKA, TXAMQP)
class RabbitTests(BrokerTestCase):
    """What RabbitMQ can do and ActiveMQ cannot, or not in this way."""

    async def each_forbidden(self, way: Way) -> None:
        """Who may not write gets a RefusedError that names the destination."""
        link = self.link(way.url(login="reader:reader@"))
        error = await self.assertFailure(Publisher(link, clock).publish(message(topic())), RefusedError)
        self.assertIn("/topic/", str(error) + "/topic/" * (way is RABBIT_STOMP))
        self.assertIn("refused", str(error))

    async def each_subscription_refused(self, way: Way) -> None:
        """A subscription to what is not there is refused; RabbitMQ may agree first over STOMP, then end the session."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source = read_destination("/amq/queue/lb.test.missing")
        ((success, failure),) = await DeferredList(
            [session.subscribe(Subscription(source), Consumer())], consumeErrors=True
        )
        if success:
            self.assertIs(way, RABBIT_STOMP)
            await owner.until(lambda: owner.endings)
            failure = Failure(owner.endings[0])
        failure.trap(RefusedError)
        self.assertIn("lb.test.missing", failure.getErrorMessage())

    async def each_cancelled(self, way: Way) -> None:
        """When its queue is deleted, the consumer is told and the session goes on."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source, other = queue(), queue()
        consumer = await self.consuming(session, source)
        await deferToThread(way.broker.control, "delete_queue", source.name)
        await consumer.until(lambda: consumer.cancellations)
        session.publish([(1, message(other))])
        await owner.until(lambda: owner.confirmations == [1])
        self.assertEqual(owner.endings, [])

    async def each_exchange(self, way: Way) -> None:
        """An exchange and a routing key are a destination, to publish to and to consume from."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source = read_destination(f"/exchange/amq.direct/{unique('key')}")
        consumer = await self.consuming(session, source)
        session.publish([(1, message(source, b"hello"))])
        await consumer.until(lambda: consumer.bodies == [b"hello"])
        await owner.until(lambda: owner.confirmations == [1])

    async def each_poison(self, way: Way) -> None:
        """P5: a message that the broker cannot bear is refused, for itself; those beside it arrive, in order."""
        destination = queue()
        consumer = await self.consuming(await self.session(way.url()), destination)
        publisher = Publisher(self.link(way.url()), clock)
        poison = message(destination, b"poison", reply_to="amq.rabbitmq.reply-to")  # nobody asks for replies there
        sent = [message(destination, b"1"), poison, message(destination, b"2"), message(queue(), b"else")]
        results = await DeferredList([publisher.publish(each) for each in sent], consumeErrors=True)
        self.assertEqual([taken for taken, _ in results], [True, False, True, True])
        self.assertFalse(results[1][1].value.everything)
        await consumer.until(lambda: b"2" in consumer.bodies)
        self.assertEqual(list(dict.fromkeys(consumer.bodies)), [b"1", b"2"])


@for_ways(PIKA, TXAMQP)
class MandatoryTests(BrokerTestCase):
    """AMQP tells what no queue would have kept."""

    async def each_unroutable(self, way: Way) -> None:
        """A message that no queue gets is refused, its neighbours on the same exchange are stored."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        key = unique("key")
        bound = read_destination(f"/exchange/amq.direct/{key}")
        nowhere = read_destination(f"/exchange/amq.direct/{key}.nowhere")
        consumer = await self.consuming(session, bound)
        sent = [(n, message(nowhere if n % 3 == 1 else bound, b"%d" % n, persistent=n % 2 == 0)) for n in range(12)]
        session.publish(sent)
        await owner.until(lambda: len(owner.confirmations) + len(owner.refusals) == 12)
        self.assertEqual(sorted(owner.refusals), [1, 4, 7, 10])
        self.assertIn("nobody gets it", str(owner.refusals[1]))
        self.assertFalse(owner.refusals[1].everything)
        await consumer.until(lambda: len(consumer.bodies) == 8)

    async def each_limits(self, way: Way) -> None:
        """What AMQP has no room for is refused before it is sent, and nothing else suffers."""
        owner = Owner()
        session = await self.session(way.url(), owner)
        source = queue()
        bad = [
            message(source, id="i" * 256),
            message(source, correlation_id="c" * 256),
            message(source, headers={"h" * 256: ""}),
            message(source, headers={"h": "\udcff"}),
        ]
        session.publish([*enumerate(bad), (9, message(source, headers={"h": "v" * 10_000}))])
        await owner.until(lambda: owner.confirmations)
        self.assertEqual(owner.confirmations, [9])
        self.assertEqual(sorted(owner.refusals), [0, 1, 2, 3])


@for_ways(ACTIVE, ACTIVE_TLS, PIKA, PIKA_TLS, TXAMQP, TXAMQP_TLS)
class VouchedTests(BrokerTestCase):
    """P7: the sender is who the broker says it is."""

    async def each_forged(self, way: Way) -> None:
        """Headers that a sender makes up change nothing about whom the broker vouches for."""
        session = await self.session(way.url(options="&vouched=JMSXUserID"))
        source = queue()
        forged = dict.fromkeys(("JMSXUserID", "user-id", "user_id", "userid"), "root")
        session.publish([(1, message(source, headers=forged))])
        consumer = await self.consuming(session, source)
        await consumer.until(lambda: consumer.deliveries)
        self.assertEqual(consumer.deliveries[0].user, way.user)


@for_ways(RABBIT_STOMP)
class RabbitStompTests(BrokerTestCase):
    """P7: RabbitMQ over STOMP."""

    async def each_nul(self, way: Way) -> None:
        """P5: a property with a NUL, which the broker hands on as it is, ends no session and blocks no queue."""
        source = queue()
        sender = await self.session(PIKA.url())
        sender.publish([(1, message(source, b"odd", headers={"h": "a\0b"})), (2, message(source, b"next"))])
        consumer = await self.consuming(await self.session(way.url()), source)
        await consumer.until(lambda: b"next" in consumer.bodies)
        self.assertEqual((consumer.bodies, consumer.deliveries[0].headers["h"]), ([b"odd", b"next"], "a\0b"))

    async def each_vouching(self, way: Way) -> None:
        """Headers there can be made up by whoever sends over AMQP: a URL that wants to believe one is refused."""
        opening = SessionOpener(clock, None).open(way.url(options="&vouched=user-id"), Owner())
        error = await self.assertFailure(opening, LoginError)
        self.assertIn("vouches for nobody", str(error))

    async def each_sender(self, way: Way) -> None:
        """Whoever sends over STOMP is known to consumers over AMQP by the name of the login, not by a header."""
        source = queue()
        session = await self.session(way.url())
        session.publish([(1, message(source, headers={"user-id": "root"}))])
        consumer = await self.consuming(await self.session(PIKA.url()), source)
        await consumer.until(lambda: consumer.deliveries)
        self.assertEqual(consumer.deliveries[0].user, "guest")


@for_ways(RABBIT_STOMP, ACTIVE)
class UnvouchedTests(BrokerTestCase):
    """P7: who is not vouched for is nobody."""

    async def each_default(self, way: Way) -> None:
        """Over STOMP nobody is believed unless the URL names the header that the broker sets."""
        session = await self.session(way.url())
        source = queue()
        session.publish([(1, message(source, headers={"JMSXUserID": "root"}))])
        consumer = await self.consuming(session, source)
        await consumer.until(lambda: consumer.deliveries)
        self.assertIsNone(consumer.deliveries[0].user)


@for_ways(RABBIT_STOMP, ACTIVE, PIKA, TXAMQP)
class DurableTests(BrokerTestCase):
    """Topics that remember."""

    async def each_durable(self, way: Way) -> None:
        """A durable subscription gets what was published while nobody was there (P2)."""
        url = way.url(options=f"&client-id={unique('client')}")
        source, name = topic(), unique("durable")
        session = await self.session(url)
        await self.consuming(session, source, durable=name)
        await session.close()
        owner = Owner()
        other = await self.session(way.url(), owner)
        other.publish([(1, message(source, b"meanwhile"))])
        await owner.until(lambda: owner.confirmations == [1])
        consumer = await self.consuming(await self.session(url), source, durable=name)
        await consumer.until(lambda: consumer.bodies == [b"meanwhile"])
