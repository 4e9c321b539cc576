"""URLs of brokers: which driver, where, as whom, and the options of a session.

Passwords are never part of what is printed. Nothing here opens anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from lb.model.errors import LBError, invalid


class Scheme(NamedTuple):
    """What a scheme of a URL stands for."""

    driver: str  #: stomp, pika or txamqp
    tls: bool
    port: int


SCHEMES: Final[Mapping[str, Scheme]] = {
    "stomp": Scheme("stomp", False, 61613),
    "stomp+ssl": Scheme("stomp", True, 61614),
    "amqp": Scheme("pika", False, 5672),
    "amqps": Scheme("pika", True, 5671),
    "amqp+txamqp": Scheme("txamqp", False, 5672),
    "amqps+txamqp": Scheme("txamqp", True, 5671),
}


@dataclass(frozen=True, slots=True, repr=False)
class BrokerURL:
    """One way to a broker. Times are seconds; the last group are the options of the query part."""

    scheme: str
    host: str  #: name or address, IPv6 without brackets
    port: int
    user: str | None = None  #: None: log in by the certificate where the connection has TLS, else as the broker's guest
    password: str = ""
    vhost: str = "/"

    heartbeat: float = 10.0  #: between signs of life of both sides; twice as long in silence, and the session is dead
    timeout: float = 10.0  #: until a session must stand
    cert: Path | None = None  #: certificate to show instead of our own
    key: Path | None = None  #: its key; without it, in the same file
    ca: Path | None = None  #: authorities to trust instead of the usual ones, file or directory
    user_id: str | None = None  #: RabbitMQ: what to claim as user-id where the login is not it (certificates)
    vouched: str | None = None  #: STOMP: header that this broker, and nobody else, sets to the sender's identity
    client_id: str | None = None  #: STOMP: needed by ActiveMQ for durable subscriptions
    frame_bytes: int = 134_217_728  #: longest message taken

    @property
    def driver(self) -> str:
        """stomp, pika or txamqp."""
        return SCHEMES[self.scheme].driver

    @property
    def claimed(self) -> str | None:
        """What to tell RabbitMQ as the sender's name, None: nothing. It refuses any but that of the login."""
        return self.user_id or self.user or (None if self.tls else "guest")

    @property
    def vouches(self) -> bool:
        """Whether it can be known who sent a message that comes this way."""
        return self.driver != "stomp" or self.vouched is not None

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return SCHEMES[self.scheme].tls

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = f"{self.user}@" if self.user is not None else ""
        where = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{self.scheme}://{who}{host}:{self.port}{where}"

    __repr__ = __str__


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise ValueError
    return seconds


def _count(text: str) -> int:
    number = int(text)
    if not 1024 <= number <= 1 << 31:
        raise ValueError
    return number


#: Options of the query part: field, how its text is read, what would be right.
_OPTIONS: Final[Mapping[str, tuple[str, Callable[[str], Any], str]]] = {
    "heartbeat": ("heartbeat", _seconds, "seconds from 0.1 to 3600"),
    "timeout": ("timeout", _seconds, "seconds from 0.1 to 3600"),
    "cert": ("cert", Path, "a file"),
    "key": ("key", Path, "a file"),
    "ca": ("ca", Path, "a file or directory"),
    "user-id": ("user_id", str, "a name"),
    "vouched": ("vouched", str, "the name of a header"),
    "client-id": ("client_id", str, "a name"),
    "max-message": ("frame_bytes", _count, "bytes from 1024 to 2147483648"),
}


def read_url(text: str) -> BrokerURL:
    """Read ``scheme://[user[:password]@]host[:port][/vhost][?option=value&…]``; raises EINVAL, without the password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # whose words may hold the password
        raise _unreadable(text) from None
    if "@" in f"{parts.path}{parts.fragment}":
        raise _unreadable(text)
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        raise invalid(f"broker URL {_harmless(text)!r}: its scheme is none of {', '.join(SCHEMES)}")
    if not parts.hostname:
        raise invalid(f"broker URL {_harmless(text)!r}: it names no host")
    return BrokerURL(
        parts.scheme,
        parts.hostname,
        port or scheme.port,
        None if parts.username is None else unquote(parts.username),
        unquote(parts.password or ""),
        unquote(parts.path[1:]) or "/",
        **_options(text, parts.query),
    )


def _options(text: str, query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if "@" in name:
            raise _unreadable(text)
        if name not in _OPTIONS:
            raise invalid(f"broker URL {_harmless(text)!r}: unknown option {name}; there are {', '.join(_OPTIONS)}")
        field, read, right = _OPTIONS[name]
        try:
            options[field] = read(value)
        except ValueError:
            raise invalid(f"broker URL {_harmless(text)!r}: {name} is {right}") from None
    return options


#: Up to the last "@": a password may hold anything, while it is not encoded.
_PASSWORD = re.compile(r"(://[^:@/?#]*):.*@", re.DOTALL)


def _unreadable(text: str) -> LBError:
    return invalid(
        f"broker URL {_harmless(text)!r}: no host or port can be read; "
        "in names and passwords write '/', '?', '#', '@' and ':' percent-encoded"
    )


def _harmless(text: str) -> str:
    return _PASSWORD.sub(r"\1:…@", text)


_NAMED = re.compile(r"([A-Za-z0-9._-]+)=(\S.*)", re.DOTALL)


def read_brokers(texts: Iterable[str]) -> dict[str, tuple[BrokerURL, ...]]:
    """Read ``NAME=URL [URL…]``; those of a name are tried in order, also when given one by one. Raises EINVAL."""
    brokers: dict[str, tuple[BrokerURL, ...]] = {}
    for text in texts:
        found = _NAMED.fullmatch(text.strip())
        if found is None:
            raise invalid(
                f"broker {_harmless(text)!r} is not NAME=URL, with letters, digits, '.', '_' and '-' in the name"
            )
        urls = tuple(map(read_url, found[2].split()))
        brokers[found[1]] = brokers.get(found[1], ()) + urls
    return brokers
