"""How a daemon ends that cannot start as it was told: one line for who started it, exit code 1, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
