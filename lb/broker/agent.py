"""The registration agent: serves clients that speak to a broker only, over a control destination there.

Who asks is whom the broker vouches for, and nobody else (P7). A request is acknowledged when the broker has its answer;
the same request again changes nothing (P3).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker import agent_messages as messages
from lb.broker.agent_book import Book
from lb.broker.agent_requests import AgentLimits, Asker, Registrar, Requests
from lb.broker.destination import Destination, Kind, read_destination, read_reply
from lb.broker.dial import Opener
from lb.broker.errors import BrokerError
from lb.broker.limits import LinkLimits, PublisherLimits
from lb.broker.link import Link
from lb.broker.message import Delivery, Message
from lb.broker.publisher import Publisher
from lb.broker.session import Session, Subscription
from lb.broker.subscriber import Subscriber
from lb.broker.url import BrokerURL
from lb.broker.vouching import Vouching
from lb.model.errors import LBError, invalid

#: Seconds that an answer is good for.
_ANSWER: Final = 60
_INTERNAL: Final = LBError(errno.EIO, "internal error of the agent")


class Control(NamedTuple):
    """Where requests come to: a destination at a broker."""

    broker: str
    destination: Destination


def read_control(text: str, brokers: Collection[str]) -> Control:
    """Read ``NAME:DESTINATION`` at one of the known brokers; raises EINVAL."""
    broker, colon, path = text.strip().partition(":")
    if not colon:
        raise invalid(f"{text[:255]!r} is not NAME:DESTINATION")
    if broker not in brokers:
        raise invalid(f"{text[:255]!r}: there is no broker {broker}; give it by --broker {broker}=URL")
    return Control(broker, read_destination(path))


class Agent(Service):
    """Serves one control destination at one broker."""

    log = Logger()

    def __init__(
        self,
        control: Control,
        urls: Sequence[BrokerURL],
        opener: Opener,
        vouching: Vouching,
        registrar: Registrar,
        book: Book,
        save: Callable[[Callable[[bytes], None], bytes], Deferred[None]],
        allowed: Callable[[Destination], bool],
        clock: IReactorTime,
        *,
        named: str | None,
        limits: AgentLimits = AgentLimits(),  # noqa: B008  # immutable
        linking: LinkLimits = LinkLimits(),  # noqa: B008  # immutable
        counter: Counter | None = None,
    ) -> None:
        """`save(function, content)` calls the function in a thread that may wait for the disk.

        `allowed`: whether answers may go to a destination that is no temporary queue; `named`: what the server calls
        this broker, None when it is the server's default one.
        """
        self._broker = broker = control.broker
        self._vouching = vouching
        self._allowed = allowed
        self._clock = clock
        self._limits = limits
        self._counter = counter
        # A session for each purpose: a blocked broker reads nothing from one that publishes, and over STOMP a refusal
        # ends whatever shares it.
        requests, answers, questions = (
            Link(f"{broker}, {purpose}", urls, opener, clock, limits=linking)
            for purpose in ("requests", "answers", "questions")
        )
        self.links = (requests, answers, questions)
        self._questions = questions
        self._requests = Requests(broker, registrar, book, save, self._listeners, clock, limits, named=named)
        self._publisher = Publisher(answers, clock, PublisherLimits(messages=limits.requests * 2))
        #: Fires when the broker has agreed for the first time that requests come here.
        self.serves: Deferred[None] = Deferred()
        Subscriber(requests, Subscription(control.destination, limits.requests), self, clock, self._subscribed)
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    # --- service ----------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        for link in self.links:
            link.startService()
        self._looking.start(self._limits.interval, now=False)

    @inlineCallbacks
    def stopService(self) -> Any:
        """End the sessions; requests without an answer come again."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._looking.stop()
        self._publisher.give_up()
        for link in self.links:
            yield link.stopService()

    @staticmethod
    def counter(registry: CollectorRegistry) -> Counter:
        """What counts the requests to agents in a registry."""
        return Counter(
            "lb_agent_requests", "requests to registration agents", ["broker", "request", "outcome"], registry=registry
        )

    def _subscribed(self) -> None:
        if not self.serves.called:
            self.serves.callback(None)

    def _listeners(self, destination: Destination) -> Deferred[int | None]:
        session = self._questions.session
        return succeed(None) if session is None else session.listeners(destination)

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._requests.look()).addErrback(
            lambda failure: self.log.failure("broker {name}: who listens?", failure, name=self._broker)
        )

    # --- consumer ---------------------------------------------------------------------------------------------

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            Deferred.fromCoroutine(self._serve(session, delivery)).addErrback(self._mistake)

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        """The subscriber tries again."""

    def _mistake(self, failure: Failure) -> None:
        self.log.failure("broker {name}: a request could not be answered", failure, name=self._broker)

    async def _serve(self, session: Session, delivery: Delivery) -> None:
        answer = await self._answer(delivery)
        reply = self._reply(delivery)
        if reply is not None:
            message = Message(
                reply,
                answer,
                f"answer-{delivery.id}"[:255] if delivery.id else "answer",
                content_type=messages.CONTENT_TYPE,
                correlation_id=delivery.correlation_id or delivery.id,
                persistent=False,
                expires=int((self._clock.seconds() + _ANSWER) * 1_000_000),
            )
            try:
                await self._publisher.publish(message)
            except BrokerError as error:
                if not self.running:
                    return  # it comes again
                self.log.info("broker {name}: nobody took an answer: {error}", name=self._broker, error=str(error))
        session.acknowledge([delivery])

    def _reply(self, delivery: Delivery) -> Destination | None:
        """Where the answer goes. The agent's rights are not for writing anywhere that somebody names."""
        if delivery.reply_to is None:
            return None
        try:
            reply = read_reply(delivery.reply_to)
        except LBError:
            reply = None
        if reply is not None and (reply.kind is Kind.REPLY or self._allowed(reply)):
            return reply
        self.log.warn("broker {name}: no answers to {to!r}", name=self._broker, to=delivery.reply_to[:200])
        return None

    async def _answer(self, delivery: Delivery) -> bytes:
        kind = "unread"
        try:
            owner = self._vouching.identity(self._broker, delivery.user)
            if len(delivery.body) > self._limits.request_bytes:
                raise invalid(f"a request of {len(delivery.body)} bytes, {self._limits.request_bytes} are taken")
            request = messages.read_request(delivery.body)
            kind = type(request).__name__.lower()
            asker = Asker(owner, delivery.id, delivery.reply_to)
            answer = messages.success(await self._requests.perform(asker, request))
            outcome = "ok"
        except LBError as error:
            self.log.info(
                "broker {name}: {kind} by {user!r} refused: {error}",
                name=self._broker,
                kind=kind,
                user=delivery.user,
                error=str(error),
            )
            answer, outcome = messages.failure(error), "refused"
        except Exception:  # a mistake of ours, and still an answer
            self.log.failure("broker {name}: {kind} failed", name=self._broker, kind=kind)
            answer, outcome = messages.failure(_INTERNAL), "failed"
        if self._counter is not None:
            self._counter.labels(self._broker, kind, outcome).inc()
        return answer
