"""Recorded exchanges of unmodified C programs (and a browser) with the C server, from `vectors/*.zip`."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Exchange(NamedTuple):
    """Both directions of one connection; `answered` is empty where the C server stayed silent."""

    name: str
    asked: bytes
    answered: bytes


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All recorded exchanges."""
    return _read("exchanges.zip")


@cache
def administration() -> tuple[Exchange, ...]:
    """Recorded requests of the administrators' programs, and a registration of a purged id."""
    return _read("administration.zip")


def _read(name: str) -> tuple[Exchange, ...]:
    with zipfile.ZipFile(Path(__file__).with_name("vectors") / name) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    found = []
    for name, data in files.items():
        if name.endswith(".http"):
            request, _, response = data.partition(b"\n<<<<<< RESPONSE\n")
            found.append(Exchange(name, request.removeprefix(b">>>>>> REQUEST\n"), response))
        elif name.endswith(".00.out.bin"):
            found.append(Exchange(name, data, files[name.replace(".00.out", ".01.in")]))
    return tuple(found)


def protocol_exchanges() -> tuple[Exchange, ...]:
    """The exchanges of C clients."""
    return tuple(e for e in exchanges() if not e.name.startswith("web-"))


def body(message: bytes) -> bytes:
    """What follows the head of a message."""
    return message.partition(b"\r\n\r\n")[2]


def answers(root: bytes) -> list[bytes]:
    """The recorded answer documents with this root element."""
    found = [body(e.answered) for e in protocol_exchanges()]
    return [document for document in found if document.startswith(b"<" + root)]
