"""Notifications as a service: composes registry, requests, notifier and deliveries; decides nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.model.jobid import DEFAULT_PORT
from lb.model.query import Query
from lb.model.registration import Registration
from lb.model.status import JobStatus
from lb.model.subject import comparable
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.notify.address import SOCKET
from lb.server.notify.announcement import Announcement
from lb.server.notify.brokers import BROKER, Brokers
from lb.server.notify.flight import Flight
from lb.server.notify.keeper import Keeper, Site
from lb.server.notify.limits import NotifyDeliveryLimits, NotifyLimits
from lb.server.notify.notifier import Deliverer, Kind, Notifier
from lb.server.notify.queue import OutboxQueue
from lb.server.notify.registry import Registry
from lb.server.notify.requests import Requests
from lb.server.notify.socketline import SocketLines
from lb.server.notify.subscriptions import Subscriptions
from lb.service.delivery import Delivery
from lb.service.metrics import Sampled
from lb.service.turns import Turns
from lb.service.worker import Worker
from lb.store.interface import OutboxReader, Renewal, Writer

#: Seconds between looks at what expired; and while there is much to delete.
_SWEEP: Final = 60.0
_SWEEP_ON: Final = 0.25


#: A second has room for so many notices, 2 to the power of this, on the average of a server's life.
_NUMBER_BITS: Final = 20


class Notifications(Service):
    """All that the server does about notifications. `subscriptions` is what ports ask."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        writer: Writer,
        writing: Worker,
        reader: OutboxReader,
        policy: Callable[[], Policy],
        find: Callable[[Identity, Query], Awaitable[Sequence[JobStatus]]],
        receiver: Callable[[str, str], IStreamClientEndpoint],
        random: Callable[[], float],
        set_aside: Callable[[bytes, str], Deferred[None]],
        *,
        host: str,
        salt: str,
        limits: NotifyLimits,
        delivery: NotifyDeliveryLimits,
        brokers: Brokers,
        renewal: Renewal,
        sites: Sequence[Site] = (),
        owner: str = "",
        port: int = DEFAULT_PORT,
    ) -> None:
        """`receiver(destination, owner)` says how a listening socket is reached; `host` is this server's name.

        `set_aside(line, reason)` keeps what a receiver refuses for good.

        The links of `brokers` are not run here. `sites`: registrations to be kept, in the name of `owner`; `port`: of
        this server, for their ids. `renewal` makes states anew that older rules have made.
        """
        self._reactor = reactor
        self._writing = writing
        self._reader = reader
        self._salt = salt
        self._registry = Registry(writer, policy, reactor.seconds, salt, self, limits, renewal=renewal)
        self._reading = Worker(reactor, "lb-notifier")

        turns = self._turns = Turns(delivery.connections, reactor)
        flight = self._flight = Flight(delivery.flight_bytes, delivery.connections, reactor)

        def deliver(queue: OutboxQueue, registration: Registration) -> Deliverer:
            endpoint = partial(receiver, registration.destination, registration.owner)
            gate = partial(turns.enter, comparable(registration.owner))
            return Delivery(queue, endpoint, reactor, random, delivery, gate=gate)

        # Numbers are never given again, also when the store has forgotten all of them: brokers' clients sort by them.
        writer.outbox.continue_from(int(reactor.seconds()) << _NUMBER_BITS)
        kinds = {SOCKET: Kind(SocketLines(host), deliver), BROKER: brokers.kind}
        self._notifier = Notifier(
            self._registry.all(),
            reader,
            self._reading,
            lambda receipts: writing.call(self._registry.received, receipts),
            kinds,
            reactor,
            delivery.receipt_delay,
            set_aside,
            flight,
        )
        requests = Requests(self._registry, policy, reactor.seconds, limits)
        self.subscriptions = Subscriptions(writing, self._registry, requests, self._notifier, kinds, find, policy)
        self._keeper = Keeper(self._registry, sites, owner, f"{host}:{port}", reactor.seconds, limits.validity)
        self._keeping = LoopingCall(self._keep)
        self._keeping.clock = reactor
        self._keep_every = max(1.0, limits.validity / 4)
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor

    def watch(self, registry: CollectorRegistry) -> None:
        """Have what is known of notifications looked up for the metrics."""
        notifier, turns, flight = self._notifier, self._turns, self._flight
        for sampled in (
            Sampled("lb_registrations", "registrations for notifications", lambda: len(notifier.registrations)),
            Sampled("lb_notifications", "notifications received", lambda: notifier.sent, counter=True),
            Sampled(
                "lb_notifications_refused", "refused for good, in quarantine", lambda: notifier.refused, counter=True
            ),
            Sampled("lb_notification_troubles", "destinations that are not reached", lambda: notifier.in_trouble),
            Sampled("lb_notification_connections", "connections to receivers", lambda: turns.held),
            Sampled("lb_notification_turns", "receivers that wait for a connection", lambda: turns.waiting),
            Sampled("lb_notification_bytes", "notifications without a reply, bytes", lambda: flight.held),
        ):
            registry.register(sampled)

    @property
    def sent(self) -> int:
        """Notifications received by their receivers, brokers among them."""
        return self._notifier.sent

    def announcement(self) -> Announcement:
        """Begin what a batch of events has to tell; in the writing thread."""
        return Announcement(self._registry, self._reactor.seconds(), self._salt)

    # Told by the registry, in the writing thread.

    def wake(self, numbers: Collection[int]) -> None:
        self._reactor.callFromThread(self._notifier.wake, numbers)

    def gone(self, numbers: Collection[int]) -> None:
        self._reactor.callFromThread(self._remove, numbers)

    def _remove(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self._notifier.remove(number)
        # What waited for them is to be deleted.
        self._sweeping.interval = _SWEEP_ON
        if self._sweeping.running:
            self._sweeping.reset()

    # The service.

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._notifier.startService()
        self._sweeping.start(_SWEEP_ON, now=False)
        self._keeping.start(self._keep_every)

    def stopService(self) -> Deferred[Any]:
        """Stop sending; what is not received stays in the store."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._sweeping.stop()
        self._keeping.stop()
        return self._notifier.stopService().addBoth(self._close)

    def _close(self, result: object) -> object:
        self._reading.stop()
        self._reader.close()
        return result

    def _keep(self) -> Deferred[None]:
        return self._writing.call(self._keeper).addCallbacks(self._kept, self._not_kept)

    def _kept(self, changed: list[Registration]) -> None:
        for registration in changed:
            self._notifier.update(registration)

    def _not_kept(self, failure: Failure) -> None:
        self.log.error("registrations of the site cannot be kept: {error}", error=failure.getErrorMessage())

    def _sweep(self) -> Deferred[None]:
        return self._writing.call(self._registry.sweep).addCallbacks(self._swept, self._not_swept)

    def _swept(self, more: bool) -> None:
        self._sweeping.interval = _SWEEP_ON if more else _SWEEP

    def _not_swept(self, failure: Failure) -> None:
        self._sweeping.interval = _SWEEP
        self.log.warn("registrations cannot be tidied up now: {error}", error=failure.getErrorMessage())
