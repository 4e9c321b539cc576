"""P9: databases of older schemas, made by the servers of their time, are opened with all that is in them.

`tests/store/old` has one for each schema whose servers could be had. Each holds a job with long texts, bytes that are
no UTF-8, an ACL and a connection, a collection, a grey job, from schema 3 on also a registration with a notice.
"""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from lb.model.query import Flag
from lb.model.status import State
from lb.server.lookup import Lookup
from lb.server.notify import content
from lb.server.notify.registry import Registry
from lb.server.recomputation import Recomputation
from lb.server.renewal import renewal
from lb.store.interface import Link
from lb.store.sqlite import SQLiteStore
from lb.wire import il
from tests.server.fixture import OWNER, Server
from tests.server.test_ingest import registration

OLD: Final = Path(__file__).parent.parent / "store" / "old"


def _schema(path: Path) -> list[tuple[str, str]]:
    """Tables and indices, without the words about them."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    finally:
        connection.close()
    lines = ((name, (line.partition("--")[0] for line in sql.splitlines())) for name, sql in rows)
    return [(name, " ".join(" ".join(kept).split())) for name, kept in lines]


class Upgrades(SynchronousTestCase):
    """Each old database, with this server on it."""

    def wake(self, numbers: Collection[int]) -> None: ...

    def gone(self, numbers: Collection[int]) -> None: ...

    def _server(self, old: Path) -> Server:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "lb.sqlite").write_bytes(gzip.decompress(old.read_bytes()))
        server = Server(directory, grey_jobs=True)
        self.addCleanup(server.close)
        server.reader.close()
        server.reader = server.store.reader(renewal())
        server.lookup = Lookup(server.reader, lambda: server.policy, "salt")
        return server

    def _servers(self) -> list[tuple[int, Server]]:
        found = [(int(old.name.partition(".")[0]), self._server(old)) for old in sorted(OLD.glob("*.sqlite.gz"))]
        self.assertEqual([version for version, _ in found], [1, 3, 5, 6, 7])
        return found

    def _registry(self, server: Server) -> Registry:
        return Registry(server.writer, lambda: server.policy, lambda: 0.0, "salt", self)

    def test_jobs(self) -> None:
        """Jobs, their texts, histories, families and connections are there, and states are what their events say."""
        for version, server in self._servers():
            status = server.lookup.status(OWNER, "a", Flag.CLASSADD | Flag.HISTORY)
            self.assertEqual(
                (status.state, status.jdl, status.user_tags), (State.Running, "x" * 5_000, [("t", "v\udcee")])
            )
            self.assertIn('"type" : "ChangeACL"', status.history or "")
            self.assertIn("dn:/CN=x", status.acl or "")
            self.assertEqual(len(server.lookup.status(OWNER, "coll", Flag.CHILDREN).children or ()), 3)
            self.assertEqual(server.lookup.status(OWNER, "b\udcff", Flag(0)).owner, OWNER.name)
            related = [(one.other, one.status) for one in server.lookup.related(OWNER, "a")]
            self.assertEqual(related, [] if version < 3 else [("https://h:9000/pbs", Link.ACTIVE)])
            self.assertEqual(Recomputation(server.writer, server.ingest)(0, 100).differing, [])

    def test_registrations(self) -> None:
        """Registrations and what waits for them are there."""
        for version, server in self._servers():
            if version < 2:
                continue
            (one,) = self._registry(server).all()
            reader = server.store.outbox_reader()
            self.addCleanup(reader.close)
            (notice,) = reader.notices(one.number, 0, 10, 1 << 20)
            self.assertEqual((one.destination, content.read(notice.content).jobId), ("h:4000", "https://h:9000/a"))

    def test_goes_on(self) -> None:
        """The schema is that of a new database, and events are stored as ever."""
        fresh = Path(self.mktemp())
        SQLiteStore(fresh).close()
        for _, server in self._servers():
            self.assertEqual(_schema(server.store.path), _schema(fresh))
            before = server.writer.last_change
            self.assertIs(server.send(registration(job="https://h:9000/grey")), il.OK)
            self.assertEqual(server.lookup.status(OWNER, "grey", Flag(0)).owner, OWNER.name)
            self.assertEqual([number for number, _ in server.reader.changes(before, 10)], [before + 1])
