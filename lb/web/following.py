"""How to be told of what a page shows, from elsewhere: a terminal, a feed reader, a program.

Each way is complete as it stands there, for these very jobs; nothing is registered by looking at it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from twisted.web.template import Flattenable, Tag, tags

from lb.web import address, filters
from lb.web.api.routes import ROOT
from lb.web.text import shown

#: Stays as it is in a parameter of the API that we write: what else means something there is encoded.
_PLAIN: Final = "/:,@"


def follow_jobs(query: str | None, subject: str, server: str) -> Tag:
    """The ways for the jobs that a query finds, one's own without any; `server`: ``host:port`` or empty."""
    words = ["lb", "watch", "--own"] if query is None else ["lb", "watch", "--query", query]
    if server:
        words += ["--server", server]
    conditions = query if query is not None else filters.own(subject)
    feed = "/RSS:finished" if conditions is None else address.write("/RSS:", query=conditions)
    asked = "" if query is None else f"?query={_encoded(query)}"
    return _ways(
        "Follow these jobs",
        [
            ("In a terminal", _command(words)),
            ("In a feed reader", [_link(feed), " (what changed within the last hour)"]),
            ("In a program", [_link(f"{ROOT}/stream{asked}"), " (changes as they happen, as server-sent events)"]),
            ("As JSON", _link(f"{ROOT}/jobs{asked}")),
        ],
    )


def follow_job(jobid: str, unique: str) -> Tag:
    """The ways for one job."""
    one = f"{ROOT}/jobs/{quote(unique, safe='', errors='surrogateescape')}"
    stream = f"{ROOT}/stream?jobid={_encoded(jobid)}"
    return _ways(
        "Follow this job",
        [
            ("In a terminal", _command(["lb", "watch", jobid])),
            ("In a feed reader", _link(address.write("/RSS:", query=f"jobid={jobid}"))),
            ("In a program", [_link(stream), " (changes as they happen, as server-sent events)"]),
            ("As JSON", [_link(one), tags.br(), _link(f"{one}/events")]),
        ],
    )


def _encoded(text: str) -> str:
    return quote(text, safe=_PLAIN, errors="surrogateescape")


def _command(words: Sequence[str]) -> Tag:
    return tags.code(shown(shlex.join(words)))


def _link(target: str) -> Tag:
    return tags.a(tags.code(target), href=target)


def _ways(summary: str, ways: Sequence[tuple[str, Flattenable]]) -> Tag:
    return tags.details(
        tags.summary(summary),
        tags.dl([tags.div(tags.dt(name), tags.dd(way)) for name, way in ways], class_="ways"),
        tags.p(
            "Programs and feed readers show the certificate that you show here. ",
            tags.a("Notifications", href="/NOTIF:"),
            " lists receivers that are registered to be told.",
            class_="dim",
        ),
        class_="follow",
    )
