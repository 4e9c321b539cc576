"""Destinations at brokers, and the ``x-msg:`` addresses that name them (spec: wire-notification.md §5.1).

One spelling for all drivers: ``/topic/NAME``, ``/queue/NAME``, ``/amq/queue/NAME``, ``/exchange/NAME/KEY``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum
from typing import Final, NamedTuple

from lb.model.errors import invalid

SCHEME: Final = "x-msg://"


class Kind(Enum):
    """What a destination is; the value is how its text begins."""

    TOPIC = "topic"  #: each subscriber gets a copy; over AMQP a key of the exchange amq.topic
    QUEUE = "queue"  #: each message goes to one consumer; durable, made when it is missing
    EXISTING = "amq/queue"  #: a queue that somebody else made, with whatever properties it has
    EXCHANGE = "exchange"  #: an AMQP exchange and a routing key
    REPLY = "reply-queue"  #: where somebody waits for answers, under the name that the broker gave


class Destination(NamedTuple):
    """Where messages go to or come from, at some broker."""

    kind: Kind
    name: str  #: of a REPLY: in the broker's own spelling, with the slash of STOMP where there is one
    key: str = ""  #: of an exchange

    def __str__(self) -> str:
        if self.name.startswith("/"):
            return self.name
        return f"/{self.kind.value}/{self.name}" + (f"/{self.key}" if self.key else "")


#: Names that every broker takes as they are: '/' and '%' mean something to some of them.
_NAME: Final = r"[^/%\s\x00-\x1f\x7f]{1,200}"
_DESTINATION = re.compile(rf"/?(?:(topic|queue|amq/queue)/({_NAME})|exchange/({_NAME})(?:/({_NAME}))?)")
_BARE = re.compile(_NAME)


def read_destination(text: str) -> Destination:
    """Read a destination, with or without its first slash; a bare name is a topic. Raises EINVAL."""
    found = _DESTINATION.fullmatch(text)
    if found is not None:
        if found[1] is not None:
            return _checked(Destination(Kind(found[1]), found[2]), text)
        return _checked(Destination(Kind.EXCHANGE, found[3], found[4] or ""), text)
    if _BARE.fullmatch(text):
        return _checked(Destination(Kind.TOPIC, text), text)
    raise invalid(
        f"destination {text[:255]!r} is none of NAME, /topic/NAME, /queue/NAME, /amq/queue/NAME, /exchange/NAME/KEY, "
        "with names of up to 200 characters without '/', '%' and blanks"
    )


#: Queues that live no longer than whoever made them, as requests name them to brokers and brokers to us.
_TEMPORARY = re.compile(
    r"/(?:temp-queue|remote-temp-queue|reply-queue)/[!-~]{1,230}|amq\.(?:gen-|rabbitmq\.)[!-~]{1,230}"
)


def read_reply(text: str) -> Destination:
    """Where a request wants its answer: a temporary queue, or a destination; a bare name is a queue. Raises EINVAL."""
    if _TEMPORARY.fullmatch(text):
        return Destination(Kind.REPLY, text)
    if _BARE.fullmatch(text):
        return _checked(Destination(Kind.EXISTING, text), text)
    return read_destination(text)


def _checked(destination: Destination, text: str) -> Destination:
    try:
        short = max(len(destination.name.encode()), len(destination.key.encode())) < 256  # a short string of AMQP
    except UnicodeEncodeError:
        short = False
    if not short:
        raise invalid(f"destination {text[:255]!r}: a name may have 255 bytes of UTF-8")
    return destination


class Address(NamedTuple):
    """A destination and the name of its broker, None for the default one."""

    broker: str | None
    destination: Destination

    def __str__(self) -> str:
        if self.broker is None:
            return f"{SCHEME}{self.destination.name}"
        return f"{SCHEME}{self.broker}{self.destination}"


def read_address(text: str, brokers: Collection[str] = ()) -> Address:
    """Read ``x-msg://TOPIC``, as C clients write it, or ``x-msg://BROKER/DESTINATION`` with one of the known brokers.

    What follows a topic from its first slash or last colon on means nothing, as for the C plugin. Raises EINVAL.
    """
    if not text.startswith(SCHEME):
        raise invalid(f"{text[:255]!r} does not begin with {SCHEME}")
    rest = text[len(SCHEME) :]
    name, slash, path = rest.partition("/")
    if slash and path and name in brokers:
        return Address(name, read_destination(path))
    topic = name.rpartition(":")[0] or name
    if not _BARE.fullmatch(topic):
        raise invalid(f"{text[:255]!r} names no topic")
    return Address(None, _checked(Destination(Kind.TOPIC, topic), text))
