"""Tunnelled messages over the whole way: a producer, a running logger, real brokers, each killed at some instant."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.threads import deferToThread

from lb.broker.destination import Destination, read_destination
from lb.broker.subscriber import Subscriber, Subscription
from lb.client.outgoing import new_message
from lb.client.session import Session, open_session
from lb.client.settings import Address
from lb.model.errors import LBError
from lb.wire.tunnel import Message
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
    Way,
    clock,
    queue,
    unique,
)
from tests.peers import activemq, rabbitmq
from tests.processes.daemon import Daemon, free_port

ROUNDS = 3
BATCH = 150


class Flow:
    """Messages to one queue at a broker, and who consumes them there."""

    def __init__(self, case: TunnelTestCase, way: Way) -> None:
        self.way = way
        self.name = case.name(way)
        self.destination = queue()
        self.address = f"x-msg://{self.name}{self.destination}"
        self.sent: list[Message] = []
        self.in_order: list[str] = []  # ids of what was acknowledged when it was first sent
        self.consumer = Consumer()
        Subscriber(case.link(way.url()), Subscription(self.destination), self.consumer, clock)

    def message(self, body: bytes | str, **fields: Any) -> Message:
        return new_message(self.address, body, now=time.time(), host="ui.example.org", **fields)

    def arrived(self, count: int) -> Deferred[None]:
        """Fires when so many different messages came."""
        consumer = self.consumer
        return consumer.until(lambda: len({delivery.id for delivery in consumer.deliveries}) >= count)

    @property
    def first(self) -> list[str]:
        """Ids in the order of their first arrival."""
        return list(dict.fromkeys(delivery.id for delivery in self.consumer.deliveries))


class TunnelTestCase(BrokerTestCase):
    """A logger with brokers, and a producer of it."""

    timeout = 240

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()

    def name(self, way: Way) -> str:
        """What the logger calls the way."""
        return f"{way.scheme.replace('+', '-')}.{way.module.__name__.rpartition('.')[2]}"

    async def begin(self, *ways: Way, options: Sequence[str] = ()) -> Session:
        """Start a logger that knows these ways; a session with it."""
        self.port = free_port()
        brokers = [
            word for way in ways for word in ("--broker", f"{self.name(way)}={way.text(options='&heartbeat=2')}")
        ]
        self.logger = Daemon("lb-logger", self.state, "--port", str(self.port), *brokers, *options)
        self.addCleanup(self.logger.kill)
        await deferToThread(self.logger.start)
        return self.session_of("user")

    def session_of(self, name: str) -> Session:
        """A session with a certificate of the development PKI."""
        pem, key = (self.state / f"pki/{name}.{kind}" for kind in ("pem", "key"))
        address = Address("localhost", self.port)
        session = open_session(
            clock, environ={}, explicit={"logger": address}, certificate=pem, key=key, state=self.state
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(session.close()))
        return session

    def send(self, session: Session, messages: Sequence[Message]) -> list[Deferred[None]]:
        """Send messages at once; what fires when each is acknowledged."""
        return [Deferred.fromCoroutine(session.producer.send(message)) for message in messages]

    def check(self, flow: Flow, expected: Sequence[Message]) -> None:
        """Everything arrived, each id with its body only, and nothing else (P2, P3)."""
        bodies = {message.id: message.body for message in expected}
        for delivery in flow.consumer.deliveries:
            self.assertEqual(bodies[delivery.id], delivery.body)
        self.assertEqual(set(flow.first), set(bodies), flow.way)

    async def logger_killed(self, *ways: Way) -> None:
        """Kill the logger while messages are on their way, again and again; the producer repeats what has no answer."""
        chance = random.Random(5)
        session = await self.begin(*ways)
        flows = [Flow(self, way) for way in ways]
        for number in range(ROUNDS):
            batch = [(flow, flow.message(f"{number}.{place}")) for place in range(BATCH) for flow in flows]
            sending = self.send(session, [message for _, message in batch])
            await sending[chance.randrange(len(sending))]
            # Somewhere between this answer and the arrival of what it is for.
            await deferToThread(self.logger.kill)
            outcomes = await DeferredList(sending, consumeErrors=True)
            again = []
            for (flow, message), (taken, _) in zip(batch, outcomes, strict=True):
                flow.sent.append(message)
                if taken:
                    flow.in_order.append(message.id)
                else:
                    again.append(message)
            await deferToThread(self.logger.start)
            await gatherResults(self.send(session, again))
        for flow in flows:
            await flow.arrived(len(flow.sent))
            self.check(flow, flow.sent)
            self.assertEqual([each for each in flow.first if each in set(flow.in_order)], flow.in_order)

    async def broker_killed(self, way: Way, other: Way) -> None:
        """Kill a broker while messages are on their way; the other one must not notice."""
        session = await self.begin(way, other)
        flow, beside = Flow(self, way), Flow(self, other)
        messages = [flow.message(f"{number}") for number in range(3 * BATCH)]
        await gatherResults(self.send(session, messages[:BATCH]))
        await flow.arrived(1)
        sending = self.send(session, messages[BATCH : 2 * BATCH])
        await deferToThread(way.broker.kill)
        try:
            await gatherResults(sending)
            await gatherResults(self.send(session, messages[2 * BATCH :]))
            undisturbed = [beside.message(f"{number}") for number in range(BATCH)]
            await gatherResults(self.send(session, undisturbed))
            await beside.arrived(BATCH)
            self.assertEqual(beside.first, [message.id for message in undisturbed])
        finally:
            await deferToThread(way.broker.restart)
        await flow.arrived(len(messages))
        self.check(flow, messages)
        self.assertEqual(flow.first, [message.id for message in messages])

    async def broker_frozen(self, ways: Sequence[Way], other: Way) -> None:
        """Freeze a broker until the logger gives its connections up; another one must not notice."""
        session = await self.begin(*ways, other)
        flows, beside = [Flow(self, way) for way in ways], Flow(self, other)

        async def send(batch: Sequence[Flow]) -> None:
            messages = [flow.message(f"{place}") for place in range(BATCH) for flow in batch]
            for flow in batch:
                flow.sent += [message for message in messages if message.destination == flow.address]
            await gatherResults(self.send(session, messages))

        await send(flows)
        for flow in flows:  # one that is not connected yet would not miss a sign of life
            await flow.arrived(1)
        with ways[0].broker.frozen():
            await send(flows)
            while self.logger.log.read_text().count("no sign of life") < len(flows):
                await send([beside])
                await beside.arrived(len(beside.sent))
            await send(flows)
        await send(flows)
        for flow in (*flows, beside):
            await flow.arrived(len(flow.sent))
            self.check(flow, flow.sent)
            self.assertEqual(flow.first, [message.id for message in flow.sent])


class TunnelTests(TunnelTestCase):
    """Both brokers."""

    skip = rabbitmq.absent or activemq.absent

    async def test_every_way(self) -> None:
        """Over each way text, bytes and what is said about them arrive in order, under the sender's name (P4, P7)."""
        ways = (PIKA, PIKA_TLS, TXAMQP, TXAMQP_TLS, RABBIT_STOMP, RABBIT_STOMP_TLS, ACTIVE, ACTIVE_TLS)
        session = await self.begin(*ways)
        flows = [Flow(self, way) for way in ways]
        soon = 3600.0
        messages = {
            flow: [
                flow.message('žluťoučký \\ "kůň"\n', headers={"Colour": "a:b\\c\nd"}, correlation_id="c"),
                flow.message(bytes(range(256)), content_type="image/x", priority=3, lifetime=soon),
                flow.message("", reply_to="/queue/lb.answers"),
                flow.message(b"caf\xe9 \0\xff", content_type="text/plain; charset=iso-8859-1"),
                *(flow.message(f"{number}") for number in range(20)),
            ]
            for flow in flows
        }
        for flow in flows:
            await gatherResults(self.send(session, messages[flow]))
        for flow in flows:
            sent, came = messages[flow], flow.consumer.deliveries
            await flow.arrived(len(sent))
            self.assertEqual([(each.id, each.body) for each in came], [(each.id, each.body) for each in sent])
            self.assertEqual({each.headers["lb-user"] for each in came}, {session.identity})
            self.assertEqual({each.headers["lb-host"] for each in came}, {"ui.example.org"})
            self.assertEqual([each.content_type for each in came[:2]], ["text/plain; charset=utf-8", "image/x"])
            self.assertEqual((came[0].headers["Colour"], came[0].correlation_id), ("a:b\\c\nd", "c"))
            self.assertIn("lb.answers", came[2].reply_to or "")
            # By itself: ActiveMQ lets messages that it need not keep overtake those that it does.
            (transient,) = [flow.message("transient", persistent=False)]
            await gatherResults(self.send(session, [transient]))
            await flow.arrived(len(sent) + 1)
            self.assertEqual(came[-1].id, transient.id)

    async def test_large(self) -> None:
        """10 MB of any bytes between small messages, over each driver."""
        ways = (PIKA, TXAMQP, RABBIT_STOMP, ACTIVE)
        session = await self.begin(*ways)
        body = os.urandom(10_000_000)
        for way in ways:
            flow = Flow(self, way)
            sent = [flow.message("before"), flow.message(body), flow.message("after")]
            await gatherResults(self.send(session, sent))
            await flow.arrived(3)
            self.assertEqual(flow.first, [message.id for message in sent])
            self.assertTrue(flow.consumer.bodies == [b"before", body, b"after"], way)

    async def test_killed_logger_amqp(self) -> None:
        """P1 to P4: the logger dies by kill -9 with messages for RabbitMQ, by both AMQP drivers."""
        await self.logger_killed(PIKA, TXAMQP)

    async def test_killed_logger_stomp(self) -> None:
        """P1 to P4: the logger dies by kill -9 with messages for both brokers, over STOMP."""
        await self.logger_killed(RABBIT_STOMP, ACTIVE)

    async def test_killed_rabbitmq(self) -> None:
        """P2, P4, P5: RabbitMQ dies by kill -9; ActiveMQ goes on."""
        await self.broker_killed(PIKA, ACTIVE)

    async def test_killed_activemq(self) -> None:
        """P2, P4, P5: ActiveMQ dies by kill -9; RabbitMQ goes on."""
        await self.broker_killed(ACTIVE_TLS, RABBIT_STOMP)

    async def test_frozen_rabbitmq(self) -> None:
        """P2 to P5: connections with RabbitMQ freeze, by each driver, one over TLS; ActiveMQ goes on."""
        await self.broker_frozen((PIKA_TLS, TXAMQP, RABBIT_STOMP), ACTIVE)

    async def test_frozen_activemq(self) -> None:
        """P2 to P5: connections with ActiveMQ freeze, plain and over TLS; RabbitMQ goes on."""
        await self.broker_frozen((ACTIVE, ACTIVE_TLS), PIKA)

    async def test_full_queue(self) -> None:
        """P5, P6: a queue that is full takes nothing and loses nothing; others at the same broker go on meanwhile."""
        policy = '{"max-length": 1, "overflow": "reject-publish"}'
        await deferToThread(PIKA.broker.control, "set_policy", "full", r"^lb\.full\.", policy, "--apply-to", "queues")
        session = await self.begin(PIKA, options=["--tunnel-longest-pause", "1"])
        beside = Flow(self, PIKA)
        full = read_destination(f"/queue/{unique('lb.full')}")
        address = f"x-msg://{self.name(PIKA)}{full}"
        stuck = [new_message(address, f"{number}", now=time.time(), host="h") for number in range(10)]
        await gatherResults(self.send(session, stuck))
        passing = [beside.message(f"{number}") for number in range(BATCH)]
        await gatherResults(self.send(session, passing))
        await beside.arrived(BATCH)
        self.check(beside, passing)
        said = await deferToThread((self.state / "lb-logger.log").read_text)
        self.assertIn("is the queue full?", said)
        self.assertNotIn("lb.broker.link#warn", said)  # no session was lost over it
        consumer = Consumer()
        Subscriber(self.link(PIKA.url()), Subscription(full), consumer, clock)
        await consumer.until(lambda: len({delivery.id for delivery in consumer.deliveries}) == len(stuck))
        first = list(dict.fromkeys(delivery.id for delivery in consumer.deliveries))
        self.assertEqual(set(first), {message.id for message in stuck})

    async def test_refused(self) -> None:
        """P5: what a broker refuses, or nobody wants any more, is set aside with the reason; the rest goes on."""
        ways = (PIKA, RABBIT_STOMP, ACTIVE)
        session = await self.begin(*ways, options=["--tunnel-patience", "0"])
        for way in ways:
            flow = Flow(self, way)
            bad = read_destination("/queue/refused.a" if way is ACTIVE else "/exchange/missing/a")
            cases = [
                (bad, None, "refused.a" if way is ACTIVE else "missing"),
                (flow.destination, 0.0, "it expired at"),
            ]
            for destination, lifetime, words in cases:
                await self.refused(session, flow, destination, lifetime, words)
            (good,) = sent = [flow.message("good", synchronous=True)]
            await session.producer.send(good)
            await flow.arrived(1)
            self.check(flow, sent)

    async def refused(
        self, session: Session, flow: Flow, destination: Destination, lifetime: float | None, words: str
    ) -> None:
        """Send what will not arrive, and wait until its sender is told."""
        message = new_message(
            f"x-msg://{flow.name}{destination}",
            "bad",
            now=time.time(),
            host="h",
            lifetime=lifetime,
            synchronous=True,
        )
        error = await self.assertFailure(Deferred.fromCoroutine(session.producer.send(message)), LBError)
        self.assertIn("quarantine", error.description)
        kept = b"".join(path.read_bytes() for path in self.state.rglob("quarantine/*") if path.is_file())
        self.assertIn(message.id.encode(), kept)
        (comment,) = [line for line in kept.splitlines() if line.startswith(b"#") and words.encode() in line][-1:]
        self.assertIn(b"record", comment)
