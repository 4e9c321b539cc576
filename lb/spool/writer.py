"""The one thread that touches the disk.

A job is run in it, then its completion is called in the reactor's thread: one hop each way, whatever the job holds.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol


class Writer(Protocol):
    """Runs jobs one after the other. A job must not raise."""

    def submit(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Run `job` elsewhere, then call `done` in the reactor's thread."""
        ...

    def stop(self) -> None:
        """End; called in the reactor's thread when no job is under way."""
        ...


class WriterThread:
    """The real one, begun with the first job. `call_from_thread(f)` has the reactor call `f()` in its own thread."""

    def __init__(self, call_from_thread: Callable[[Callable[[], None]], object]) -> None:
        self._call_from_thread = call_from_thread
        self._jobs: SimpleQueue[tuple[Callable[[], None], Callable[[], None]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        if self._thread is None:
            # A daemon: a process that dies without `stop` must not hang, and nothing unanswered was promised to anyone.
            self._thread = threading.Thread(target=self._run, name="lb-spool-writer", daemon=True)
            self._thread.start()
        self._jobs.put((job, done))

    def stop(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            job()
            self._call_from_thread(done)
