"""Messages in, over whatever session there is: subscribes again after each that ended, and when the broker ends it.

What is not acknowledged over the session that brought it comes again; the acknowledgement is the consumer's.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.errors import BrokerError, LostError, RefusedError
from lb.broker.link import Link
from lb.broker.message import Delivery
from lb.broker.session import Consumer, Session, Subscription

_log = Logger()


class Subscriber:
    """Keeps a subscription on a link. `trouble` says why there is none just now."""

    def __init__(
        self,
        link: Link,
        subscription: Subscription,
        consumer: Consumer,
        clock: IReactorTime,
        when_agreed: Callable[[], None] = lambda: None,
    ) -> None:
        """`when_agreed` is called each time that the broker has agreed to the subscription."""
        self.trouble: BrokerError | None = None
        self.agreed = False  #: whether the broker has agreed to it, and messages can come
        self._link = link
        self._subscription = subscription
        self._consumer = consumer
        self._clock = clock
        self._when_agreed = when_agreed
        self._session: Session | None = None
        self._again: IDelayedCall | None = None
        link.use(self)

    # --- user of the link -------------------------------------------------------------------------------------

    def begun(self, session: Session) -> None:
        self._session = session
        self._subscribe()

    def confirmed(self, session: Session, tags: list[int]) -> None:
        """Not of ours."""

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        """Not of ours."""

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        self._session = None
        self.agreed = False
        if self._again is not None:
            self._again.cancel()
            self._again = None

    # --- consumer ---------------------------------------------------------------------------------------------

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        self._consumer.received(session, deliveries)

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        self._consumer.cancelled(session, reason)
        self._failed(reason)

    # ----------------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        self._again = None
        session = self._session
        if session is None:
            return
        session.subscribe(self._subscription, self).addCallbacks(
            lambda _: self._agreed(session), lambda failure: self._refused(session, failure)
        )

    def _agreed(self, session: Session) -> None:
        if session is self._session:
            self.agreed, self.trouble = True, None
            self._when_agreed()

    def _refused(self, session: Session, failure: Failure) -> None:
        failure.trap(BrokerError)
        if session is self._session:
            assert isinstance(failure.value, BrokerError)
            self._failed(failure.value)

    def _failed(self, reason: BrokerError) -> None:
        self.agreed, self.trouble = False, reason
        _log.warn(
            "broker {name}: no messages from {source}: {reason}",
            name=self._link.broker,
            source=str(self._subscription.source),
            reason=str(reason),
        )
        if self._session is not None and self._again is None:
            self._again = self._clock.callLater(self._link.limits.subscription_pause, self._subscribe)
