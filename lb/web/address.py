"""Addresses of pages: a path, and modifiers appended with ``?`` (spec: wire-web.md §1.1).

Works on the raw URI of a request, because ``&`` separates nothing here. Paths are not percent-decoded: job ids are not.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from lb.model.query import NO_FLAGS, Flag, read_flags, write_flags

#: Modifiers that are pages of their own; the first of these that is given wins.
SPECIALS: Final = ("wsdl", "types", "agu", "version", "configuration", "stats")

#: Modifiers of the list of registrations: whose are listed.
SCOPES: Final = ("all", "foreign")

_END: Final = re.compile(r"[ \t\n\v\f\r]")
_PAGE: Final = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_KEY: Final = re.compile(r"\d{1,18}", re.ASCII)
_OPERATOR: Final = re.compile("[=<>]")
#: Stays as it is in a query that we write; ``+`` must not, or it could be taken for the blank of a form.
_PLAIN: Final = "=<>&|/:,@"


class Address(NamedTuple):
    """One address. `query` is decoded text in the grammar of §4.

    `page` and `before` are ours: of the events of a job, counted from 1; the key of the job behind which a list begins.
    """

    path: str
    text: bool = False
    special: str | None = None
    query: str | None = None
    flags: Flag = NO_FLAGS
    page: int = 1
    before: int | None = None
    scope: str = ""  #: one of `SCOPES`, empty for the own ones


def read(uri: bytes) -> Address:
    """The address in a URI; modifiers that nobody knows are passed over, of several equal ones the first counts."""
    text = _END.split(uri.decode("utf-8", "surrogateescape"), maxsplit=1)[0]
    path, *modifiers = text.split("?")
    values: dict[str, str] = {}
    for modifier in modifiers:
        name, mark, value = modifier.partition("=")
        values.setdefault(name + mark, value)
    page, before = values.get("page=", "1"), values.get("before=", "")
    return Address(
        path=path or "/",
        text="text" in values,
        special=next((name for name in SPECIALS if name in values), None),
        query=_query(values["query="]) if "query=" in values else None,
        flags=read_flags(_decoded(values.get("flags=", ""))),
        page=int(page) if _PAGE.fullmatch(page) else 1,
        before=int(before) if _KEY.fullmatch(before) else None,
        scope=next((name for name in SCOPES if name in values), ""),
    )


def _decoded(text: str) -> str:
    raw = text.encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


def _query(raw: str) -> str:
    """The conditions in the value of `query`: written by hand, where ``+`` is a plus, or sent by a form.

    A form leaves no operator unencoded before the first ``&``; its other fields are groups, empty ones do not count.
    """
    first, *fields = raw.split("&")
    if _OPERATOR.search(first):
        return _decoded(raw)
    groups = [_field(first)]
    for field in fields:
        name, _, value = map(_field, field.partition("="))
        if value:
            groups.append(f"{name}{value}" if _OPERATOR.match(value) else f"{name}={value}")
    return "&".join(group for group in groups if group)


def _field(raw: str) -> str:
    return _decoded(raw.replace("+", " "))


def write(path: str, query: str | None = None, flags: Flag = NO_FLAGS, page: int = 1, before: int | None = None) -> str:
    """The address as the text of a link: what `read` reads again."""
    parts = [path]
    if query is not None:
        parts.append(f"query={quote(query, safe=_PLAIN, errors='surrogateescape')}")
    if flags:
        parts.append(f"flags={write_flags(flags)}")
    if page > 1:
        parts.append(f"page={page}")
    if before is not None:
        parts.append(f"before={before}")
    return "?".join(parts)
