"""The store of a server, the two threads that use it, and the quarantine of what it could not take.

Nobody else opens or closes the store; it is closed when everything that came in is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks

from lb.server.database import Database
from lb.server.quarantine import Quarantine
from lb.server.renewal import renewal
from lb.service.worker import Worker
from lb.spool.filesystem import OSFileSystem
from lb.state.generic.fold import Families
from lb.store.interface import OutboxReader, Reader


class Backend(Service):
    """What the thread `writing` owns, `writer`, and what `reading` owns, `reader`."""

    def __init__(self, database: Database, quarantine: Path, families: Families, reactor: Any) -> None:
        """Opens the database, which is made when it is missing; raises `lb.store.interface.StoreError`."""
        self._store = database.open()
        self._renewal = renewal(families)
        self.salt = self._store.salt
        self.writer, self.reader = self._store.writer(), self.another_reader()
        self.writing, self.reading = Worker(reactor, "lb-writer"), Worker(reactor, "lb-reader")
        self._quarantine = Quarantine(str(quarantine), OSFileSystem(), reactor.seconds)
        self._users: list[Callable[[], Deferred[None]]] = []

    def another_reader(self) -> Reader:
        """A reader for a thread of its own, which closes it."""
        return self._store.reader(self._renewal)

    def outbox_reader(self) -> OutboxReader:
        """A reader of the outbox for a thread of its own, which closes it."""
        return self._store.outbox_reader()

    def set_aside(self, body: bytes, reason: str) -> Deferred[None]:
        """Put into quarantine what can neither be stored nor handed back; fires when it is on stable storage."""
        return self.writing.call(self._quarantine.append, body, reason)

    def wait_for(self, end: Callable[[], Deferred[None]]) -> None:
        """Let `end` come about before the store is closed; it is called then, after those that were given before."""
        self._users.append(end)

    @inlineCallbacks
    def stopService(self) -> Any:
        super().stopService()  # type: ignore[no-untyped-call]
        for end in self._users:
            yield end()
        self.reading.stop()
        self.writing.stop()
        self._store.close()
