"""Stored text and times on their way to readers: made visible for people, kept to one line for scripts.

Stored values may hold anything, bytes that are no UTF-8 included; what leaves here can neither forge a line of a
plain text nor hide or turn around what stands beside it on a page. HTML escaping is the templates' business.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Final

SECOND: Final = 1_000_000
#: Seconds since the epoch at which the year 10000 begins: later times have no date of the usual form.
_END_OF_DATES: Final = 253_402_300_800

# --- for people -------------------------------------------------------------------------------------------------

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
#: Controls get their pictures; half characters (bytes that are no UTF-8) and what changes the direction of the text
#: around it get the replacement character.
_VISIBLE: Final[dict[int, str]] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(range(0x80, 0xA0), _REPLACEMENT),
    **dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), _REPLACEMENT),
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT),
    **dict.fromkeys((0xFFFE, 0xFFFF), _REPLACEMENT),
}


def shown(value: str) -> str:
    """The value with all its characters visible and encodable; line ends and tabs stay."""
    return value if value.isprintable() else value.translate(_VISIBLE)


def cut(value: str, limit: int) -> str:
    """`shown`, at most `limit` characters of it, with a word about what is missing."""
    if len(value) <= limit:
        return shown(value)
    return f"{shown(value[:limit])} … (the first {limit:,} of {len(value):,} characters)"


# --- for scripts ------------------------------------------------------------------------------------------------

#: What one reader or another takes for the end of a line, other controls, and the escape itself.
_UNSAFE = re.compile("[\\\\\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n"}


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"


def line(value: str) -> str:
    """The value on one line: backslashes and line ends escaped as in ULM, quotes as they are."""
    return _UNSAFE.sub(_escaped, value)


def quoted(value: str) -> str:
    """The value as it stands between quotes: `line` with quotes escaped too."""
    return line(value).replace('"', '\\"')


# --- times ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def iso(microseconds: int) -> str:
    """``2026-11-23T07:11:31Z``; a time without a four-digit year stays a number of seconds."""
    seconds = microseconds // SECOND
    return _utc(seconds) if 0 <= seconds < _END_OF_DATES else str(seconds)


def ctime(microseconds: int) -> str:
    """``Mon Nov 23 07:11:31 2026`` in the server's zone, as C's `ctime` writes it."""
    seconds = microseconds // SECOND
    return time.ctime(seconds) if 0 <= seconds < _END_OF_DATES else str(seconds)


#: Unit, its length in seconds, and the next smaller one that is still told with it.
_UNITS: Final = (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1))


def duration(microseconds: int) -> str:
    """``350 ms``, ``2 min 5 s``, ``3 d 4 h``: two units at most."""
    seconds = microseconds // SECOND
    for unit, length, smaller, step in _UNITS:
        if seconds >= length:
            rest = seconds % length // step
            return f"{seconds // length} {unit} {rest} {smaller}" if rest else f"{seconds // length} {unit}"
    return f"{seconds} s" if seconds else f"{microseconds // 1000} ms"
