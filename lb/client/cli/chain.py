"""A job from its registration to its end, to see whether everything between a producer and a receiver works.

For `lb probe --register` only: nothing else registers a job that nobody asked for. It removes what it made, as far as
it may.
"""

from __future__ import annotations

import errno
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lb.client.administration import Administrator
from lb.client.cli.probe import NO_DELIVERY
from lb.client.session import Session
from lb.client.watch import Watch
from lb.model import jobid
from lb.model.catalogue import BY_NAME, Source
from lb.model.errors import LBError
from lb.model.event import Value
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Attribute, Condition, Operator
from lb.model.seqcode import Flavour, Sequence
from lb.model.status import STATES, State
from lb.wire.lbxml.purge import PurgeFlag, Request

_T = TypeVar("_T")

#: What the C probe says when a step fails.
NOT_REGISTERED: Final = "Job Registration Failed Locally"
NO_SERVER: Final = "L&B Server Not Running"
NO_NOTIFICATIONS: Final = "Notification Interlogger Not Running"

#: The shortest way to the end of a job.
_EVENTS: Final[tuple[tuple[str, Source, dict[str, Value]], ...]] = (
    ("Done", Source.LogMonitor, {"status_code": BY_NAME["Done"].by_name["status_code"].codes["OK"], "exit_code": 0}),
    ("Clear", Source.NetworkServer, {"reason": BY_NAME["Clear"].by_name["reason"].codes["USER"]}),
)
#: Seconds between questions for the state.
_PAUSE: Final = 0.1


class BrokenError(Exception):
    """The chain is broken: `what` in the words of the C probe, and why."""

    def __init__(self, what: str, error: LBError) -> None:
        super().__init__(what)
        self.what = what
        self.error = error


async def live(session: Session, clock: IReactorTime, patience: float) -> LBError | None:
    """Have a job live and its end told within `patience` seconds a step; raises `BrokenError`.

    Returns what kept traces from being removed. That only administrators may purge is no failure.
    """
    job = jobid.create(str(session.settings.query_server))
    watch = session.watch(session.receiver(known=()))
    try:
        await _live(session, clock, patience, job, watch)
    finally:
        left = await _leave(session, job, watch)
    return left


async def _live(session: Session, clock: IReactorTime, patience: float, job: JobId, watch: Watch) -> None:
    code = await _step(NOT_REGISTERED, session.producer.register(job))
    await _step(NO_SERVER, session.consumer.status(job, NO_FLAGS))
    groups = ((Condition(Attribute.JOBID, Operator.EQUAL, job),),)
    await _step(NO_NOTIFICATIONS, watch.add(groups, server=session.settings.query_server))
    await _step(NO_DELIVERY, _log(session, job, code))
    await _step(NO_DELIVERY, _cleared(session, clock, patience, job))
    await _step(NO_NOTIFICATIONS, _told(watch, patience))


async def _step(what: str, step: Coroutine[Any, Any, _T]) -> _T:
    try:
        return await step
    except LBError as error:
        raise BrokenError(what, error) from None


async def _log(session: Session, job: JobId, code: str) -> None:
    for name, source, attributes in _EVENTS:
        sequence = Sequence(source, Flavour.NORMAL, code)
        sequence.increment()
        await session.producer.log(session.producer.new_event(BY_NAME[name], job, source, sequence.text, attributes))
        sequence.increment()
        code = sequence.text


async def _cleared(session: Session, clock: IReactorTime, patience: float, job: JobId) -> None:
    """Wait until the server knows of the end."""
    end = clock.seconds() + patience
    while (await session.consumer.status(job, NO_FLAGS)).state != State.Cleared:
        if clock.seconds() >= end:
            raise LBError(errno.ETIMEDOUT, f"{job}: its events have not arrived in {patience:g} s")
        await deferLater(clock, _PAUSE, lambda: None)


async def _told(watch: Watch, patience: float) -> None:
    """Wait until the end is told."""
    while (received := await watch.receive(patience)) is not None:
        if received.status.state == State.Cleared:
            return


async def _leave(session: Session, job: JobId, watch: Watch) -> LBError | None:
    left: LBError | None = None
    try:
        await watch.close()
    except LBError as error:
        left = error
    request = Request(jobs=(job,), timeouts=(0,) * STATES, flags=PurgeFlag.REALLY_PURGE)
    try:
        await Administrator(session.consumer.carrier, session.settings).purge(request)
    except LBError as error:
        if error.code not in (errno.EPERM, errno.ENOENT):
            left = left or error
    return left
