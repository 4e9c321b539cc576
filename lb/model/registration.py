"""A registration for notifications: who is to be told of which changes, where, and until when.

Spec: wire-notification.md §1.2. A value; how it is stored, matched and delivered is known elsewhere.
"""

from __future__ import annotations

import msgspec

from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Flag, Group


class Registration(msgspec.Struct, frozen=True):
    """`number`: the store's, 0 before it is stored. `valid`: seconds since the epoch.

    `jobs`: the jobs that are meant, none for all; `groups`: conditions besides, which never name jobs.
    """

    number: int
    id: JobId
    owner: str
    destination: str
    valid: int
    jobs: tuple[JobId, ...] = ()
    groups: tuple[Group, ...] = ()
    flags: Flag = NO_FLAGS
