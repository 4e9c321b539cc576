"""The request documents of ``POST /queryJobs`` and ``POST /queryEvents`` (spec: wire-query.md §7.2, §7.3).

A request that is read has been checked: what may not be asked is an error here, with the protocol's words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from lb.model import query
from lb.model.query import NO_FLAGS, Group, Query, Results
from lb.wire.lbxml import conditions
from lb.wire.lbxml.text import unescape
from lb.wire.lbxml.tree import REQUEST_LIMITS, Limits, Node, broken, parse

_JOBS: Final = "edg_wll_QueryJobsRequest"
_EVENTS: Final = "edg_wll_QueryEventsRequest"
#: Limits beyond this mean no limit in every implementation: a C `int`.
_MAX_LIMIT_DIGITS: Final = 10
#: Whoever follows jobs asks the same again and again: so many short questions are remembered, half a megabyte at most.
_REMEMBERED: Final = 256
_SHORT: Final = 1_024


def write_jobs(asked: Query) -> bytes:
    """The document of a query for jobs, as C clients write it: no line end after it."""
    flags = query.write_flags(asked.flags).encode("ascii")
    return b"%b\t<flags>%b</flags>\r\n%b</edg_wll_QueryJobsRequest>" % (
        _opening(_JOBS, asked),
        flags,
        conditions.write(asked),
    )


def write_events(asked: Query) -> bytes:
    """The document of a query for events; flags have no place in it."""
    return b"%b%b</edg_wll_QueryEventsRequest>" % (_opening(_EVENTS, asked), conditions.write(asked))


def _opening(tag: str, asked: Query) -> bytes:
    return b'<%b softLimit="%d" queryRes="%d">\r\n' % (tag.encode("ascii"), asked.soft_limit, asked.results)


def read_jobs(data: bytes, limits: Limits = REQUEST_LIMITS) -> Query:
    """The query for jobs in a document; raises 1407 (answered with 400) and EINVAL."""
    return _short_jobs(data, limits) if len(data) <= _SHORT else _jobs(data, limits)


def _jobs(data: bytes, limits: Limits) -> Query:
    asked = _read(data, _JOBS, limits)
    query.check_jobs(asked)
    return asked


_short_jobs = lru_cache(_REMEMBERED)(_jobs)


def read_events(data: bytes, limits: Limits = REQUEST_LIMITS) -> Query:
    """The query for events in a document; raises 1407 (answered with 400) and EINVAL."""
    asked = _read(data, _EVENTS, limits)
    query.check_events(asked)
    return asked


def _number(text: str, name: str, digits: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= digits):
        raise broken(f"{name} {text[:80]!r} is no number of at most {digits} digits")
    return int(text)


def _read_root(root: Node, tag: str) -> tuple[int, Results]:
    if root.tag.lower() != tag.lower():
        raise broken(f"<{root.tag[:80]}> where <{tag}> was expected")
    soft_limit, results = 0, 0
    for name, text in root.attributes.items():
        if name.lower() == "softlimit":
            soft_limit = _number(text, name, _MAX_LIMIT_DIGITS)
        elif name.lower() == "queryres":
            results = _number(text, name, 1)
        else:
            raise broken(f"unexpected attribute {name[:80]} of <{tag}>")
    if results > Results.LIMITED:
        raise broken(f"queryRes {results} is none of 0…3")
    return soft_limit, Results(results)


def _read(data: bytes, tag: str, limits: Limits) -> Query:
    root = parse(data, limits)
    soft_limit, results = _read_root(root, tag)
    flags = NO_FLAGS
    jobs: tuple[Group, ...] = ()
    events: tuple[Group, ...] = ()
    for child in root.children:
        name = child.tag.lower()
        if name == "and":
            more_jobs, more_events = conditions.read(child)
            jobs += more_jobs
            events += more_events
        elif name == "flags":
            flags |= query.read_flags(unescape(child.text))
        else:
            raise conditions.unexpected(child, tag)
    return Query(jobs, events, flags, soft_limit, results)
