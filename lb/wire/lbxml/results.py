"""The answer documents of queries (spec: wire-query.md §4.3, §7.2 to §7.4).

Writers yield a document in pieces, one a job or event, so that it need not stand in memory twice. Readers give
the error of the root beside whatever came with it: an answer cut at a limit carries both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.status import JobStatus
from lb.wire.lbxml import event as event_document
from lb.wire.lbxml import status as status_document
from lb.wire.lbxml.status import error_attributes, error_of
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, Limits, Node, broken, parse

_JOBS: Final = "edg_wll_QueryJobsResult"
_JOB: Final = "edg_wll_Job"
_EVENTS: Final = "edg_wll_QueryEventsResult"
_USER_JOBS: Final = "edg_wll_UserJobs"

#: What stands for a state that was not asked for.
_NO_STATE: Final = b'\t\t<jobStat name="Unknown">\r\n\r\n\t\t</jobStat>\r\n\t</edg_wll_Job>\r\n'

# --- writing ----------------------------------------------------------------------------------------------------


def _opening(tag: str, error: LBError | None) -> bytes:
    return b"<%b%b>\r\n" % (tag.encode("ascii"), b"" if error is None else error_attributes(error))


def _closing(tag: str) -> bytes:
    return b"</%b>\r\n" % tag.encode("ascii")


def write_jobs(jobs: Iterable[tuple[str | None, bytes | None]], error: LBError | None = None) -> Iterator[bytes]:
    """The answer to a query for jobs: for each its id (None with flag `no_jobs`) and its state.

    A state is a document of `status.write`; None with flag `no_states`.
    """
    yield _opening(_JOBS, error)
    for jobid, document in jobs:
        yield write_job(jobid, document)
    yield _closing(_JOBS)


def write_job(jobid: str | None, document: bytes | None) -> bytes:
    """One entry of `write_jobs`."""
    named = b"" if jobid is None else b"\t\t<jobId>%b</jobId>\r\n" % escape(jobid)
    if document is None:
        return b"\t<edg_wll_Job>\r\n%b%b" % (named, _NO_STATE)
    return b"\t<edg_wll_Job>\r\n%b\t\t%b\t</edg_wll_Job>\r\n" % (named, document)


def write_events(events: Iterable[Event], error: LBError | None = None) -> Iterator[bytes]:
    """The answer to a query for events."""
    yield _opening(_EVENTS, error)
    for event in events:
        yield event_document.write(event)
    yield _closing(_EVENTS)


def write_user_jobs(jobids: Iterable[str], error: LBError | None = None) -> Iterator[bytes]:
    """The answer to ``GET /``."""
    yield _opening(_USER_JOBS, error)
    for jobid in jobids:
        yield write_user_job(jobid)
    yield _closing(_USER_JOBS)


def write_user_job(jobid: str) -> bytes:
    """One entry of `write_user_jobs`."""
    return b"      <jobId>%b</jobId>\r\n" % escape(jobid)


# --- reading ----------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """One entry of an answer: what was not asked for is None."""

    jobid: str | None
    status: JobStatus | None


class Jobs(NamedTuple):
    """The answer to a query for jobs."""

    jobs: list[Job]
    error: LBError | None


class Events(NamedTuple):
    """The answer to a query for events."""

    events: list[Event]
    error: LBError | None


class UserJobs(NamedTuple):
    """The answer to ``GET /``."""

    jobids: list[str]
    error: LBError | None


def _of(root: Node, tag: str) -> LBError | None:
    if root.tag != tag:
        raise broken(f"<{root.tag[:80]}> where <{tag}> was expected")
    return error_of(root)


def _read_job(node: Node) -> Job:
    jobid: str | None = None
    state: JobStatus | None = None
    for child in node.children:
        if child.tag == "jobId":
            jobid = unescape(child.text) or None
        elif child.tag == status_document.TAG and child.children:
            state = status_document.from_node(child)
    return Job(jobid, state)


def read_jobs(data: bytes, limits: Limits = ANSWER_LIMITS) -> Jobs:
    """Read an answer to a query for jobs; raises 1407 for what is none."""
    jobs: list[Job] = []
    root = parse(data, limits, lambda node: jobs.append(_read_job(node)) if node.tag == _JOB else None)
    return Jobs(jobs, _of(root, _JOBS))


def read_events(data: bytes, limits: Limits = ANSWER_LIMITS) -> Events:
    """Read an answer to a query for events; raises 1407 for what is none, 1402 for an event nobody knows."""
    events: list[Event] = []

    def each(node: Node) -> None:
        if node.tag == event_document.TAG:
            events.append(event_document.from_node(node))

    root = parse(data, limits, each)
    return Events(events, _of(root, _EVENTS))


def read_user_jobs(data: bytes, limits: Limits = ANSWER_LIMITS) -> UserJobs:
    """Read an answer to ``GET /``; raises 1407 for what is none."""
    jobids: list[str] = []
    root = parse(data, limits, lambda node: jobids.append(unescape(node.text)) if node.tag == "jobId" else None)
    return UserJobs(jobids, _of(root, _USER_JOBS))
