"""Collecting from real brokers, by every way: into a real store, with the senders that brokers vouch for."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pika
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lb.broker.destination import Destination
from lb.broker.dial import SessionOpener
from lb.broker.limits import CollectLimits
from lb.broker.publisher import Publisher
from lb.broker.source import Source, read_source
from lb.broker.vouching import read_vouching
from lb.client.viabroker import BrokerProducer
from lb.security.policy import Policy
from lb.server.brokersources import BrokerSources
from lb.server.collecting import LOGGER_ACTIONS
from lb.server.collector import Collector
from lb.wire import ulm
from lb.wire.documents import event_document
from tests.broker.brokers import (
    ACTIVE,
    ACTIVE_TLS,
    PIKA,
    PIKA_TLS,
    RABBIT_STOMP,
    TXAMQP,
    WAYS,
    BrokerTestCase,
    Waiting,
    Way,
    clock,
    for_ways,
    message,
    queue,
    topic,
    unique,
)
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import JOB, line, registration, running

OWN = "/O=Test/CN=server.ex"
#: Of messages in memory.
OCTETS = 2 << 20


class Watching(Collector):
    """A collector that tells tests when it has stored something."""

    def __init__(self, server: Server, told: Told) -> None:
        super().__init__(server.ingest, self._run)
        self._told = told
        self._gate: Deferred[None] = defer.succeed(None)

    def shut(self) -> Deferred[None]:
        """Store nothing until this fires."""
        self._gate = Deferred()
        return self._gate

    def _run(self, function: Any, batch: Any) -> Any:
        stored: Deferred[Any] = Deferred()
        self._gate.addCallback(lambda _: stored.callback(function(batch)))
        return stored

    def submit(self, *arguments: Any) -> Any:
        self._told.tell(None)
        return super().submit(*arguments).addBoth(self._told.tell)


class Told(Waiting):
    """Wakes tests when something has come to its end."""

    def tell(self, outcome: Any) -> Any:
        """Passes an outcome on; who waits looks when others have seen it."""
        clock.callLater(0, self.happened)
        return outcome


class CollectTestCase(BrokerTestCase):
    """A server that collects, in this process."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory, Policy.open().permitting(OWN, *LOGGER_ACTIONS))
        self.addCleanup(self.server.close)
        self.told = Told()
        self.collector = Watching(self.server, self.told)
        self.kept: list[tuple[bytes, str]] = []

    def source(self, way: Way, destination: Destination, *options: str) -> Source:
        """A source that believes its events only where the broker vouches for nobody."""
        role = () if way.user else ("as=logger",)
        return read_source(",".join((f"site:{destination}", *role, *options)), {"site"})

    def collect(self, way: Way, source: Source, options: str = "") -> BrokerSources:
        """Collect it until the test is over; `options`: of the URL."""
        vouched = "&vouched=JMSXUserID" if way.user and way.scheme.startswith("stomp") else ""
        collecting = BrokerSources(
            [source],
            {"site": (way.url(options=vouched + options),)},
            read_vouching([f"site:{way.user}={OWNER.name}"] if way.user else []),
            SessionOpener(clock, None),
            self.collector,
            self._keep,
            clock,
            OWN,
            limits=CollectLimits(octets=OCTETS),
        )
        letters = collecting.dead_letters["site"]
        bury = letters.bury
        letters.bury = lambda letter: bury(letter).addBoth(self.told.tell)  # type: ignore[method-assign]
        collecting.startService()
        self.addCleanup(collecting.stopService)
        return collecting

    def _keep(self, body: bytes, reason: str) -> Any:
        self.kept.append((body, reason))
        return defer.succeed(None)

    def producer(self, way: Way, destination: Destination) -> BrokerProducer:
        """A producer by the same way."""
        producer = BrokerProducer((way.url(),), destination, SessionOpener(clock, None), clock, 60)
        self.addCleanup(lambda: defer.ensureDeferred(producer.close()))
        return producer

    def nodes(self) -> list[str]:
        """Nodes of the job's Running events, in the order of their arrival."""
        (job,) = self.server.writer.load([JOB.rpartition("/")[2]]).values()
        events = [ulm.parse(stored.line) for stored in self.server.writer.events(job.key)]
        return [str(event.text("node")) for event in events if event.type.name == "Running"]

    async def nothing_left(self, way: Way, source: Destination) -> None:
        """Everything in a queue was acknowledged: a later message is the only one that another consumer gets."""
        session = await self.session(way.url())
        last = message(source, b"last")
        await Publisher(self.link(way.url()), clock).publish(last)
        consumer = await self.consuming(session, source)
        await consumer.until(lambda: consumer.deliveries)
        self.assertEqual([delivery.id for delivery in consumer.deliveries], [last.id])


@for_ways(*WAYS)
class EachWayTests(CollectTestCase):
    """What all ways have in common."""

    async def each_stream(self, way: Way) -> None:
        """Lines and JSON, one and several a message: stored in order, logged by whom the broker vouches for, taken."""
        self.server.send(registration())
        where = queue()
        told = OTHER.name if way.user else OWNER.name  # where the broker vouches, nobody believes it
        lines = [running(number, f"wn{number}", user=told).encode() for number in range(1, 301)]
        documents = [event_document(ulm.parse(line)) for line in lines[200:]]
        several = [b"\n".join(lines[100:200]), *(json.dumps(each).encode() for each in (documents[0], documents[1:]))]
        sent = await self.producer(way, where).log_many([*lines[:100], *several])
        self.assertEqual(sent, 103)
        collecting = self.collect(way, self.source(way, where))
        (collect,) = collecting.collects
        await self.told.until(lambda: collect.counts.stored == 103)
        self.assertEqual(self.nodes(), [f"wn{number}" for number in range(1, 301)])
        (job,) = self.server.writer.load([JOB.rpartition("/")[2]]).values()
        users = {ulm.parse(stored.line).user for stored in self.server.writer.events(job.key)}
        self.assertEqual(users, {OWNER.name})
        await defer.maybeDeferred(collecting.stopService)
        await self.nothing_left(way, where)
        self.assertEqual(self.kept, [])

    async def each_poison(self, way: Way) -> None:
        """A message that nobody can use goes to the dead with its reason, the others are stored meanwhile (P5)."""
        self.server.send(registration())
        where = queue()
        good = [message(where, running(number, f"wn{number}").encode()) for number in (1, 2)]
        bad = message(where, b"\xff\0nonsense", headers={"colour": "r:ed"}, content_type="text/x-odd")
        publisher = Publisher(self.link(way.url()), clock)
        await defer.gatherResults([publisher.publish(each) for each in (good[0], bad, good[1])])
        source = self.source(way, where)
        assert source.dead is not None
        dead = await self.consuming(await self.session(way.url()), source.dead)
        collecting = self.collect(way, source)
        (collect,) = collecting.collects
        await dead.until(lambda: dead.deliveries)
        await self.told.until(lambda: collect.counts.stored == 2)
        (delivery,) = dead.deliveries
        self.assertEqual((delivery.body, delivery.id, delivery.content_type), (bad.body, bad.id, "text/x-odd"))
        self.assertEqual(delivery.headers["lb-dead-code"], "1401")
        self.assertEqual(delivery.headers["lb-dead-reason"], "ULM parse error")
        self.assertEqual(delivery.headers["lb-dead-source"], f"x-msg://site{where}")
        self.assertEqual(delivery.headers.get("lb-dead-user"), way.user)
        self.assertEqual(json.loads(delivery.headers["lb-dead-headers"])["colour"], "r:ed")
        self.assertEqual(self.nodes(), ["wn1", "wn2"])
        letters = collecting.dead_letters["site"]
        await self.told.until(lambda: letters.published)
        await defer.maybeDeferred(collecting.stopService)
        await self.nothing_left(way, where)


@for_ways(RABBIT_STOMP, ACTIVE, PIKA)
class SourceTests(CollectTestCase):
    """What sources may be, and what keeps us from them."""

    async def subscribed(self, way: Way, where: Destination, publisher: Publisher) -> None:
        """Publish events until one arrives; what came before the subscription stood is gone, as topics have it."""
        if not way.user:
            self.server.send(registration())
        first, told = (registration, OTHER.name) if way.user else (running, OWNER.name)
        number = 0
        while not (self.server.writer.load([JOB.rpartition("/")[2]]) and (way.user or self.nodes())):
            number += 1
            await publisher.publish(message(where, first(user=told, number=number).encode()))

    async def each_topic(self, way: Way) -> None:
        """A topic is collected like a queue; what a broker vouches for registers jobs, and events follow (P7)."""
        where = topic()
        self.collect(way, self.source(way, where))
        publisher = Publisher(self.link(way.url()), clock)
        await self.subscribed(way, where, publisher)
        await publisher.publish(message(where, running(0, "last").encode()))
        await self.told.until(lambda: self.nodes()[-1:] == ["last"])
        self.assertEqual(self.server.status(JOB).owner, OWNER.name)

    async def each_durable(self, way: Way) -> None:
        """A durable subscription to a topic keeps what comes while the server is away (P2)."""
        where = topic()
        source = self.source(way, where, f"durable={unique('lb.durable')}")
        publisher = Publisher(self.link(way.url()), clock)
        options = f"&client-id={unique('lb.client')}" if way is ACTIVE else ""
        collecting = self.collect(way, source, options)
        await self.subscribed(way, where, publisher)
        await defer.maybeDeferred(collecting.stopService)
        await publisher.publish(message(where, running(0, "away").encode()))
        self.collect(way, source, options)
        await self.told.until(lambda: self.nodes()[-1:] == ["away"])


@for_ways(RABBIT_STOMP, ACTIVE_TLS, PIKA_TLS, TXAMQP)
class GreatTests(CollectTestCase):
    """Messages of a megabyte."""

    async def each_great(self, way: Way) -> None:
        """What waits for the store is bounded in bytes: nothing more is read, then all goes on (P6, P10)."""
        self.server.send(registration())
        where = queue()
        gate = self.collector.shut()
        (collect,) = self.collect(way, read_source(f"site:{where},as=logger", {"site"})).collects
        self.addCleanup(lambda: gate.called or gate.callback(None))  # or nothing could end
        value = "x" * (1 << 20)
        tags = [
            line("UserTag", f'DG.USERTAG.NAME="t{number}" DG.USERTAG.VALUE="{value}" ', number=number).encode()
            for number in range(10)
        ]
        await self.producer(way, where).log_many(tags)
        await self.told.until(lambda: collect.paused)
        await self.producer(way, queue()).log_many(tags[:4])  # the broker had the time to send them all
        self.assertLess(collect.counts.received, 5)
        gate.callback(None)
        await self.told.until(lambda: collect.counts.stored == 10)
        self.assertFalse(collect.paused)


#: Properties that senders over AMQP may make up, of messages that are events nevertheless.
ODD: tuple[dict[str, Any], ...] = (
    {"headers": {f"h{number}": "x" for number in range(1_000)}},
    {"headers": {"long": "x" * 100_000}},
    {"headers": {"bytes": b"\xff\xfe", "none": None, "time": datetime(2026, 1, 1), "list": [1, "a", None]}},  # noqa: DTZ001
    {"headers": {"table": {"deep": [1, {"er": True}]}, "": "nameless", "a:b\nc": "d\re"}},
    {"headers": {"content-length": "3", "destination": "/queue/other", "ack": "7", "message-id": "x", "receipt": "r"}},
    {"message_id": "\n:x", "correlation_id": "ž\u2028", "content_type": "a\nb: c", "reply_to": "/temp-queue/x"},
    {"priority": 200, "type": "t", "app_id": "a", "content_encoding": "gzip", "timestamp": 2**40, "delivery_mode": 1},
)


@for_ways(RABBIT_STOMP, PIKA, TXAMQP)
class OddTests(CollectTestCase):
    """Messages of senders with strange habits."""

    async def each_odd(self, way: Way) -> None:
        """Whatever stands beside the body, a message is read: one that ended the session would block the queue (P5)."""
        self.server.send(registration())
        where = queue()
        bodies = [running(number, f"wn{number}").encode() for number in range(len(ODD))]
        await deferToThread(_publish, PIKA.broker.amqp_port, where.name, bodies)
        self.collect(way, read_source(f"site:{where},as=logger", {"site"}))
        await self.told.until(lambda: len(self.nodes()) == len(ODD))
        self.assertEqual(self.nodes(), [f"wn{number}" for number in range(len(ODD))])


def _publish(port: int, name: str, bodies: list[bytes]) -> None:
    """Publish bodies with the properties above, as any client of the broker may."""
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.queue_declare(name, durable=True)
    for properties, body in zip(ODD, bodies, strict=True):
        channel.basic_publish("", name, body, pika.BasicProperties(**properties))
    connection.close()
