"""Registrations, conditions and changes for the tests of this room."""

from __future__ import annotations

from typing import Any

from lb.model import notifid
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Group, Operator
from lb.model.registration import Registration
from lb.model.status import JobStatus
from lb.model.subject import comparable
from lb.server.notify.change import NEW, Change, remember
from lb.state.job import Job, Texts
from lb.store.interface import StoredJob

ALICE, BOB, CAROL = "/C=CZ/CN=Alice", "/C=CZ/CN=Bob", "/C=CZ/emailAddress=c@x/CN=Carol"
JOBS = [JobId("lb.example", 9000, f"job{number}") for number in range(4)]


def equal(attribute: Attribute, *values: Any, name: str | None = None) -> Group:
    """A group: the attribute has one of these values."""
    return tuple(Condition(attribute, Operator.EQUAL, value, name=name) for value in values)


def changed(attribute: Attribute) -> Group:
    """A group: the attribute has another value than before."""
    return (Condition(attribute, Operator.CHANGED, None),)


def registration(
    number: int = 1,
    *groups: Group,
    owner: str = ALICE,
    jobs: tuple[JobId, ...] = (),
    flags: Flag = Flag(0),  # noqa: B008
    valid: int = 2_000_000_000,
    destination: str = "127.0.0.1:4000",
) -> Registration:
    """A registration."""
    id_ = notifid.of_unique("lb.example:9000", f"n{number}")
    return Registration(number, id_, owner, destination, valid, jobs, groups, flags)


def status(jobid: JobId = JOBS[0], owner: str = ALICE, **fields: Any) -> JobStatus:
    """A status."""
    return JobStatus(jobId=str(jobid), owner=owner, **fields)


def change(
    new: JobStatus,
    old: JobStatus | None = None,
    *,
    jobid: JobId = JOBS[0],
    acl: str | None = None,
    jdl: str | None = None,
) -> Change:
    """A step of a job of its owner."""
    owner = new.owner or ""
    before = NEW if old is None else remember(Job(old, texts=Texts(jdl=jdl)), ())
    return Change(StoredJob(1, jobid, owner, comparable(owner), Job(new, texts=Texts(jdl=jdl)), acl=acl), before)
