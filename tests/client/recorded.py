"""Recorded bytes of C programs: ``<name>.out.bin`` they sent, ``<name>.in.bin`` they received."""

from pathlib import Path

_VECTORS = Path(__file__).with_name("vectors")


def sent(name: str) -> bytes:
    """The first message of an exchange."""
    return (_VECTORS / f"{name}.00.out.bin").read_bytes()


def received(name: str) -> bytes:
    """Its answer."""
    return (_VECTORS / f"{name}.01.in.bin").read_bytes()
