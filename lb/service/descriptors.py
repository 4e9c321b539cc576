"""File descriptors for all that the bounds of a daemon allow: connections must never take those that storing needs.

The customary soft limit of 1,024 is for programs that use select(); a process may raise it to its hard limit.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

#: For the reactor, logs, databases, name servers, and what libraries open in passing.
RESERVE: Final = 100

_log = Logger()


def provide(
    needed: int,
    getrlimit: Callable[[int], tuple[int, int]] = resource.getrlimit,
    setrlimit: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> None:
    """Allow this process `needed` descriptors beside the reserve, as far as its hard limit goes; less is logged."""
    wanted = needed + RESERVE
    soft, hard = getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warn(
            "{allowed} file descriptors are allowed, {wanted} may be needed: raise the hard limit, or lower the bounds "
            "on connections and destinations",
            allowed=allowed,
            wanted=wanted,
        )
