"""Notification ids: ``https://HOST:PORT/NOTIF:UNIQUE``, made by clients (spec: wire-notification.md §1.1, model.md §2).

They are job ids whose unique part begins with ``NOTIF:``; servers store what follows it.
Ids are never resolved, folded or percent-decoded here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

from lb.model import jobid
from lb.model.errors import LBError, invalid
from lb.model.jobid import MAX_JOBID, MAX_UNIQUE, NOTIFICATION_PREFIX, JobId

#: What servers keep of an id, and what may be in it.
_UNIQUE: Final = re.compile(rf"{NOTIFICATION_PREFIX}[A-Za-z0-9_-]{{1,{MAX_UNIQUE}}}", re.ASCII)


def parse(text: str) -> JobId:
    """Read an id, whose `JobId.notification` is what servers store; raises EINVAL in the protocol's words."""
    try:
        found = jobid.parse(text) if len(text) <= MAX_JOBID else None
    except LBError:
        found = None
    if found is None or found.info is not None or _UNIQUE.fullmatch(found.unique) is None:
        raise invalid(f"Malformed notification ID {text[:MAX_JOBID]!r}")
    return found


def create(server: str, entropy: Callable[[int], bytes] = secrets.token_bytes) -> JobId:
    """A fresh id on `server` (``HOST[:PORT]``); EINVAL for no server."""
    return of_unique(server, jobid.random_unique(entropy))


def of_unique(server: str, unique: str) -> JobId:
    """The id of what `server` (``HOST[:PORT]``) has stored as `unique`; EINVAL when that makes no id."""
    return parse(str(jobid.create(server, f"{NOTIFICATION_PREFIX}{unique}")))
