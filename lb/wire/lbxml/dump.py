"""The documents of ``POST /dumpRequest`` and ``POST /loadRequest`` (spec: wire-query.md §8.2, §8.3)."""

from __future__ import annotations

from typing import Final

import msgspec

from lb.model.errors import LBError, invalid
from lb.wire.lbxml import fields
from lb.wire.lbxml.tree import ANSWER_LIMITS, REQUEST_LIMITS, Limits, Node

_DUMP: Final = "edg_wll_DumpRequest"
_DUMPED: Final = "edg_wll_DumpResult"
_LOAD: Final = "edg_wll_LoadRequest"
_LOADED: Final = "edg_wll_LoadResult"

#: Times that are no seconds since the epoch.
NOW: Final = -1
LAST_START: Final = -2
LAST_END: Final = -3
_NAMES: Final = {
    NOW: "EDG_WLL_DUMP_NOW",
    LAST_START: "EDG_WLL_DUMP_LAST_START",
    LAST_END: "EDG_WLL_DUMP_LAST_END",
}
_NUMBERS: Final = {name.lower(): number for number, name in _NAMES.items()}


class DumpRequest(msgspec.Struct, frozen=True):
    """Events that arrived after `since` and not after `until`: seconds since the epoch, NOW, LAST_START, LAST_END."""

    since: int = LAST_END
    until: int = NOW


class Result(msgspec.Struct, frozen=True):
    """What was dumped or loaded: a file at the server, None when there is none, and the times between."""

    server_file: str | None = None
    since: int = 0
    until: int = 0


def _moment(number: int) -> str:
    return _NAMES.get(number, str(number))


def write_dump_request(asked: DumpRequest) -> bytes:
    """The document of a request, as C clients write it."""
    return fields.document(
        _DUMP, (fields.element("from", _moment(asked.since)), fields.element("to", _moment(asked.until)))
    )


def write_load_request(server_file: str) -> bytes:
    """The document of a request, as C clients write it."""
    return fields.document(_LOAD, (fields.element("server_file", server_file),))


def write_dump_result(result: Result = Result(), error: LBError | None = None) -> bytes:  # noqa: B008  # frozen
    return _write_result(_DUMPED, result, error)


def write_load_result(result: Result = Result(), error: LBError | None = None) -> bytes:  # noqa: B008  # frozen
    return _write_result(_LOADED, result, error)


def _write_result(tag: str, result: Result, error: LBError | None) -> bytes:
    lines = [] if result.server_file is None else [fields.element("server_file", result.server_file)]
    moments = (("from", result.since), ("to", result.until))
    lines += [fields.element(name, str(seconds)) for name, seconds in moments if seconds]
    return fields.document(tag, lines, error)


def _read_moment(found: dict[str, Node], name: str) -> int:
    text = fields.text_of(found, name) or "0"
    number = _NUMBERS.get(text.lower())
    if number is not None:
        return number
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise invalid(f"{text[:80]!r} is no time: give seconds since the epoch or one of {', '.join(_NAMES.values())}")
    return int(text)


def read_dump_request(data: bytes, limits: Limits = REQUEST_LIMITS) -> DumpRequest:
    """Read a request; a missing time is 0. Raises 1407 (answered with 400), and EINVAL for a time that is none."""
    _, found = fields.read_root(data, _DUMP, ("from", "to"), limits)
    return DumpRequest(_read_moment(found, "from"), _read_moment(found, "to"))


def read_load_request(data: bytes, limits: Limits = REQUEST_LIMITS) -> str:
    """The path in a request; raises 1407 (answered with 400), and EINVAL without a path."""
    _, found = fields.read_root(data, _LOAD, ("server_file",), limits)
    path = fields.text_of(found, "server_file")
    if path is None:
        raise invalid("server_file names no file")
    return path


def read_dump_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> Result:
    """The answer; raises the error it carries, or 1407 when it is no such document."""
    return _read_result(data, _DUMPED, limits)


def read_load_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> Result:
    """The answer; raises as `read_dump_result`."""
    return _read_result(data, _LOADED, limits)


def _read_result(data: bytes, tag: str, limits: Limits) -> Result:
    root = fields.read_answer(data, tag, limits)
    since, until = (_read_number(fields.child_text(root, name)) for name in ("from", "to"))
    return Result(fields.child_text(root, "server_file"), since, until)


def _read_number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
