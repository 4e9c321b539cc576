"""Usage counters: what is counted where, and that a restart does not forget it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.model import notifid
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.usage import LABELS, CountedRequests, Usage
from lb.store.sqlite import SQLiteStore
from lb.wire.lbxml.registrations import Function, Request
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import registration, running
from tests.web.fixture import Here

NOW = 1_800_000_000


class Counters(SynchronousTestCase):
    """The counters of one store."""

    def setUp(self) -> None:
        """A store, and a clock."""
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.policy = Policy.open().permitting(str(OTHER.name), Action.ADMIN_ACCESS)

    def _numbers(self, usage: Usage) -> dict[str, int]:
        return {figure.key: figure.number for figure in usage.figures() if figure.number}

    def _usage(self, store: SQLiteStore, *, restricted: bool = False) -> tuple[Usage, Any]:
        writer = store.writer()
        return Usage(writer.marks, Here(), self.clock, lambda: self.policy, restricted=restricted), writer

    def test_kept(self) -> None:
        """Numbers, and since when they are counted, outlive a restart; those of a crash are a minute old at most."""
        store = SQLiteStore(self.path / "lb.sqlite")
        usage, writer = self._usage(store)
        sent = [5]
        usage.watch("notifs_legacy", lambda: sent[0])
        usage.startService()
        usage.count("queries_html")
        self.clock.advance(61)
        usage.count("queries_html")  # lost with the crash
        for _ in range(2):
            writer.close()
            usage, writer = self._usage(store)
            self.assertEqual(self._numbers(usage), {"queries_html": 1, "notifs_legacy": 5})
            self.assertEqual({figure.since for figure in usage.figures()}, {NOW})
        usage.startService()
        usage.count("queries_rss")
        self.successResultOf(usage.stopService())
        writer.close()
        usage, writer = self._usage(store)
        self.assertEqual(self._numbers(usage), {"queries_html": 1, "notifs_legacy": 5, "queries_rss": 1})
        writer.close()
        store.close()

    def test_events(self) -> None:
        """Events count once, registrations by the job's type, questions of the protocol and not those of pages."""
        store = SQLiteStore(self.path / "usage.sqlite")
        self.addCleanup(store.close)
        usage, writer = self._usage(store)
        self.addCleanup(writer.close)
        server = Server(self.path, tally=usage)
        self.addCleanup(server.close)
        lines = [
            registration(job=f"https://localhost:9000/{kind}", jobtype=kind)
            for kind in ("SIMPLE", "DAG", "PBS", "CONDOR", "CREAM", "VIRTUAL_MACHINE", "FILE_TRANSFER")
        ]
        server.send_all([*lines, running(1, job="https://localhost:9000/SIMPLE")])
        server.send_all(lines)  # again: they change nothing
        for kind in ("page", "API", "status", "queryJobs"):
            usage.asked(kind)
        self.assertEqual(
            self._numbers(usage),
            {
                "glite_jobs": 2,
                "pbs_jobs": 1,
                "condor_jobs": 1,
                "cream_jobs": 1,
                "vm_jobs": 1,
                "sb_ft_jobs": 1,
                "events": 8,
                "queries_api": 2,
            },
        )
        self.assertEqual([figure.label for figure in usage.figures()], list(LABELS.values()))

    def test_registrations(self) -> None:
        """New registrations count by the way on which they are told, and only when there came to be one."""
        store = SQLiteStore(self.path / "lb.sqlite")
        self.addCleanup(store.close)
        usage, writer = self._usage(store)
        self.addCleanup(writer.close)

        class Performing:
            async def perform(self, peer: Identity, address: str, asked: Request) -> int | None:
                if asked.address == "nowhere":
                    raise ValueError
                return 7

        counted = CountedRequests(Performing(), usage)
        for function, address in (
            (Function.NEW, "h:1"),
            (Function.NEW, "x-msg://grid.emi.x"),
            (Function.NEW, "nowhere"),
            (Function.REFRESH, None),
        ):
            asked = Request(function, notifid.of_unique("h:1", "x"), address)
            done = Deferred.fromCoroutine(counted.perform(OWNER, "127.0.0.1", asked))
            done.addErrback(lambda failure: failure.trap(ValueError))
            self.successResultOf(done)
        self.assertEqual(self._numbers(usage), {"notif_regs_legacy": 1, "notif_regs_msg": 1})

    def test_restricted(self) -> None:
        """P7: administrators only, where the site wants it so."""
        store = SQLiteStore(self.path / "lb.sqlite")
        self.addCleanup(store.close)
        for restricted in (False, True):
            usage, writer = self._usage(store, restricted=restricted)
            self.assertEqual([usage.seen_by(OWNER), usage.seen_by(OTHER)], [not restricted, True])
            writer.close()
