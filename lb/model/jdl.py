"""Attributes of a job description: just enough of ClassAds to read one string out of a record (spec: model.md §10).

Anything that is not a record, or an attribute that is not a string, counts as absent; nothing is evaluated.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_SPACE: Final = r"(?:\s|//[^\n]*|/\*.*?\*/)*+"
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NAME = re.compile(rf"{_SPACE}([A-Za-z_]\w*+){_SPACE}=(?![=?!]){_SPACE}", re.DOTALL)
#: One piece of an expression that is passed over.
_PIECE = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/|'[^'\\]*+(?:\\.[^'\\]*+)*+'|[^\[\]{{}}();\"'/]++|.", re.DOTALL)
_WHOLE_STRING = re.compile(rf"({_STRING}){_SPACE}", re.DOTALL)
_OPENING: Final = frozenset("[{(")
_CLOSING: Final = frozenset("]})")
#: Longest description that is looked into; longer ones count as unreadable.
MAX_LENGTH: Final = 16 << 20


def attribute_of(description: str, name: str) -> str | None:
    """The string that attribute `name` (without case) of a record holds, None when there is none."""
    return _strings(description).get(name.lower()) if len(description) <= MAX_LENGTH else None


@lru_cache(maxsize=64)
def _strings(description: str) -> dict[str, str]:
    """All attributes that are string literals, lower-case name → value; the last of equal names counts."""
    text = description.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return {}
    found: dict[str, str] = {}
    position, end = 1, len(text) - 1
    while (head := _NAME.match(text, position, end)) is not None:
        start = head.end()
        position = _end_of_expression(text, start, end)
        whole = _WHOLE_STRING.fullmatch(text, start, position)
        if whole is not None:
            found[head[1].lower()] = re.sub(r"\\(.)", r"\1", whole[1][1:-1], flags=re.DOTALL)
        else:
            found.pop(head[1].lower(), None)
        if position >= end:
            break
        position += 1
    return found


def _end_of_expression(text: str, start: int, end: int) -> int:
    """Where the expression that begins at `start` ends: at its semicolon, or at the end of the record."""
    depth, position = 0, start
    while position < end:
        piece = _PIECE.match(text, position, end)
        if piece is None:
            return end
        first = piece[0]
        if first == ";" and depth == 0:
            return position
        if first in _OPENING:
            depth += 1
        elif first in _CLOSING:
            depth -= 1
        position = piece.end()
    return end
