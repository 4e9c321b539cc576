"""The registration agent from outside: stock clients of real brokers that know of the server only its control queue."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pika
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lb.broker.destination import Destination, Kind, read_destination
from lb.broker.session import Session
from tests.broker.brokers import ACTIVE, ACTIVE_TLS, PIKA, PIKA_TLS, Way, message, unique
from tests.peers import activemq, rabbitmq
from tests.processes.brokered import BrokeredServer
from tests.processes.daemon import PATIENCE

#: Seconds: long enough for a busy machine to extend it at half of them, short enough to see a registration lapse.
VALIDITY = 6


class AMQPClient:
    """A blocking AMQP client: one connection, a queue of its own for answers, one for notifications."""

    def __init__(self, port: int, topic: str) -> None:
        self.topic = topic
        self._connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        self._channel = self._connection.channel()
        self._answers = self._channel.queue_declare("", exclusive=True).method.queue
        self._told = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._told, "amq.topic", topic)
        self._number = 0

    def ask(self, control: str, user: str = "guest", **request: Any) -> dict[str, Any]:
        """Send a request, wait for its answer."""
        self._number += 1
        correlation = f"c{self._number}"
        properties = pika.BasicProperties(
            reply_to=self._answers, correlation_id=correlation, user_id=user, message_id=unique("request")
        )
        # As any client may come before the agent: the broker drops what is for a queue that is not there.
        self._channel.queue_declare(control, durable=True)
        self._channel.basic_publish("", control, json.dumps(request), properties)
        for method, properties, body in self._channel.consume(  # noqa: B007  # the last one is the answer
            self._answers, auto_ack=True, inactivity_timeout=PATIENCE
        ):
            assert method is not None, "no answer"
            if properties.correlation_id == correlation:
                break
        self._channel.cancel()
        answer: dict[str, Any] = json.loads(body)
        return answer

    def told(self, count: int) -> list[str]:
        """Why the job waits, as the next notifications say."""
        reasons: list[str] = []
        for method, _, body in self._channel.consume(self._told, auto_ack=True, inactivity_timeout=PATIENCE):
            assert method is not None, "nothing came"
            reasons.append(json.loads(body)["statusReason"])
            if len(reasons) == count:
                break
        self._channel.cancel()
        return reasons

    def close(self) -> None:
        """End the connection, and the queues with it."""
        with contextlib.suppress(Exception):
            self._connection.close()


class AgentTests(BrokeredServer):
    """A server with agents, and its brokers' clients."""

    async def test_amqp(self) -> None:
        """A client of RabbitMQ registers, is told, is kept alive while it is there, and forgotten when it is gone."""
        control = await self.serve(PIKA)
        client = await deferToThread(AMQPClient, PIKA.broker.amqp_port, unique("grid.emi.test"))
        self.addCleanup(client.close)

        def ask(**request: Any) -> Deferred[dict[str, Any]]:
            return deferToThread(client.ask, control, **request)

        made = await ask(request="new", destination=client.topic, conditions=f"jobid={self.job}", validity=VALIDITY)
        self.assertEqual((made["status"], made["listening"]), ("ok", True))
        await self.wait(1, 5)
        self.assertEqual(await deferToThread(client.told, 5), ["1", "2", "3", "4", "5"])
        refused = await ask(request="new", destination="secret")
        self.assertEqual(
            (refused["error"], refused["description"]),
            ("EINVAL", "This site requires that all topic names start with prefix grid.emi."),
        )
        extended = made
        while extended["valid"] == made["valid"]:  # the agent extends it at half of its validity
            (extended,) = (await ask(request="list"))["registrations"]
        await ask(request="refresh", notifId=made["notifId"], validity=600)
        await deferToThread(self.server.kill)
        await deferToThread(self.server.start)
        await self.wait(6, 8)
        self.assertEqual(await deferToThread(client.told, 3), ["6", "7", "8"])
        await ask(request="refresh", notifId=made["notifId"], validity=1)
        await deferToThread(client.close)
        await self.lapses(made["notifId"])

    async def lapses(self, notifid: str) -> None:
        """Wait until the server says that a registration has expired."""
        name = notifid.rpartition(":")[2]
        book = next(self.state.glob("agent-*.book"))
        while name in await deferToThread(book.read_text):
            await self.wait(9, 9)  # which takes the server some time

    async def test_nobody_listens(self) -> None:
        """ActiveMQ tells who listens to a topic: who does not is refused; who stops is let go."""
        control = await self.serve(ACTIVE)
        session = await self.session(ACTIVE.url())
        replies = await self.consuming(session, Destination(Kind.REPLY, "/temp-queue/answers"))
        topic = unique("grid.emi.test")

        async def ask(**request: Any) -> dict[str, Any]:
            before = len(replies.deliveries)
            asked = message(
                read_destination(f"/queue/{control}"), json.dumps(request).encode(), reply_to="/temp-queue/answers"
            )
            asked.correlation_id = asked.id
            session.publish([(before, asked)])
            await replies.until(lambda: len(replies.deliveries) > before)
            delivery = replies.deliveries[-1]
            self.assertEqual(delivery.correlation_id, asked.id)
            answer: dict[str, Any] = json.loads(delivery.body)
            return answer

        request = {"request": "new", "destination": f"/topic/{topic}", "validity": VALIDITY}
        refused = await ask(**request)
        self.assertEqual((refused["error"], "nobody listens" in refused["description"]), ("ENOTCONN", True))
        listening = await self.session(ACTIVE.url())
        consumer = await self.consuming(listening, read_destination(f"/topic/{topic}"))
        made = await ask(**request)
        while made["status"] != "ok":  # the broker tells of a new consumer a little later
            made = await ask(**request)
        self.assertTrue(made["listening"])
        await self.wait(1, 3)
        await consumer.until(lambda: len(consumer.deliveries) == 3)
        await listening.close()
        await self.lapses(made["notifId"])

    async def test_vouched(self) -> None:
        """P7: with certificates over TLS each broker vouches for the certificate's owner; others are refused."""
        for way in (PIKA_TLS, ACTIVE_TLS):
            control = await self.serve(way)
            plain = PIKA if way is PIKA_TLS else ACTIVE  # as guest, whom the site does not know
            for chosen, status in ((way, "ok"), (plain, "error")):
                answer = await self.ask_once(await self.session(chosen.url()), control, chosen)
                self.assertEqual(answer["status"], status, answer)
            await deferToThread(self.server.kill)

    async def ask_once(self, session: Session, control: str, way: Way) -> dict[str, Any]:
        """List the registrations; the answer comes to a topic that answers may go to."""
        topic = unique("grid.emi.answers")
        consumer = await self.consuming(session, read_destination(f"/topic/{topic}"))
        request = message(read_destination(f"/queue/{control}"), b'{"request":"list"}', reply_to=f"/topic/{topic}")
        session.publish([(1, request)])
        await consumer.until(lambda: consumer.deliveries)
        answer: dict[str, Any] = json.loads(consumer.bodies[0])
        return answer

    async def test_anywhere(self) -> None:
        """`lb agent` beside the server: its registrations are its own there, and tell each user of his jobs only."""
        await self.begin([PIKA])
        control = unique("lb.agent")
        command = [sys.executable, "-m", "lb.client.cli", "agent", f"site={PIKA.text()}", f"/queue/{control}"]
        command += ["--user", f"guest={self.user}", "--server", f"localhost:{self.port}"]
        environ = {**os.environ, "LB_STATE_DIR": str(self.state)}
        agent = await deferToThread(_begin, command, environ)
        self.addCleanup(agent.wait)
        self.addCleanup(agent.kill)
        client = await deferToThread(AMQPClient, PIKA.broker.amqp_port, unique("grid.emi.test"))
        self.addCleanup(client.close)
        made = await deferToThread(client.ask, control, request="new", destination=client.topic)
        self.assertEqual(made["status"], "ok", made)
        await self.wait(1, 2)
        self.assertEqual(await deferToThread(client.told, 2), ["1", "2"])
        page = await deferToThread(self.page, f"/NOTIF:{made['notifId'].rpartition(':')[2]}?text")
        self.assertIn(f"Conditions= ( owner = {self.user} )", page)
        agent.send_signal(signal.SIGINT)
        self.assertEqual(await deferToThread(agent.wait, PATIENCE), 130)

    for test, modules in (
        (test_amqp, (rabbitmq,)),
        (test_anywhere, (rabbitmq,)),
        (test_nobody_listens, (activemq,)),
        (test_vouched, (rabbitmq, activemq)),
    ):
        test.skip = next((module.absent for module in modules if module.absent), None)  # type: ignore[attr-defined]
    del test, modules


def _begin(command: Sequence[str], environ: dict[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "serves" in line, line
    return process
