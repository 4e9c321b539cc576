"""Numbers as arguments: readers for argparse, whose errors say what would be right."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

#: Seconds of a year: nothing a command waits for lasts longer.
YEAR: Final = 365.0 * 86_400


def whole(least: int, most: int = (1 << 31) - 1) -> Callable[[str], int]:
    """A whole number between two others, both included."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is no whole number from {least} to {most}")
        return number

    return read


def decimal(least: float, most: float, of: str = "") -> Callable[[str], float]:
    """A number above 0 between two others, both included; `of`: its unit, as errors name it."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not number > 0 or not least <= number <= most:
            beginning = f"from {least:.12g}" if least else "above 0"
            unit = f" of {of}" if of else ""
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number{unit} {beginning} up to {most:.12g}")
        return number

    return read
