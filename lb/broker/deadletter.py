"""Messages that nobody can use, with the reason: to a destination for the dead, or to a file where the broker refuses.

They travel over a link of their own: a broker that takes no messages stops reading from whoever sends some, and
acknowledgements must get through. A message is let go only when it is safe in one of the two places (P2).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.destination import Destination
from lb.broker.errors import FullError, RefusedError
from lb.broker.link import Link
from lb.broker.message import BINARY, Delivery, Message
from lb.broker.publisher import Publisher

#: Bounds of what is told about a message: characters of a reason, bytes of its id and type, of its own headers.
_REASON: Final = 1_000
_SHORT: Final = 200
_HEADERS: Final = 16_384
#: How often a message may come back from where the dead go: then it is in a circle, and the file is its end.
_ROUNDS: Final = 3
_TIMES: Final = "lb-dead-times"
#: Older STOMP has no way to write control characters in a header.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Refusal(NamedTuple):
    """Why a message can never be used: number and words as a producer would get them, for how many of its parts."""

    code: int
    reason: str
    refused: int = 1
    parts: int = 1


class Letter(NamedTuple):
    """A dead message. `source` names where it came from; `destination` None: it goes to the file."""

    delivery: Delivery
    refusal: Refusal
    source: str
    destination: Destination | None


#: By what a dead message is known: where it came from, its id, its body.
_Key = tuple[str, str, bytes]
#: Puts body and reason into a file; done when they are on stable storage, or raises OSError.
Keep = Callable[[bytes, str], Awaitable[None]]


def identifier(delivery: Delivery) -> str:
    """The message's own id, or one made of its content: the same however often it comes."""
    given = _clean(delivery.id)
    if given and len(given.encode()) <= _SHORT:
        return given
    return blake2b(delivery.id.encode("utf-8", "surrogateescape") + b"\0" + delivery.body, digest_size=16).hexdigest()


def dead_message(letter: Letter, destination: Destination, now: float) -> Message:
    """The message for the dead: body and id as they were, what is known of it in headers; `now`: seconds."""
    delivery, refusal = letter.delivery, letter.refusal
    headers = {
        "lb-dead-code": str(refusal.code),
        "lb-dead-reason": _clean(refusal.reason)[:_REASON],
        "lb-dead-refused": f"{refusal.refused}/{refusal.parts}",
        "lb-dead-source": letter.source,
        _TIMES: str(_times(delivery) + 1),
        "lb-dead-time": datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if delivery.user is not None:
        headers["lb-dead-user"] = _clean(delivery.user)[:_REASON]
    # Not as headers of this message: some have a meaning to brokers, and this one goes out under our name.
    own = msgspec.json.encode({_utf8(name): _utf8(value) for name, value in delivery.headers.items()})
    if delivery.headers and len(own) <= _HEADERS:
        headers["lb-dead-headers"] = own.decode()
    kind = _clean(delivery.content_type)
    kind = kind if kind and len(kind.encode()) <= _SHORT else BINARY
    return Message(destination, delivery.body, identifier(delivery), headers, kind)


def _times(delivery: Delivery) -> int:
    """How often a message has been set aside at brokers, as its header says."""
    text = delivery.headers.get(_TIMES, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _utf8(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _clean(text: str) -> str:
    """The text as any broker carries it in a header."""
    return _CONTROL.sub(" ", _utf8(text))


class DeadLetters:
    """Sets messages aside for one broker."""

    log = Logger()

    def __init__(
        self,
        link: Link,
        publisher: Publisher,
        keep: Keep,
        clock: IReactorTime,
        pause: float,
    ) -> None:
        """`link` is started for the first message; `pause`: seconds before a file that failed is tried again."""
        self.published = 0
        self.kept = 0  #: in the file
        self._link = link
        self._publisher = publisher
        self._keep = keep
        self._clock = clock
        self._pause = pause
        self._burials: dict[_Key, Deferred[None]] = {}
        self._waiting: dict[_Key, list[Deferred[None]]] = {}

    def bury(self, letter: Letter) -> Deferred[None]:
        """Fires when the message is safe elsewhere; fails when we stop before that."""
        waiter: Deferred[None] = Deferred()
        # One that comes again while it is on its way, after a session ended, is not sent twice.
        key = letter.source, identifier(letter.delivery), letter.delivery.body
        if key in self._waiting:
            self._waiting[key].append(waiter)
        else:
            self._waiting[key] = [waiter]
            burial = self._burials[key] = Deferred.fromCoroutine(self._bury(letter))
            burial.addBoth(self._over, key)
        return waiter

    def stop(self) -> Deferred[None] | None:
        """Leave what is not safe yet to the broker it came from."""
        self._stopped = True
        for burial in list(self._burials.values()):
            burial.cancel()
        self._publisher.give_up()
        return self._link.stopService() if self._link.running else None

    def _over(self, outcome: Failure | None, key: _Key) -> None:
        self._burials.pop(key, None)
        for waiter in self._waiting.pop(key):
            waiter.callback(outcome)  # a Failure goes the error way

    async def _bury(self, letter: Letter) -> None:
        identity = f"{letter.source}, message {identifier(letter.delivery)}"
        reason = f"{identity}: {letter.refusal.code} {letter.refusal.reason}"
        self.log.info("{reason}; it is set aside", reason=reason[:_REASON])
        refused = "" if letter.destination is None else await self._publish(letter, letter.destination)
        if refused is not None:
            await self._file(letter.delivery.body, reason + refused)

    async def _publish(self, letter: Letter, destination: Destination) -> str | None:
        """None when the broker has the message; else why it never will."""
        if _times(letter.delivery) >= _ROUNDS:
            return f"; it was set aside {_ROUNDS} times and came back: is {destination} collected, too?"
        if not self._link.running:
            self._link.startService()
        message = dead_message(letter, destination, self._clock.seconds())
        while True:
            try:
                await self._publisher.publish(message)
            except FullError:
                await self._publisher.when_room()
            except RefusedError as error:
                return f"; {destination} does not take it: {error}"
            else:
                self.published += 1
                return None

    async def _file(self, body: bytes, reason: str) -> None:
        while True:
            try:
                await self._keep(body, reason)
            except OSError as error:
                self.log.error(
                    "{reason}; cannot be set aside: {error}; next try in {pause:.0f} s",
                    reason=reason[:_REASON],
                    error=str(error),
                    pause=self._pause,
                )
                await deferLater(self._clock, self._pause)
            else:
                self.kept += 1
                return
