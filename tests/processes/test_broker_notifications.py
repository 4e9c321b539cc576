"""Notifications to real brokers from a running server: every way, outages of each side, refusals (P2 to P5)."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pika
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from lb.broker.destination import read_destination
from lb.broker.message import Delivery
from lb.broker.session import Session, Subscription
from lb.client.cli import main
from tests.broker.brokers import (
    ACTIVE,
    ACTIVE_TLS,
    PIKA,
    PIKA_TLS,
    RABBIT_STOMP,
    RABBIT_STOMP_TLS,
    TXAMQP,
    TXAMQP_TLS,
    Consumer,
    Way,
    unique,
)
from tests.peers import activemq, rabbitmq
from tests.processes.brokered import BrokeredServer, name_of
from tests.processes.daemon import PATIENCE

#: The default one first, by which notifications travel that name no broker.
WAYS = (PIKA, PIKA_TLS, RABBIT_STOMP, RABBIT_STOMP_TLS, TXAMQP, TXAMQP_TLS, ACTIVE, ACTIVE_TLS)
EVENTS = 120


class Receiver(Consumer):
    """Keeps which states came, in the order in which they came first, and the ids of each."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[int, set[str]] = {}

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self.ids.setdefault(_number(delivery.body), set()).add(delivery.id)
        super().received(session, deliveries)


class Flow:
    """A registration for a topic at a broker, and who consumes there."""

    def __init__(self, way: Way, topic: str | None = None) -> None:
        self.way = way
        self.topic = topic or unique("grid.emi.test")
        self.address = f"x-msg://{name_of(way)}/topic/{self.topic}"
        self.source = read_destination(f"/topic/{self.topic}")
        self.consumer = Receiver()

    def told(self, number: int) -> Deferred[None]:
        """Fires when the state with this number was told."""
        return self.consumer.until(lambda: number in self.consumer.ids)


def _number(body: bytes) -> int:
    """What tests number states by: why the job waits."""
    told = json.loads(body)
    return int(told.get("data", told)["statusReason"])


class BrokerNotificationTests(BrokeredServer):
    """One server, one job, and brokers."""

    async def test_every_way(self) -> None:
        """lb-test-notif-msg 3: each broker and driver, plain and TLS: a message a state, in order, with its own id."""
        ways = [way for way in WAYS if not way.module.absent]
        await self.begin(ways)
        flows = [Flow(way) for way in ways]
        for flow in flows:
            session = await self.session(flow.way.url())
            await session.subscribe(Subscription(flow.source), flow.consumer)
        made = [await self.new(flow.address) for flow in flows]
        await self.wait(1, 20)
        await gatherResults([flow.told(20) for flow in flows])
        for flow, registered in zip(flows, made, strict=True):
            deliveries = flow.consumer.deliveries
            self.assertEqual([_number(delivery.body) for delivery in deliveries], list(range(1, 21)))
            self.assertEqual(len({delivery.id for delivery in deliveries}), 20)
            numbers = [int(delivery.headers["lb-sequence"]) for delivery in deliveries]
            self.assertEqual(numbers, sorted(set(numbers)))
            for delivery in deliveries:
                self.assertEqual(delivery.content_type, "text/javascript")
                body = json.loads(delivery.body)
                self.assertEqual((body["jobid"], body["ownerDn"]), (str(self.job), self.user))
                expected = {"job": body["jobid"], "state": "Waiting", "owner": body["ownerDn"]}
                expected["notification"] = str(registered.notifid)
                self.assertEqual({name: delivery.headers[f"lb-{name}"] for name in expected}, expected, flow.way)
        page = await deferToThread(self.page, "/?configuration?text")
        self.assertIn("msg_prefixes=grid.emi.", page)
        for way in ways:
            self.assertIn(str(way.url()), page)
        self.assertNotIn(":guest", page)

    async def test_command_line(self) -> None:
        """lb-test-notif-msg 1: `lb notify new` with the address of a C client, and with a full one for CloudEvents."""
        await self.begin([PIKA])
        flow = Flow(PIKA)
        session = await self.session(PIKA.url())
        await session.subscribe(Subscription(flow.source), flow.consumer)
        environ = {"LB_STATE_DIR": str(self.state), "GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}"}

        def new(address: str) -> tuple[int, str]:
            said = io.StringIO()
            arguments = ["notify", "new", "--job", str(self.job), "--address", address]
            return main(arguments, stdout=said, stderr=said, environ=environ), said.getvalue()

        for address in (f"x-msg://{flow.topic}", f"{flow.address}?format=cloudevents"):
            code, said = await deferToThread(new, address)
            self.assertEqual(code, 0, said)
        code, said = await deferToThread(new, "x-msg://secret.topic")
        self.assertEqual(code, 1)
        self.assertIn("This site requires that all topic names start with prefix grid.emi.", said)
        await self.wait(1, 1)
        await flow.consumer.until(lambda: len(flow.consumer.deliveries) == 2)
        bodies = {delivery.content_type: json.loads(delivery.body) for delivery in flow.consumer.deliveries}
        event = bodies["application/cloudevents+json"]
        self.assertEqual((event["specversion"], event["subject"]), ("1.0", str(self.job)))
        self.assertEqual(event["data"], bodies["text/javascript"])

    def check(self, flow: Flow, count: int) -> None:
        """All states are told, first in their order; what came twice has the same id (P2 to P4)."""
        ids = flow.consumer.ids
        self.assertEqual(list(ids), list(range(1, count + 1)), flow.way)
        self.assertEqual({len(each) for each in ids.values()}, {1})
        self.assertEqual(len(set().union(*ids.values())), count)

    async def test_killed(self) -> None:
        """Server, RabbitMQ and ActiveMQ die by kill -9 amid a stream of changes; told plainly and over TLS."""
        ways = (PIKA, PIKA_TLS, RABBIT_STOMP_TLS, ACTIVE, ACTIVE_TLS)
        await self.begin(ways)
        flows = [Flow(way) for way in ways]
        for flow in flows:
            await self.durable(flow.way, flow.source, flow.consumer)
            await self.new(flow.address)
        chance = random.Random(7)
        begun = 0
        peers: tuple[tuple[Any, Any], ...] = (
            (self.server.kill, self.server.start),
            (PIKA.broker.kill, PIKA.broker.restart),
            (ACTIVE.broker.kill, ACTIVE.broker.restart),
        )
        for kill, start in peers:
            await self.wait(begun + 1, begun + EVENTS)
            await chance.choice(flows).told(begun + chance.randrange(1, EVENTS))
            await deferToThread(kill)
            begun += EVENTS
            if kill != self.server.kill:
                await self.wait(begun + 1, begun + EVENTS)
                begun += EVENTS
            await deferToThread(start)
        await gatherResults([flow.told(begun) for flow in flows])
        for flow in flows:
            self.check(flow, begun)

    async def test_frozen(self) -> None:
        """P5: beside a broker that freezes the other one gets everything at once, and the frozen one later."""
        await self.begin([PIKA, ACTIVE])
        flows = [Flow(PIKA), Flow(ACTIVE)]
        made = []
        for flow in flows:
            await self.durable(flow.way, flow.source, flow.consumer)
            made.append(await self.new(flow.address))
        await self.wait(1, 10)
        await gatherResults([flow.told(10) for flow in flows])
        with PIKA.broker.frozen():
            await self.wait(11, 60)
            await flows[1].told(60)
            page = ""
            while "Trouble=" not in page:  # each page takes the server some time
                page = await deferToThread(self.page, f"/NOTIF:{made[0].notifid.notification}?text")
            self.assertIn("amqp://", page)
        await flows[0].told(60)
        for flow in flows:
            self.check(flow, 60)

    async def test_refused(self) -> None:
        """A missing exchange and a forbidden topic: said by the page, no delay for others, delivered when mended."""
        exchange, queue = unique("lb-exchange"), unique("lb-queue")
        options = [word for prefix in ("grid.", "/exchange/lb-", "refused.") for word in ("--topic-prefix", prefix)]
        await self.begin([PIKA, ACTIVE], *options, "--notif-broker-longest-pause", "1")
        beside = [Flow(PIKA), Flow(ACTIVE)]
        for flow in beside:
            session = await self.session(flow.way.url())
            await session.subscribe(Subscription(flow.source), flow.consumer)
            await self.new(flow.address)
        missing = await self.new(f"x-msg://{name_of(PIKA)}/exchange/{exchange}/job.state")
        forbidden = await self.new(f"x-msg://{name_of(ACTIVE)}/topic/refused.topic")
        await self.wait(1, 20)
        await gatherResults([flow.told(20) for flow in beside])
        for registered, words in ((missing, "no exchange"), (forbidden, "not authorized")):
            page = ""
            while "Trouble=" not in page:  # each page takes the server some time
                page = await deferToThread(self.page, f"/NOTIF:{registered.notifid.notification}?text")
            self.assertIn(words, page)
        bodies = await deferToThread(_mend, PIKA.broker.amqp_port, exchange, queue)
        self.assertEqual([_number(body) for body in bodies], list(range(1, 21)))

    for test, modules in (
        (test_command_line, (rabbitmq,)),
        (test_killed, (rabbitmq, activemq)),
        (test_frozen, (rabbitmq, activemq)),
        (test_refused, (rabbitmq, activemq)),
    ):
        test.skip = next((module.absent for module in modules if module.absent), None)  # type: ignore[attr-defined]
    del test, modules


def _mend(port: int, exchange: str, queue: str) -> list[bytes]:
    """Make the exchange that was missed, as any AMQP client would, and take 20 messages."""
    parameters = pika.ConnectionParameters("127.0.0.1", port)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_bind(queue, exchange, "job.*")
        bodies = []
        for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=PATIENCE):
            assert method is not None, "nothing came"
            bodies.append(body)
            if len(bodies) == 20:
                return bodies
    raise AssertionError("the consumer ended")
