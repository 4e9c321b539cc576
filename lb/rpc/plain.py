"""What both sides of Perspective Broker agree upon: where the port is, and what may travel.

Plain data and references do, never an instance of a class.
"""

from __future__ import annotations

from typing import Final

from twisted.spread.jelly import SecurityOptions
from twisted.spread.pb import CopyableFailure

#: The port is this much above the one for queries.
OFFSET: Final = 3
#: Seconds after which a follower of jobs that heard nothing is told where it stands; its answer shows that it is there.
HEARTBEAT: Final = 15.0


def plain_data(*, failures: bool = False) -> SecurityOptions:
    """Numbers, strings, lists, dictionaries, references to objects that stay where they are; with `failures`: errors.

    Errors are taken by the side that calls.
    """
    options = SecurityOptions()
    options.allowBasicTypes()
    options.allowTypes("remote", "local")
    if failures:
        options.allowTypes(f"{CopyableFailure.__module__}.{CopyableFailure.__qualname__}")
    return options
