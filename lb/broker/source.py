"""Where events are collected from, as options name it: ``NAME:DESTINATION[,as=logger][,dead=…][,durable=…]``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from lb.broker.destination import SCHEME, Destination, Kind, read_destination
from lb.model.errors import invalid

#: Instead of a destination for the dead: the file of what nobody can use.
FILE: Final = "quarantine"
_FORM: Final = "NAME:DESTINATION[,as=logger][,dead=DESTINATION][,durable=NAME]"


class Source(NamedTuple):
    """A destination whose messages are collected."""

    broker: str
    destination: Destination
    as_logger: bool  #: what it says of users is believed, as of an authorised logger
    dead: Destination | None  #: where messages go that can never be stored, None: to the file
    durable: str | None  #: of a topic: name under which the broker keeps messages while we are away

    def __str__(self) -> str:
        return f"{SCHEME}{self.broker}{self.destination}"


def read_source(text: str, brokers: Collection[str]) -> Source:
    """Read a source at one of the known brokers; raises EINVAL."""
    place, *options = text.strip().split(",")
    broker, colon, path = place.partition(":")
    if not colon or not path:
        raise invalid(f"{text[:255]!r} is not {_FORM}")
    if broker not in brokers:
        raise invalid(f"{text[:255]!r}: there is no broker {broker}; give it by --broker {broker}=URL")
    destination = read_destination(path)
    given: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in ("as", "dead", "durable") or not equals or not value or name in given:
            raise invalid(f"{text[:255]!r}: {option!r} is none of as=logger, dead=DESTINATION, durable=NAME")
        given[name] = value
    if given.get("as", "logger") != "logger":
        raise invalid(f"{text[:255]!r}: as=logger is the only role")
    durable = given.get("durable")
    if durable is not None and destination.kind not in (Kind.TOPIC, Kind.EXCHANGE):
        raise invalid(f"{text[:255]!r}: durable is for topics and exchanges, queues keep their messages anyhow")
    dead = _dead(given.get("dead"), destination)
    if dead == destination:
        raise invalid(f"{text[:255]!r}: dead messages would come back")
    return Source(broker, destination, "as" in given, dead, durable)


def read_sources(texts: Iterable[str], brokers: Collection[str]) -> list[Source]:
    """Read sources; raises EINVAL, also for one that is given twice: each message would go to one of them."""
    sources: list[Source] = []
    for text in texts:
        source = read_source(text, brokers)
        if str(source) in map(str, sources):
            raise invalid(f"{text[:255]!r}: {source} is given twice")
        sources.append(source)
    return sources


def _dead(named: str | None, source: Destination) -> Destination | None:
    """Where dead messages go: a queue beside the source when nobody says, since a topic may have nobody who listens."""
    if named is None:
        return read_destination(f"/queue/{source.name}.dead")
    return None if named == FILE else read_destination(named)
