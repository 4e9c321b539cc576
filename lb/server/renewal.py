"""States that older rules have made are made anew when somebody needs them, so that an upgrade needs no downtime (P9).

The writing side keeps what it renewed with the next event of the job, the reading side renews for each answer;
`lb recompute --repair` renews all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from twisted.logger import Logger

from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.state.generic.fold import Families
from lb.state.job import Job
from lb.state.rebuild import is_current, rebuild
from lb.store.interface import Renewal
from lb.wire import ulm

_log: Final = Logger()


def renewed(
    state: Job, jobid: JobId, owner: str, lines: Callable[[], Iterable[bytes]], families: Families | None = None
) -> Job:
    """The state as the present rules make it of the job's `lines`; the old one when they cannot, which is logged."""
    try:
        return rebuild(state, map(ulm.parse, lines()), jobid=jobid, owner=owner, families=families)
    except LBError as error:
        _log.error("state of {job} stays as older rules made it: {error}", job=jobid, error=str(error))
        return state


def renewal(families: Families | None = None) -> Renewal:
    """What a store's reader needs to give present states only."""
    return partial(_if_old, families)


def _if_old(
    families: Families | None, state: Job, jobid: JobId, owner: str, lines: Callable[[], Iterable[bytes]], /
) -> Job:
    return state if is_current(state, families) else renewed(state, jobid, owner, lines, families)
