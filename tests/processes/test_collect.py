"""Events from real brokers into a running server: whoever is killed or frozen, each is stored once, in its order."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from lb.broker.destination import Destination
from lb.broker.dial import SessionOpener
from lb.broker.publisher import Publisher
from lb.client.session import Session, open_session
from lb.client.settings import Address
from lb.client.viabroker import BrokerProducer
from lb.model import jobid
from lb.model.jobid import JobId
from lb.spool.quarantine import decode_entries
from lb.store.sqlite import SQLiteStore
from lb.wire import il, ulm
from tests.broker.brokers import (
    ACTIVE,
    ACTIVE_TLS,
    PIKA,
    PIKA_TLS,
    RABBIT_STOMP_TLS,
    TXAMQP,
    BrokerTestCase,
    Way,
    clock,
    message,
    queue,
)
from tests.client.test_cli import lb
from tests.peers import activemq, rabbitmq
from tests.processes.daemon import Daemon, connect, free_port, replies
from tests.server.test_ingest import registration, running

ROUNDS = 3
BATCH = 100
RABBIT = (PIKA, TXAMQP, RABBIT_STOMP_TLS)
ACTIVES = (ACTIVE, ACTIVE_TLS)


class Flow:
    """Events of one job through one queue at a broker."""

    def __init__(self, case: CollectTestCase, way: Way) -> None:
        self.case = case
        self.name = f"{way.scheme.replace('+', '-')}.{way.module.__name__.rpartition('.')[2]}"
        self.way = way
        self.queue = queue()
        self.job = jobid.create(f"localhost:{case.port}")
        self.sent = 0
        # Heart-beats often enough for tests that freeze a broker.
        self.options = ("--broker", f"{self.name}={way.text(options='&heartbeat=1')}")

    def publish(self, count: int) -> Deferred[int]:
        """Publish the next events; fires when the broker has confirmed them."""
        numbers = range(self.sent + 1, self.sent + count + 1)
        self.sent += count
        lines = [running(number, f"wn{number}", job=str(self.job)).encode() for number in numbers]
        return Deferred.fromCoroutine(self.producer.log_many(lines))

    def produce(self) -> None:
        """Have a producer."""
        url = self.way.url(options="&heartbeat=1")
        opener = SessionOpener(clock, None)
        self.producer = BrokerProducer((url,) * 1_000, self.queue, opener, clock, 120, delay=lambda rounds: 0.2)
        self.case.addCleanup(lambda: Deferred.fromCoroutine(self.producer.close()))


class CollectTestCase(BrokerTestCase):
    """A server with brokers, and producers of them."""

    timeout = 240

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.port = free_port()
        self.server: Daemon | None = None

    async def begin(self, *flows: Flow, source: str = "as=logger", options: tuple[str, ...] = ()) -> None:
        """Start a server that collects from all flows, and register their jobs."""
        collected = [
            word
            for flow in flows
            for word in (*flow.options, "--collect", f"{flow.name}:{flow.queue}" + (f",{source}" if source else ""))
        ]
        # Reconnecting is waited for, so it is not to take long.
        pauses = ("--broker-longest-pause", "0.5", "--broker-subscription-pause", "0.5")
        self.server = Daemon("lb", self.state, "--port", str(self.port), *collected, *pauses, *options)
        self.addCleanup(self.server.kill)
        await deferToThread(self.server.start)
        self.user = self.server.user
        for flow in flows:
            await deferToThread(self.register, flow.job)
            flow.produce()

    def register(self, job: JobId) -> None:
        with connect(self.port + 1, self.state / "pki") as connection:
            connection.sendall(il.frame(registration(job=str(job), user=self.user).encode()))
            self.assertEqual(next(iter(replies(connection))), il.OK)

    def session(self) -> Session:  # type: ignore[override]
        """A client of the server."""
        session = open_session(
            clock, environ={}, state=self.state, explicit={"query_server": Address("localhost", self.port)}
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(session.close()))
        return session

    async def all_arrived(self, *flows: Flow) -> None:
        """Ask until all events are there; each question takes the server some time, so this is no busy loop."""
        session = self.session()
        for flow in flows:
            while len(await session.consumer.events(flow.job)) < 1 + flow.sent:
                pass

    async def check(self, *flows: Flow) -> None:
        """All events of each flow were stored once, in the order of their sending; nothing is left (P2 to P4)."""
        await self.all_arrived(*flows)
        assert self.server is not None
        await deferToThread(self.server.stop)
        store = SQLiteStore(self.state / "lb.sqlite")
        writer = store.writer()
        try:
            for flow in flows:
                (job,) = writer.load([flow.job.unique]).values()
                events = [ulm.parse(stored.line) for stored in writer.events(job.key)]
                nodes = [event.text("node") for event in events if event.type.name == "Running"]
                self.assertEqual(nodes, [f"wn{number}" for number in range(1, flow.sent + 1)], flow.name)
        finally:
            writer.close()
            store.close()
        await gatherResults([Deferred.fromCoroutine(self.nothing_left(flow.way, flow.queue)) for flow in flows])

    async def nothing_left(self, way: Way, source: Destination) -> None:
        """Everything in a queue was acknowledged: a later message is the only one that another consumer gets."""
        last = message(source, b"last")
        await Publisher(self.link(way.url()), clock).publish(last)
        consumer = await self.consuming(await BrokerTestCase.session(self, way.url()), source)
        await consumer.until(lambda: consumer.deliveries)
        self.assertEqual([delivery.id for delivery in consumer.deliveries], [last.id], way)

    async def server_killed(self, ways: tuple[Way, ...]) -> None:
        """Kill the server in the middle of streams, again and again."""
        chance = random.Random(7)
        flows = [Flow(self, way) for way in ways]
        await self.begin(*flows)
        assert self.server is not None
        session = self.session()
        for _ in range(ROUNDS):
            publishing = [flow.publish(BATCH) for flow in flows]
            wanted = flows[0].sent - BATCH + chance.randrange(BATCH)
            while len(await session.consumer.events(flows[0].job)) <= wanted:
                pass
            await deferToThread(self.server.kill)
            await gatherResults([*publishing, *(flow.publish(BATCH // 3) for flow in flows)])
            await deferToThread(self.server.start)
        await self.check(*flows)

    async def broker_out(self, ways: tuple[Way, ...], other: Way) -> None:
        """Freeze and kill a broker in the middle of streams; another broker's events are not delayed (P5)."""
        broker = ways[0].broker
        flows = [Flow(self, way) for way in ways]
        beside = Flow(self, other)
        await self.begin(*flows, beside)
        assert self.server is not None
        publishing = [flow.publish(BATCH) for flow in flows]
        await flows[0].publish(1)
        with broker.frozen():
            publishing += [flow.publish(BATCH) for flow in flows]
            await beside.publish(BATCH)
            while self.server.log.read_text().count("no sign of life") < len(flows):
                await self.all_arrived(beside)
        publishing += [flow.publish(BATCH) for flow in flows]
        await flows[-1].publish(1)
        await deferToThread(broker.kill)
        try:
            publishing += [flow.publish(BATCH) for flow in flows]
            await beside.publish(BATCH)
            await self.all_arrived(beside)
        finally:
            await deferToThread(broker.restart)
        await gatherResults(publishing)
        await self.check(*flows, beside)


class OutageTests(CollectTestCase):
    """Whole outages."""

    async def test_server_killed_rabbitmq(self) -> None:
        """The server dies while it collects from RabbitMQ by three ways."""
        await self.server_killed(RABBIT)

    async def test_server_killed_activemq(self) -> None:
        """The server dies while it collects from ActiveMQ, plain and over TLS."""
        await self.server_killed(ACTIVES)

    async def test_rabbitmq_out(self) -> None:
        """RabbitMQ freezes and dies while ActiveMQ goes on."""
        await self.broker_out(RABBIT, ACTIVE)

    async def test_activemq_out(self) -> None:
        """ActiveMQ freezes and dies while RabbitMQ goes on."""
        await self.broker_out(ACTIVES, PIKA)

    test_server_killed_rabbitmq.skip = rabbitmq.absent  # type: ignore[attr-defined]
    test_server_killed_activemq.skip = activemq.absent  # type: ignore[attr-defined]
    test_rabbitmq_out.skip = rabbitmq.absent or activemq.absent  # type: ignore[attr-defined]
    test_activemq_out.skip = rabbitmq.absent or activemq.absent  # type: ignore[attr-defined]


class UserTests(CollectTestCase):
    """What users do and see."""

    async def test_command(self) -> None:
        """lb log --via sends by certificate over TLS; who logs is whom the broker vouches for, as mapped (P7)."""
        for way in (PIKA_TLS, ACTIVE_TLS):
            flow = Flow(self, way)
            mapped = ("--broker-user", f"{flow.name}:{way.user}=/O=Grid/CN=Mapped")
            vouched = "&vouched=JMSXUserID" if way is ACTIVE_TLS else ""
            flow.options = ("--broker", f"{flow.name}={way.text(options=vouched)}")
            await self.begin(flow, source="", options=mapped)
            outcome = await deferToThread(
                lb, "log", "Running", "--jobid", str(flow.job), "--source", "LogMonitor", "--node", "wn1",
                "--state-dir", str(self.state), "--via", way.text(), str(flow.queue),
            )  # fmt: skip
            self.assertEqual((outcome.code, outcome.stderr), (0, ""))
            flow.sent = 1
            await self.all_arrived(flow)
            events = await self.session().consumer.events(flow.job)
            users = {event.type.name: event.user for event in events}
            self.assertEqual(users, {"RegJob": self.user, "Running": "/O=Grid/CN=Mapped"})
            assert self.server is not None
            await deferToThread(self.server.stop)

    async def test_errors(self) -> None:
        """Brokers that cannot be used neither stop the server nor keep it from others; users are told what is wrong."""
        flow = Flow(self, PIKA)
        flow.options = ("--broker", f"{flow.name}=stomp://127.0.0.1:1 {flow.way.text()}")  # fail-over
        secret = flow.way.text(login="guest:secret@")
        away = ("--broker", "away=stomp://127.0.0.1:1", "--collect", "away:/queue/q,as=logger")
        wrong = ("--broker", f"wrong={secret}", "--collect", "wrong:/queue/q,as=logger")
        missing = ("--broker", f"none={flow.way.text()}", "--collect", "none:/amq/queue/nosuch,as=logger")
        await self.begin(flow, source="as=logger,dead=quarantine", options=(*away, *wrong, *missing))
        await flow.publish(3)
        await Publisher(self.link(flow.way.url()), clock).publish(message(flow.queue, b"nonsense"))
        assert self.server is not None
        told = (
            "broker away: stomp://127.0.0.1:1: nobody listens there",
            "broker wrong: amqp://guest@127.0.0.1:",
            "broker none: no messages from /amq/queue/nosuch: ",
        )
        quarantine = self.state / "quarantine"
        while not quarantine.exists() or not all(words in (log := self.server.log.read_text()) for words in told):
            await self.all_arrived(flow)
        await self.check(flow)
        (path,) = quarantine.iterdir()
        (entry,) = decode_entries(path.read_bytes())
        self.assertEqual((entry.payload, entry.intact), (b"nonsense", True))
        self.assertNotIn("secret", log)
        for url, words in ((secret, "ACCESS_REFUSED"), ("stomp://127.0.0.1:1", "nobody listens there")):
            outcome = await deferToThread(
                lb, "log", "Running", "--jobid", str(flow.job), "--node", "wn1", "--state-dir", str(self.state),
                "--via", url, "/queue/q",
            )  # fmt: skip
            self.assertEqual((outcome.code, outcome.stderr.count("\n")), (1, 1))
            self.assertIn(words, outcome.stderr)
            self.assertNotIn("secret", outcome.stderr)

    test_command.skip = rabbitmq.absent or activemq.absent  # type: ignore[attr-defined]
    test_errors.skip = rabbitmq.absent  # type: ignore[attr-defined]
