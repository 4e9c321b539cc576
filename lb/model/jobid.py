"""Job ids: ``https://HOST:PORT/UNIQUE[?INFO]`` (spec: model.md §1 and §2).

A job is known by its unique part; the server part says who keeps it.
Ids are never resolved, folded or percent-decoded here.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from lb.model.errors import LBError, invalid

DEFAULT_PORT = 9000
#: Longest unique part and longest whole id, bytes: keys of the C server's database (model.md §4.11).
MAX_UNIQUE = 32
MAX_JOBID = 255

NOTIFICATION_PREFIX = "NOTIF:"
DEFAULT_SEED = "edg_wll_GenerateSubjobIds()"

_PREFIX = "https://"
_SPACE = re.compile(r"[ \t\n\v\f\r]")
_PORT = re.compile(r"[ \t\n\v\f\r]*+(?P<minus>-?)\+?0*+(?P<digits>\d*)", re.ASCII)


class JobId(NamedTuple):
    """A parsed id. ``str()`` gives the canonical text, which always names the port."""

    host: str
    port: int
    unique: str
    info: str | None = None

    def __str__(self) -> str:
        text = f"{_PREFIX}{self.host}:{self.port}/{self.unique}"
        return text if self.info is None else f"{text}?{self.info}"

    @property
    def server(self) -> str:
        """``HOST:PORT`` of the server that keeps the job."""
        return f"{self.host}:{self.port}"

    @property
    def notification(self) -> str:
        """The unique part of a notification id, without its prefix; raises EINVAL when there is no colon."""
        _, colon, rest = self.unique.partition(":")
        if not colon:
            raise invalid(f"{self}: not a notification id")
        return rest


def parse(text: str) -> JobId:
    """Read an id; raises EINVAL that says what is wrong (port outside 1…65535, no host, no unique part, …)."""
    if not text.startswith(_PREFIX):
        raise invalid(f"{text[:MAX_JOBID]}: a job id starts with https://")
    server, slash, rest = text[len(_PREFIX) :].partition("/")
    if not slash:
        raise invalid(f"{text[:MAX_JOBID]}: a job id needs a / after the server")
    host, port = split_server(server)
    unique, mark, info = rest.partition("?")
    if not host or not unique:
        raise invalid(f"{text[:MAX_JOBID]}: a job id needs a host and a unique part")
    if _SPACE.search(host) or _SPACE.search(unique):
        raise invalid(f"{text[:MAX_JOBID]}: white space in a job id")
    return JobId(host, port, unique, info if mark else None)


#: Most events of a stream name few jobs: the same text need not be split again and again.
#: The bound on a cached text keeps the cache below some 10 MB.
_cached = lru_cache(maxsize=16384)(parse)


def parse_cached(text: str) -> JobId:
    """`parse` that remembers recent ids; for the hot paths."""
    return _cached(text) if len(text) <= 2 * MAX_JOBID else parse(text)


def split_server(server: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Split ``HOST[:PORT]`` after a closing bracket or at the last colon; port 0 and none mean the default.

    As C programs do, what follows the digits of a port is passed over; EINVAL for a port beyond 65535.
    """
    host, colon, text = server.rpartition(":")
    if not colon or "]" in text:
        return server, default_port
    found = _PORT.match(text)
    digits = found["digits"] if found else ""
    if not digits:
        return host, default_port
    if (found and found["minus"]) or len(digits) > 5 or int(digits) > 65535:
        raise invalid(f"{server[:MAX_JOBID]}: port outside 1…65535")
    return host, int(digits)


def random_unique(entropy: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A fresh unique part: 22 characters of the alphabet ``A-Za-z0-9-_``."""
    return _encode(entropy(16))


def create(server: str, unique: str | None = None) -> JobId:
    """An id on `server` (``HOST[:PORT]``), with a fresh unique part when none is given; EINVAL for no server."""
    if server.startswith(_PREFIX):
        raise invalid(f"{server}: give the server as host:port, without {_PREFIX}")
    host, port = split_server(server)
    made = JobId(host, port, unique if unique is not None else random_unique())
    if parse(str(made)) != made:
        raise invalid(f"{made}: no job id of server {server} and unique part {made.unique}")
    return made


def subjobs(parent: JobId, count: int, seed: str | None = None) -> Iterator[JobId]:
    """Ids of the `count` subjobs of a DAG or collection, as every client and server derives them (model.md §1.4).

    They are made one by one, as they are asked for; EINVAL for a count below one.
    """
    if count < 1:
        raise invalid(f"{parent}: a job has at least one subjob, not {count}")
    stem = f"{parent.unique},{seed or DEFAULT_SEED},".encode("utf-8", "surrogateescape")
    digests = (hashlib.md5(b"%s%d" % (stem, number), usedforsecurity=False).digest() for number in range(count))
    return (JobId(parent.host, parent.port, _encode(digest)) for digest in digests)


def canonical(text: str) -> str | None:
    """Canonical text of an id, None when it cannot be read: how id-valued attributes are taken (model.md §3)."""
    try:
        return str(parse_cached(text))
    except LBError:
        return None


def _encode(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
