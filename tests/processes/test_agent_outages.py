"""The registration agent while its server or its broker dies: no registration is lost, none is there twice."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from lb.broker.destination import read_destination
from lb.broker.message import Message
from lb.broker.publisher import Publisher
from tests.broker.brokers import ACTIVE_TLS, PIKA_TLS, Consumer, Way, clock, message, unique
from tests.peers import activemq, rabbitmq
from tests.processes.brokered import BrokeredServer

BATCH = 25
#: Seconds: longer than a test lasts.
VALIDITY = 600


class Client:
    """Asks the agent over a broker, is answered and told there, and knows no other way."""

    def __init__(self, case: BrokeredServer, way: Way, control: str) -> None:
        self.answers, self.told = Consumer(), Consumer()
        self._case = case
        self._way = way
        self._control = read_destination(f"/queue/{control}")
        self._reply, self._topic = (f"/topic/{unique('grid.emi.test')}" for _ in range(2))
        self._publisher = Publisher(case.link(way.url(options="&heartbeat=2")), clock)

    async def listen(self) -> None:
        """Have answers and notifications kept, whoever dies."""
        for path, consumer in ((self._reply, self.answers), (self._topic, self.told)):
            await self._case.durable(self._way, read_destination(path), consumer)

    def new(self) -> Message:
        """A request for a registration for the job."""
        return self.request(
            request="new", destination=self._topic, conditions=f"jobid={self._case.job}", validity=VALIDITY
        )

    def request(self, **members: Any) -> Message:
        """A request."""
        made = message(self._control, json.dumps(members).encode(), reply_to=self._reply)
        made.correlation_id = made.id
        return made

    async def send(self, requests: list[Message]) -> None:
        """Publish requests until the broker has them."""
        await gatherResults([self._publisher.publish(request) for request in requests])

    def answers_to(self, request: Message) -> list[dict[str, Any]]:
        """All that was answered to a request so far."""
        return [json.loads(each.body) for each in self.answers.deliveries if each.correlation_id == request.id]

    async def answered(self, request: Message, times: int = 1) -> list[dict[str, Any]]:
        """Wait for answers to a request."""
        await self.answers.until(lambda: len(self.answers_to(request)) >= times)
        return self.answers_to(request)

    def states_told(self) -> dict[tuple[str, str], set[str]]:
        """Ids of the messages about each state, by registration and the reason why the job waits."""
        ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        for each in self.told.deliveries:
            ids[each.headers["lb-notification"], json.loads(each.body)["statusReason"]].add(each.id)
        return ids

    async def registered(self, request: Message) -> str:
        """The only registration that was made for a request, which is sent again while it finds nobody listening."""
        answers = await self.answered(request)
        while answers[-1]["status"] != "ok":  # the broker has begun anew, and we are not back there
            self._case.assertEqual(answers[-1]["error"], "ENOTCONN", answers)
            await self.send([request])
            answers = await self.answered(request, len(answers) + 1)
        (notifid,) = {answer["notifId"] for answer in answers if answer["status"] == "ok"}
        return str(notifid)


class AgentOutageTests(BrokeredServer):
    """Each broker, over TLS."""

    async def killed(self, way: Way) -> None:
        """Kill the server, then the broker, amid requests; then look for what is registered, and who is told."""
        chance = random.Random(11)
        control = await self.serve(way, "--broker-longest-pause", "0.5")
        client = Client(self, way, control)
        await client.listen()
        requests: list[Message] = []
        for killed in ("server", "broker"):
            batch = [client.new() for _ in range(BATCH)]
            requests += batch
            await client.send(batch)
            await client.answered(batch[chance.randrange(BATCH)])
            if killed == "server":
                await deferToThread(self.server.kill)
                await deferToThread(self.server.start)
            else:
                await deferToThread(way.broker.kill)
                await deferToThread(way.broker.restart)
                # Requests are kept and answers are not: who has none asks again, with the same message.
                await client.send([request for request in batch if not client.answers_to(request)])
            for request in batch:
                await client.answered(request)
        made = [await client.registered(request) for request in requests]
        self.assertEqual(len(set(made)), len(requests))
        await client.send([asked := client.request(request="list")])
        (answer, *_) = await client.answered(asked)
        self.assertEqual(sorted(each["notifId"] for each in answer["registrations"]), sorted(made))
        await self.wait(1, 3)
        wanted = {(notifid, str(number)) for notifid in made for number in (1, 2, 3)}
        await client.told.until(lambda: len(client.states_told()) >= len(wanted))
        ids = client.states_told()
        self.assertEqual(ids.keys(), wanted)
        self.assertEqual({len(each) for each in ids.values()}, {1})

    async def test_rabbitmq(self) -> None:
        """P1, P3: every request has its registration, and one only, that tells of each state once; RabbitMQ."""
        await self.killed(PIKA_TLS)

    async def test_activemq(self) -> None:
        """P1, P3: every request has its registration, and one only, that tells of each state once; ActiveMQ."""
        await self.killed(ACTIVE_TLS)

    test_rabbitmq.skip = rabbitmq.absent  # type: ignore[attr-defined]
    test_activemq.skip = activemq.absent  # type: ignore[attr-defined]
