"""A session over STOMP 1.0 to 1.2, with what RabbitMQ and ActiveMQ add to it.

Every message is sent with a receipt; nothing counts as stored before the receipt has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lb.broker.advisories import ADVISORY, Advisories
from lb.broker.destination import Destination, Kind
from lb.broker.errors import BrokerError, LoginError, LostError, RefusedError, refused, words_of
from lb.broker.liveness import MISSED, Beat, Silence
from lb.broker.message import Delivery, Message
from lb.broker.session import GOODBYE, Consumer, Owner, Session, Subscription
from lb.broker.stomp_dialect import Dialect
from lb.broker.url import BrokerURL
from lb.model.errors import LBError
from lb.wire import stomp

#: We send our signs of life a bit earlier than agreed, for a loaded machine is late.
_PUNCTUAL: Final = 0.7

#: Above what brokers take from anybody, 128 KiB of headers over AMQP: a message that we did not read would end each
#: session, be delivered again in the next one, and block its queue for ever.
_LIMITS: Final = stomp.Limits(headers=65_536, line=524_288, head=1_048_576)


def connect(clock: IReactorTime, url: BrokerURL, owner: Owner) -> tuple[IProtocol, Deferred[Session]]:
    """The protocol of a new connection, and what fires when its session stands."""
    session = StompSession(clock, url, owner)
    return session, session.opened


class _Subscribed(NamedTuple):
    """A subscription the broker knows of, or is about to."""

    id: str
    consumer: Consumer
    agreed: Deferred[None]


class StompSession(Protocol):
    """One connection. `opened` fires with the session when the broker has let us in, or fails with LostError."""

    transport: Any

    def __init__(self, clock: IReactorTime, url: BrokerURL, owner: Owner) -> None:
        self.url = url
        self.opened: Deferred[Session] = Deferred()
        self._clock = clock
        self._owner = owner
        self._reader = stomp.FrameReader(_LIMITS._replace(body=url.frame_bytes))
        self._dialect = Dialect(url)
        self._standing = False
        self._reason: LostError | RefusedError | None = None
        self._unconfirmed: set[int] = set()
        self._subscriptions: dict[str, _Subscribed] = {}
        self._waiting: dict[str, _Subscribed] = {}  # by receipt
        self._confirmed: list[int] = []  # of the chunk that is being read
        self._received: dict[str, list[Delivery]] = {}  # the same, by subscription
        self._silence: Silence | None = None
        self._beat: Beat | None = None
        self._goodbye: IDelayedCall | None = None
        self._advisories: Advisories | None = None
        self._closed: list[Deferred[None]] = []
        self._frames: dict[str, Callable[[stomp.Frame], None]] = {
            "CONNECTED": self._on_connected,
            "RECEIPT": self._on_receipt,
            "MESSAGE": self._on_message,
            "ERROR": self._on_error,
        }

    # --- what the owner calls ---------------------------------------------------------------------------------

    def publish(self, messages: Sequence[tuple[int, Message]]) -> None:
        if not self._usable:
            return
        written: list[bytes] = []
        for tag, message in messages:
            try:
                written.append(
                    stomp.write(self._dialect.send(f"p{tag}", message, self._clock.seconds()), self._reader.version)
                )
            except (LBError, RefusedError) as error:
                reason = error if isinstance(error, RefusedError) else RefusedError(str(error), everything=False)
                self._owner.refused(self, tag, reason)
            else:
                self._unconfirmed.add(tag)
        if written:
            self.transport.write(b"".join(written))

    def subscribe(self, subscription: Subscription, consumer: Consumer) -> Deferred[None]:
        agreed: Deferred[None] = Deferred()
        if not self._usable:
            agreed.errback(LostError(f"{self.url}: the session is over"))
            return agreed
        number = str(len(self._subscriptions))
        try:
            headers = {
                "id": number,
                "destination": self._dialect.destination(subscription.source),
                "ack": "client-individual",
            }
        except RefusedError as error:
            agreed.errback(error)
            return agreed
        if subscription.source.name.startswith(ADVISORY):
            # The translation that it means by default is missing in some installations; any other name means none.
            headers["transformation"] = "none"
        headers["receipt"] = f"s{number}"
        headers |= {
            "prefetch-count": str(subscription.prefetch),
            "activemq.prefetchSize": str(subscription.prefetch),
        }
        if subscription.durable is not None and subscription.source.kind in (Kind.TOPIC, Kind.EXCHANGE):
            headers |= {
                "durable": "true",
                "auto-delete": "false",
                "x-queue-name": subscription.durable,
                "activemq.subscriptionName": subscription.durable,
            }
        self._subscriptions[number] = self._waiting[f"s{number}"] = _Subscribed(number, consumer, agreed)
        self._write(stomp.Frame("SUBSCRIBE", headers))
        return agreed

    def listeners(self, destination: Destination) -> Deferred[int | None]:
        if not self._dialect.is_activemq or not self._standing:
            return succeed(None)
        if self._advisories is None:
            self._advisories = Advisories(self._clock, self)
        return self._advisories.listeners(destination)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if not self._usable:
            return
        written: list[bytes] = []
        for delivery in deliveries:
            session, headers = delivery.token
            if session is self:  # what an earlier session brought comes again, and with it another acknowledgement
                written.append(stomp.write(stomp.Frame("ACK", headers), self._reader.version))
        self.transport.write(b"".join(written))

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.transport.resumeProducing()

    def close(self) -> Deferred[None]:
        if not self._standing:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        if self._goodbye is None:
            self._end(LostError(f"{self.url}: the session was closed"), goodbye=True)
        return closed

    # --- writing ----------------------------------------------------------------------------------------------

    @property
    def _usable(self) -> bool:
        """Whether the session stands and nobody is closing it."""
        return self._standing and self._goodbye is None

    def _write(self, frame: stomp.Frame) -> None:
        self.transport.write(stomp.write(frame, self._reader.version))

    # --- the connection ---------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        url = self.url
        beat = round(url.heartbeat * 1000)
        headers = {
            "accept-version": ",".join(reversed(stomp.VERSIONS)),
            "host": url.vhost,
            "heart-beat": f"{beat},{beat}",
        }
        if url.user is not None or not url.tls:
            headers |= {"login": url.user or "guest", "passcode": url.password if url.user is not None else "guest"}
        if url.client_id is not None:
            headers["client-id"] = url.client_id
        try:
            self._write(stomp.Frame("CONNECT", headers))
        except LBError as error:
            self._end(LoginError(f"{url}: {error.description}"))

    def dataReceived(self, data: bytes) -> None:
        if self._silence is not None:
            self._silence.heard()
        broken: stomp.StompError | None = None
        try:
            frames = self._reader.feed(data)
        except stomp.StompError as error:
            frames, broken = error.complete, error
        for frame in frames:
            act = self._frames.get(frame.command)
            if act is None:
                broken = stomp.StompError(f"unknown frame {frame.command[:80]!r}")
                break
            act(frame)
        self._pass_on()
        if broken is not None:
            self._end(LostError(f"{self.url}: the broker does not speak STOMP: {broken}"))

    def _pass_on(self) -> None:
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            self._owner.confirmed(self, confirmed)
        received, self._received = self._received, {}
        for number, deliveries in received.items():
            self._subscriptions[number].consumer.received(self, deliveries)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._goodbye is not None and self._goodbye.active():
            self._goodbye.cancel()
        for timer in (self._beat, self._silence):
            if timer is not None:
                timer.stop()
        text, distrust = words_of(reason)
        ended = self._reason or (LoginError if distrust else LostError)(f"{self.url}: {text}")
        stood, self._standing = self._standing, False
        if self._advisories is not None:
            self._advisories.over()
        waiting, self._waiting = self._waiting, {}
        for subscribed in waiting.values():
            subscribed.agreed.errback(ended)
        if stood:
            self._owner.ended(self, ended)
        elif not self.opened.called:
            self.opened.errback(ended if isinstance(ended, LostError) else LoginError(str(ended)))
        closed, self._closed = self._closed, []
        for deferred in closed:
            deferred.callback(None)

    def _end(self, reason: LostError | RefusedError, *, goodbye: bool = False) -> None:
        """Close the connection for this reason, the first one given; with `goodbye` the broker may answer."""
        self._reason = self._reason or reason
        if goodbye and self._standing:
            self._goodbye = self._clock.callLater(GOODBYE, self.transport.abortConnection)
            self._write(stomp.Frame("DISCONNECT", {"receipt": "d"}))
        else:
            self.transport.abortConnection()

    # --- frames -----------------------------------------------------------------------------------------------

    def _on_connected(self, frame: stomp.Frame) -> None:
        try:
            beat = round(self.url.heartbeat * 1000)
            ours, theirs = stomp.heartbeats((beat, beat), frame.headers.get("heart-beat"))
        except LBError as error:
            self._end(LostError(f"{self.url}: {error.description}"))
            return
        if self._standing:
            self._end(LostError(f"{self.url}: the broker began twice"))
            return
        self._dialect = Dialect(self.url, frame.headers.get("server", ""))
        if self._dialect.is_rabbitmq and self.url.vouched is not None:
            text = (
                "RabbitMQ passes on over STOMP whatever header a sender makes up, so that it vouches for nobody there"
            )
            self._end(LoginError(f"{self.url}: {text}; consume over AMQP, or without the option vouched"))
            return
        if theirs:
            self._silence = Silence(self._clock, MISSED * theirs / 1000, self._silent)
        if ours:
            self._beat = Beat(self._clock, _PUNCTUAL * ours / 1000, lambda: self.transport.write(stomp.HEARTBEAT))
        self._standing = True
        self.opened.callback(self)

    def _silent(self) -> None:
        self._end(LostError(f"{self.url}: no sign of life from the broker"))

    def _on_receipt(self, frame: stomp.Frame) -> None:
        receipt = frame.headers.get("receipt-id", "")
        tag = self._tag(receipt)
        if tag is not None:
            self._unconfirmed.discard(tag)
            self._confirmed.append(tag)
        elif receipt in self._waiting:
            self._waiting.pop(receipt).agreed.callback(None)
        elif receipt == "d":
            self.transport.loseConnection()

    def _tag(self, receipt: str) -> int | None:
        if receipt.startswith("p") and receipt[1:].isdigit():
            tag = int(receipt[1:])
            if tag in self._unconfirmed:
                return tag
        return None

    def _on_message(self, frame: stomp.Frame) -> None:
        headers = frame.headers
        number = headers.get("subscription", "")
        if number not in self._subscriptions:
            return  # of one that the broker cancelled: it delivers the message to somebody else
        message_id = headers.get("message-id", "")
        ack = headers.get("ack")  # since 1.2
        token = {"message-id": message_id, "subscription": number} if ack is None else {"id": ack}
        delivery = self._dialect.delivery(frame, (self, token))
        self._received.setdefault(number, []).append(delivery)

    def _on_error(self, frame: stomp.Frame) -> None:
        """Nothing can be done after an error but to begin again, except where it only ends a subscription."""
        said = frame.headers.get("message", "")
        details = frame.body[:300].decode("utf-8", "replace").partition("\n")[0].strip()
        text = f"{self.url}: the broker says: {said}" + (f" ({details})" if details and details != said else "")
        receipt = frame.headers.get("receipt-id", "")
        if frame.headers.get("subscription", "") in self._subscriptions and not receipt:
            self._pass_on()
            self._cancelled(frame.headers["subscription"], LostError(text))
            return
        if not self._standing:
            self._end(LoginError(text))
            return
        reason = refused(text, text)
        tag = self._tag(receipt)
        if receipt in self._waiting:
            self._waiting.pop(receipt).agreed.errback(reason)
        elif tag is not None:
            self._pass_on()
            self._unconfirmed.discard(tag)
            self._owner.refused(self, tag, reason)
            self._end(LostError(text))  # its cause is known: nothing else is under suspicion
            return
        self._end(reason)

    def _cancelled(self, number: str, reason: BrokerError) -> None:
        subscribed = self._subscriptions[number]
        self._subscriptions[number] = subscribed._replace(consumer=_NOBODY)
        subscribed.consumer.cancelled(self, reason)


class _Nobody:
    """Whoever still gets messages after the broker ended the subscription."""

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        """They are delivered again, elsewhere."""

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        """Said once already."""


_NOBODY: Final = _Nobody()
