"""Keeps a session with one of several brokers: in order, with back-off, for as long as the service runs.

It must never give up, and never hammer a broker that is not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.dial import Opener
from lb.broker.errors import BrokerError, LostError, RefusedError
from lb.broker.limits import LinkLimits
from lb.broker.session import Session
from lb.broker.url import BrokerURL

_log = Logger()


class User(Protocol):
    """Who uses the sessions of a link."""

    def begun(self, session: Session) -> None:
        """There is a session."""

    def confirmed(self, session: Session, tags: list[int]) -> None:
        """As for the owner of a session."""

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        """As for the owner of a session."""

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        """The session is over; another one will begin."""


class Link(Service):
    """One broker by name, at one URL or several. `session` is the one that stands, None without any."""

    def __init__(
        self,
        name: str,
        urls: Sequence[BrokerURL],
        opener: Opener,
        clock: IReactorTime,
        *,
        limits: LinkLimits = LinkLimits(),  # noqa: B008  # immutable
        delay: Callable[[int], float] | None = None,
    ) -> None:
        """`delay(n)`: seconds before the round over all URLs that follows n failed ones, instead of the usual."""
        self.setName(f"broker {name}")
        self.broker = name
        self.urls = tuple(urls)
        self.limits = limits
        self.session: Session | None = None
        #: Numbers for messages, never the same for two of this link's users.
        self.tags = itertools.count(1)
        #: Why the broker takes nothing, None when it does or does not tell.
        self.blocked_reason: str | None = None
        #: What went wrong last, None while a session stands.
        self.trouble: BrokerError | None = None
        self._opener = opener
        self._clock = clock
        self._delay = delay or backoffPolicy(limits.first_pause, limits.longest_pause)
        self._users: list[User] = []
        self._next = 0  # of the URLs
        self._failures = 0  # since a session proved good
        self._opening: Deferred[Session] | None = None
        self._pause: IDelayedCall | None = None
        self._began = 0.0

    def use(self, user: User) -> None:
        """Tell this user of sessions from now on, and at once of the one that stands."""
        self._users.append(user)
        if self.session is not None:
            user.begun(self.session)

    # --- service ----------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._open()

    def stopService(self) -> Deferred[None] | None:
        """End the session in good order; fires when it is over."""
        super().stopService()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._opening is not None:
            self._opening.cancel()
        return self.session.close() if self.session is not None else None

    # --- sessions ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._pause = None
        url = self.urls[self._next]
        self._next = (self._next + 1) % len(self.urls)
        self._opening = self._opener.open(url, self)
        self._opening.addCallbacks(self._opened, self._not_opened)

    def _opened(self, session: Session) -> None:
        self._opening = None
        self.session = session
        self.trouble = None
        self._began = self._clock.seconds()
        _log.info("broker {name}: connected to {url}", name=self.broker, url=session.url)
        for user in self._users:
            user.begun(session)
        if not self.running:
            session.close()

    def _not_opened(self, failure: Failure) -> None:
        self._opening = None
        reason = failure.value
        if not isinstance(reason, BrokerError):
            if self.running:
                _log.failure("broker {name}", failure, name=self.broker)
            reason = LostError(str(reason))
        self._again(reason)

    def _again(self, reason: BrokerError) -> None:
        self.trouble = reason
        if not self.running:
            return
        rounds, place = divmod(self._failures, len(self.urls))
        self._failures += 1
        # The other URLs are tried at once; a pause is due when all have failed, and after a session that ended.
        delay = 0.0 if place else self._delay(rounds)
        _log.warn(
            "broker {name}: {reason}; next try in {delay:.1f} s", name=self.broker, reason=str(reason), delay=delay
        )
        self._pause = self._clock.callLater(delay, self._open)

    # --- owner of the session ---------------------------------------------------------------------------------

    def confirmed(self, session: Session, tags: list[int]) -> None:
        self._failures = 0
        for user in self._users:
            user.confirmed(session, tags)

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        for user in self._users:
            user.refused(session, tag, reason)

    def blocked(self, session: Session, reason: str | None) -> None:
        if reason is not None:
            _log.warn("broker {name}: takes no messages: {reason}", name=self.broker, reason=reason)
        self.blocked_reason = reason

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        self.session = None
        self.blocked_reason = None
        if self._clock.seconds() - self._began >= self.limits.proven:
            self._failures = 0
        for user in self._users:
            user.ended(session, reason)
        self._again(reason)
