"""Which servers the logger keeps events for: those the site allows, and of new ones a share for each producer.

A job id names its server, and anybody may make one up: hosts that do not exist must not fill the spool's places for
those that do. A destination with events is never refused for the producer who comes to it, only new ones are.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from lb.logger.limits import DestinationLimits
from lb.model.errors import LBError, forbidden, invalid

#: Destinations remembered with who brought them, before those that are gone are forgotten.
_REMEMBERED: Final = 10_000


class Destinations:
    """Decides on the server of each event."""

    def __init__(
        self,
        patterns: Sequence[str] = (),
        limits: DestinationLimits = DestinationLimits(),  # noqa: B008  # immutable
        present: Callable[[str], bool] = lambda destination: False,
    ) -> None:
        """`patterns`: as `read_patterns` gives them, none: all servers; `present`: whether a destination has a place.

        What was present before anybody came to it counts for nobody.
        """
        self._patterns = tuple(patterns)
        self._limits = limits
        self._present = present
        self._brought: dict[str, str | None] = {}
        self._fresh: set[str] = set()  # admitted, and about to get their places

    def admit(self, destination: str, user: str) -> None:
        """Raises EPERM for a server that is not allowed, ENOSPC for a new one of who has brought too many."""
        if destination in self._brought:
            return
        if self._patterns and not any(fnmatchcase(destination.lower(), pattern) for pattern in self._patterns):
            raise forbidden(f"events for {destination[:255]} are not taken here: no --destination allows it")
        if len(self._brought) >= _REMEMBERED:
            self._forget_gone()
        if self._present(destination):
            self._brought[destination] = None
            return
        most = self._limits.of_one
        if most and self._count(user) >= most:
            self._forget_gone()
            if self._count(user) >= most:
                raise LBError(
                    errno.ENOSPC, f"no room for {destination[:255]}: {user} has brought {most} destinations already"
                )
        self._brought[destination] = user
        self._fresh.add(destination)

    def settled(self) -> None:
        """What was admitted has got its place by now, or never will."""
        for destination in self._fresh:
            if not self._present(destination):
                del self._brought[destination]
        self._fresh.clear()

    def _count(self, user: str) -> int:
        return sum(each == user for each in self._brought.values())

    def _forget_gone(self) -> None:
        self._brought = {
            each: user for each, user in self._brought.items() if each in self._fresh or self._present(each)
        }


def read_patterns(texts: Sequence[str]) -> list[str]:
    """Patterns HOST or HOST:PORT, with ``*`` and ``?`` for any characters; raises EINVAL. Without a port: any."""
    patterns = []
    for text in texts:
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, "*"
        if not host or not port or set(port) - set("0123456789*?") or any(each.isspace() for each in text):
            raise invalid(f"{text[:255]!r} is not of the form HOST or HOST:PORT")
        patterns.append(f"{host}:{port}".lower())
    return patterns
