"""Registrations of the site as an option says them: ``NAME=HOST:PORT[?query=CONDITIONS][?flags=F+F]``.

Conditions and flags are written as in addresses of pages (spec: wire-web.md §1.1, §4).
"""

from __future__ import annotations

from collections.abc import Sequence

from lb.model.errors import LBError, invalid
from lb.model.grammar import read_query
from lb.server.notify.address import SOCKET, complete, kind_of, split
from lb.server.notify.keeper import Site, check
from lb.web import address


def read_sites(texts: Sequence[str], now: int) -> list[Site]:
    """The registrations that are asked for; raises EINVAL with the text that is wrong. `now`: seconds."""
    sites = []
    for text in texts:
        try:
            sites.append(_read(text, now))
            check(sites)
        except LBError as error:
            raise invalid(f"{text}: {error.description}") from None
    return sites


def _read(text: str, now: int) -> Site:
    name, _, rest = text.partition("=")
    asked = address.read(rest.encode("utf-8", "surrogateescape"))
    if kind_of(asked.path) == SOCKET and not split(asked.path)[0]:
        raise invalid("a destination needs its host")
    groups = () if asked.query is None else read_query(asked.query, now).jobs
    return Site(name, complete(asked.path, "", {SOCKET}), groups, asked.flags)
