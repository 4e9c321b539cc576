"""The documents of ``POST /purgeRequest`` (spec: wire-query.md §8.1)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Final

import msgspec

from lb.model.errors import LBError, invalid
from lb.model.jobid import JobId, parse_cached
from lb.model.status import STATE_CODES, STATE_NAMES, STATES
from lb.wire.lbxml import fields
from lb.wire.lbxml.conditions import unexpected
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, REQUEST_LIMITS, Limits, Node, broken

_REQUEST: Final = "edg_wll_PurgeRequest"
_RESULT: Final = "edg_wll_PurgeResult"

#: Time-outs that are no number of seconds.
SERVER_DEFAULT: Final = -1
NEVER: Final = -2
#: Longest time, seconds: what a C `int` holds.
_LONGEST: Final = (1 << 31) - 1


class PurgeFlag(IntFlag):
    """What is done with the jobs that are found; the lower-case names are those of the wire."""

    REALLY_PURGE = 1
    LIST_JOBS = 2
    SERVER_DUMP = 4
    CLIENT_DUMP = 8
    BACKGROUND = 16


NO_FLAGS: Final = PurgeFlag(0)
_FLAGS: Final = {str(flag.name).lower(): flag for flag in PurgeFlag}


class Request(msgspec.Struct, frozen=True):
    """What to purge. `jobs`: these and no others, None = those older than the time-out of their state.

    `timeouts`: seconds since the last update by state, SERVER_DEFAULT, NEVER; `runtime`: seconds over which to spread
    the work, 0 = none.
    """

    jobs: tuple[JobId, ...] | None = None
    timeouts: tuple[int, ...] = (SERVER_DEFAULT,) * STATES
    runtime: int = 0
    flags: PurgeFlag = NO_FLAGS


class Result(msgspec.Struct, frozen=True):
    """What was, or would be, purged: `jobs` when they were asked for; `server_file`: path at the server."""

    jobs: tuple[str, ...] | None = None
    server_file: str | None = None


# --- writing ----------------------------------------------------------------------------------------------------


def write_jobs(jobs: Iterable[str]) -> Iterable[bytes]:
    """The lines of a list of jobs, one a job between the first and the last."""
    yield b"\t<jobs>\r\n"
    for job in jobs:
        yield write_job(job)
    yield b"\t</jobs>\r\n"


def write_job(job: str) -> bytes:
    """One line of a list of jobs."""
    return b"\t\t<jobId>%b</jobId>\r\n" % escape(job)


def write_request(asked: Request) -> bytes:
    """The document of a request, as C clients write it."""
    lines = [*write_jobs(map(str, asked.jobs))] if asked.jobs is not None else []
    lines.append(b"\t<timeout>\r\n")
    for name, seconds in zip(STATE_NAMES, asked.timeouts, strict=True):
        lines.append(b"\t\t<%b>%d</%b>\r\n" % (name.encode("ascii"), seconds, name.encode("ascii")))
    lines.append(b"\t</timeout>\r\n")
    if asked.runtime:
        lines.append(fields.element("target_runtime", str(asked.runtime)))
    names = "+".join(name for name, flag in _FLAGS.items() if flag in asked.flags)
    lines.append(b"\t<flags>%b</flags>\r\n" % names.encode("ascii"))
    return fields.document(_REQUEST, lines)


def write_result(result: Result = Result(), error: LBError | None = None) -> bytes:  # noqa: B008  # frozen
    """The document of an answer."""
    return fields.document(_RESULT, result_lines(result), error)


def result_lines(result: Result) -> Iterable[bytes]:
    """What stands in an answer."""
    if result.jobs is not None:
        yield from write_jobs(result.jobs)
    if result.server_file is not None:
        yield fields.element("server_file", result.server_file)


# --- reading ----------------------------------------------------------------------------------------------------


def _seconds(node: Node, least: int) -> int:
    text = node.text.strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise invalid(f"{text[:80]!r} is no number of seconds for {node.tag[:80]}")
    if not least <= int(text) <= _LONGEST:
        raise invalid(f"{text} seconds for {node.tag[:80]}: give {least} to {_LONGEST}")
    return int(text)


def _read_timeouts(node: Node) -> tuple[int, ...]:
    # C servers take a missing state as 0, which purges at once; a client that leaves one out does not mean that.
    timeouts = [SERVER_DEFAULT] * STATES
    for child in node.children:
        state = STATE_CODES.get(child.tag.lower())
        if state is None:
            raise unexpected(child, node.tag)
        timeouts[state] = _seconds(child, NEVER)
    return tuple(timeouts)


def _read_jobs(node: Node) -> tuple[JobId, ...]:
    jobs = []
    for child in node.children:
        if child.tag.lower() != "jobid":
            raise unexpected(child, node.tag)
        jobs.append(parse_cached(unescape(child.text).strip()))
    return tuple(jobs)


def read_request(data: bytes, limits: Limits = REQUEST_LIMITS) -> Request:
    """Read a request; raises 1407 (answered with 400), and EINVAL for ids and times that make no sense."""
    _, found = fields.read_root(data, _REQUEST, ("jobs", "timeout", "target_runtime", "flags"), limits)
    flags = NO_FLAGS
    for name in (fields.text_of(found, "flags") or "").split("+"):
        flags |= _FLAGS.get(name.strip().lower(), NO_FLAGS)
    runtime = found.get("target_runtime")
    return Request(
        _read_jobs(found["jobs"]) if "jobs" in found else None,
        _read_timeouts(found["timeout"]) if "timeout" in found else (SERVER_DEFAULT,) * STATES,
        0 if runtime is None else _seconds(runtime, 0),
        flags,
    )


def read_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> Result:
    """The answer; raises the error it carries, or 1407 when it is no such document."""
    root = fields.read_answer(data, _RESULT, limits)
    jobs = next((child for child in root.children if child.tag == "jobs"), None)
    if jobs is not None and any(child.tag != "jobId" for child in jobs.children):
        raise broken("jobs of a purge without ids")
    names = None if jobs is None else tuple(unescape(child.text).strip() for child in jobs.children)
    return Result(names, fields.child_text(root, "server_file"))
