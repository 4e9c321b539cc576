"""Administration put together: its thread, what it answers, and what it does by itself.

It has stopped when nothing of it uses the writing thread any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from lb.security.policy import Policy
from lb.server.admin.housekeeping import Housekeeping
from lb.server.admin.loading import Load, Loading
from lb.server.admin.port import Administration, Places, Stopping
from lb.server.admin.purging import Purging
from lb.server.admin.removal import Removal
from lb.server.admin.retention import Retention
from lb.server.jobcache import JobCache
from lb.server.notify.announcement import Announcement
from lb.server.renewal import renewal
from lb.service.worker import Worker
from lb.state.generic.fold import Families
from lb.store.interface import Reader, Writer


class AdministrationService(MultiService):
    """The administration of one server; `answers` is for its main port."""

    def __init__(
        self,
        writer: Writer,
        writing: Worker,
        reader: Reader,
        cache: JobCache,
        policy: Callable[[], Policy],
        reactor: Any,
        places: Places,
        *,
        families: Families | None,
        max_subjobs: int,
        own_name: str,
        announce: Callable[[], Announcement] | None,
        ages: Sequence[int] | None,
        interval: float,
        statistics: int,
    ) -> None:
        """`reader`: one of its own; `ages`, `interval`: what is archived, and how often is looked for it."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._thread = Worker(reactor, "lb-admin")
        self._reader = reader
        self._stopping = Stopping()
        removal = Removal(writer, cache, reactor.seconds, announce, renewal=renewal(families))
        purging = Purging(reader, self._thread, removal, writer.purge.clear, writing, reactor, self._stopping.check)
        loading = Loading(writer, policy, reactor.seconds, cache, families, max_subjobs)
        sources = (places.dumps, places.purges, places.archives)
        load = Load(loading, self._thread, writing, sources, reactor.seconds, self._stopping.check)
        housekeeping = Housekeeping(writer, writing, reactor)
        housekeeping.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._port = Administration(
            writer,
            writing,
            reader,
            self._thread,
            purging,
            load,
            housekeeping,
            policy,
            reactor,
            places,
            own_name=own_name,
            statistics=statistics,
            go_on=self._stopping.check,
        )
        self.answers = self._port.answers
        if ages is not None:
            retention = Retention(self._port.archive, ages, places.archives, reactor, interval)
            retention.setServiceParent(self)  # type: ignore[no-untyped-call]

    def stop(self) -> Deferred[None]:
        """Fires when what was begun has come to an end; it is cut short between two steps."""
        self._stopping.stopping = True
        return self._port.idle().addCallback(self._end)

    def _end(self, _: None) -> None:
        self._thread.stop()
        self._reader.close()
