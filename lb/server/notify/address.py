"""Where notifications go: the destination address of a registration (spec: wire-notification.md §1.5).

A table says which kinds of address there are; whatever is not in it is refused. No name is resolved here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from lb.model.errors import invalid

#: The kind of ``HOST:PORT``; other addresses are ``KIND://…``.
SOCKET: Final = ""
#: Hosts that mean wherever the request came from: an address that begins with less than one of them does too.
_ANYWHERE: Final = ("0.0.0.0", "::", "[::]")
_MAX_PORT: Final = 65_535
_UNKNOWN: Final = "Addres override not in format host:port"


class Socket(NamedTuple):
    """A receiver's listening socket; `host` is a name or an address without brackets."""

    host: str
    port: int


def kind_of(destination: str) -> str:
    """Which kind of address this is: `SOCKET`, or what stands before ``://``."""
    kind, mark, _ = destination.partition("://")
    return kind.lower() if mark else SOCKET


def split(destination: str) -> tuple[str, int]:
    """Host, as it is written, and port of a ``HOST:PORT``; EINVAL, in the words of the C server."""
    host, colon, port = destination.rpartition(":")
    if not colon or "/" in destination or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) <= _MAX_PORT:
        raise invalid(_UNKNOWN)
    return host, int(port)


def complete(asked: str, peer: str, kinds: Collection[str]) -> str:
    """The destination to be stored for the address a client gave; `peer` is the network address it asked from.

    Raises EINVAL for an address of a kind that is not in `kinds`.
    """
    kind = kind_of(asked)
    if kind not in kinds:
        raise invalid(_UNKNOWN)
    if kind != SOCKET:
        return asked
    host, port = split(asked)
    if any(anywhere.startswith(host) for anywhere in _ANYWHERE):
        host = _written(peer)
    return f"{host}:{port}"


def _written(address: str) -> str:
    """A network address as it stands before a port; the zone of one that is not link-local means nothing."""
    if ":" not in address:
        return address
    plain, zone, _ = address.partition("%")
    if plain.lower().startswith("::ffff:") and "." in plain:
        return plain[7:]
    return f"[{address if zone and plain.lower().startswith('fe80:') else plain}]"


def reached(destination: str) -> Socket:
    """Host and port to connect to, of a ``HOST:PORT``."""
    host, port = split(destination)
    return Socket(host.removeprefix("[").removesuffix("]"), port)
