"""Recorded exchanges of C programs on the logging path, and the example lines of model.md §4.12 (`vectors/`)."""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path

_VECTORS = Path(__file__).with_name("vectors")


@cache
def files() -> dict[str, bytes]:
    """Every recorded file by its name: one direction of an exchange, or a file of a spool."""
    with tarfile.open(_VECTORS / "logging.tar.xz") as archive:
        found = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: data.read() for name, data in found.items() if data is not None}


def starting(*prefixes: str) -> dict[str, bytes]:
    """The files whose names begin so."""
    return {name: data for name, data in files().items() if name.startswith(prefixes)}


def frames() -> dict[str, bytes]:
    """Messages of C programs to a store port, a proxy or a receiver of notifications: one frame each."""
    return {name: data for name, data in files().items() if data[:17].strip().isdigit() and b"6 michal\n" in data[:40]}


def messages() -> dict[str, bytes]:
    """Messages of C producers to a logger."""
    return {name: data for name, data in files().items() if data.startswith(b"DGLOG")}


def replies() -> dict[str, bytes]:
    """Answers of C servers to frames."""
    known = frames()
    return {name: data for name, data in files().items() if data[:17].strip().isdigit() and name not in known}


def answers() -> dict[str, bytes]:
    """Answers of the C logger to messages."""
    return {name: data for name, data in files().items() if len(data) == 4}


@cache
def examples() -> tuple[bytes, ...]:
    """The complete lines of model.md §4.12, with their blank and LF."""
    return tuple(line + b" \n" for line in (_VECTORS / "examples.ulm").read_bytes().splitlines())
