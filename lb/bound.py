"""Bounds as dataclass fields: each with the option that sets it, its default, unit, range and meaning.

Options, their help and their checks are made from these fields alone (P10), so that a bound is one line.
Nothing here enforces a bound.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Final

KIBIBYTE: Final = 1 << 10
MEBIBYTE: Final = 1 << 20
GIBIBYTE: Final = 1 << 30

_SUFFIXES: Final = {"K": KIBIBYTE, "M": MEBIBYTE, "G": GIBIBYTE}
_SIZE: Final = re.compile(r"(\d{1,18})([KMG]?)", re.ASCII)
_KEY: Final = "bound"


class Unit(Enum):
    """What a bound counts, and how a mistaken value is answered."""

    COUNT = "a whole number"
    BYTES = "a size in bytes, or with K, M, G"
    SECONDS = "a number of seconds"
    RATE = "bytes per second, or with K, M, G"


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound: `least` and `most` are the range of values; `zero` says what 0 means where it means something else."""

    option: str
    default: float
    unit: Unit
    meaning: str
    least: float = 1
    most: float | None = None
    zero: str | None = None

    def read(self, value: object) -> int | float:
        """The bound's value from a text or a number; ValueError with what would be right."""
        number = self._number(value)
        if number is None or not (self._within(number) or (number == 0 and self.zero is not None)):
            raise ValueError(f"give {self.wanted}")
        return number

    @property
    def wanted(self) -> str:
        """In words, which values are taken."""
        span = f"{self._text(self.least)} or more"
        if self.most is not None:
            span = f"from {self._text(self.least)} to {self._text(self.most)}"
        return f"{self.unit.value}, {span}" + (f", or 0: {self.zero}" if self.zero is not None else "")

    @property
    def help(self) -> str:
        """Meaning, default and unit, for the daemon's help."""
        if self.default == 0 and self.zero is not None:
            return f"{self.meaning} (default: 0, {self.zero})"
        return f"{self.meaning} (default: {self.shown}{_SHOWN[self.unit]})"

    @property
    def shown(self) -> str:
        """The default as it would be given."""
        return self._text(self.default)

    def _within(self, number: float) -> bool:
        return self.least <= number and (self.most is None or number <= self.most)

    def _number(self, value: object) -> int | float | None:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            if self.unit is Unit.SECONDS:
                seconds = float(value)
                return seconds if math.isfinite(seconds) else None
            if not isinstance(value, str):
                return int(value) if value == int(value) else None
            size = _SIZE.fullmatch(value)
            if size is None or (size[2] and self.unit is Unit.COUNT):
                return None
            return int(size[1]) * _SUFFIXES.get(size[2], 1)
        except (ValueError, OverflowError):
            return None

    def _text(self, number: float) -> str:
        """A value as it would be given."""
        if self.unit in (Unit.BYTES, Unit.RATE) and number:
            for suffix in ("G", "M", "K"):
                if number % _SUFFIXES[suffix] == 0:
                    return f"{int(number) // _SUFFIXES[suffix]}{suffix}"
        return str(int(number)) if number == int(number) else str(number)


#: What stands behind a number in the help.
_SHOWN: Final = {Unit.COUNT: "", Unit.BYTES: " bytes", Unit.SECONDS: " s", Unit.RATE: " bytes/s"}


def bound(
    option: str,
    default: float,
    unit: Unit,
    meaning: str,
    *,
    least: float = 1,
    most: float | None = None,
    zero: str | None = None,
) -> Any:
    """A dataclass field that is a bound; arguments as in `Bound`."""
    return field(default=default, metadata={_KEY: Bound(option, default, unit, meaning, least, most, zero)})


def bounds_of(kind: Any) -> dict[str, Bound]:
    """The bounds of a dataclass, by field name."""
    return {each.name: each.metadata[_KEY] for each in fields(kind) if _KEY in each.metadata}
