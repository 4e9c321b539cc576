"""When the services of a daemon are made, and how it ends that cannot start as it was told: one line, no traceback.

twistd without ``-n`` splits off behind `makeService`: threads, and the locks of a database, do not live on in the
child. There everything is made when the services start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.python import usage


@contextmanager
def ending(name: str) -> Iterator[None]:
    """End the process for a `usage.UsageError`; `name`: of the service.

    twistd would print all options before the error, which scrolls away, or a traceback when a service is made.
    """
    try:
        yield
    except usage.UsageError as error:
        text = " ".join(str(error).split())
        raise SystemExit(f"twistd {name}: {text} (twistd {name} --help shows the options)") from None


def splits_off(runner: Mapping[str, Any] | None) -> bool:
    """Whether the process forks before services start; `runner`: options of twistd, or of twist, which never does."""
    return runner is not None and not runner.get("nodaemon", True) and not runner.get("debug")


class Later(MultiService):
    """Makes a service when it is started; what it raises then twistd tells who started it."""

    def __init__(self, make: Callable[[], IService]) -> None:
        super().__init__()
        self._make = make

    def privilegedStartService(self) -> None:
        self._make().setServiceParent(self)
        super().privilegedStartService()
