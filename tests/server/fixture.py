"""A server without sockets: the store on disk, the writing and the reading side, called directly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lb.model.errors import LBError
from lb.model.jobid import parse
from lb.model.query import Flag, Results, of_job, read_flags
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.ingest import Ingest
from lb.server.lookup import Lookup
from lb.server.submission import Submission
from lb.store.sqlite import SQLiteStore
from lb.wire.il import Reply

OWNER = Identity("/C=CZ/O=LB Reference Test/CN=Test User")
OTHER = Identity("/C=CZ/O=LB Reference Test/CN=Other User")
PEERS = {"owner": OWNER, "other": OTHER}


class Server:
    """One store and what works on it."""

    def __init__(self, directory: Path, policy: Policy | None = None, **options: Any) -> None:
        self.policy = policy if policy is not None else Policy.open()
        self.store = SQLiteStore(directory / "lb.sqlite")
        self.writer = self.store.writer()
        #: Called when a batch is stored.
        self.stored: Callable[[], None] = lambda: None
        self.ingest = Ingest(
            self.writer, lambda: self.policy, lambda: 1_800_000_000.0, stored=lambda: self.stored(), **options
        )
        self.reader = self.store.reader()
        self.lookup = Lookup(self.reader, lambda: self.policy, "salt")

    def send(self, line: str | bytes, peer: Identity = OWNER) -> Reply:
        """Hand in one line."""
        return self.send_all([line], peer)[0]

    def send_all(self, lines: list[Any], peer: Identity = OWNER) -> list[Reply]:
        """Hand in lines as one batch."""
        return self.ingest(
            [Submission(line.encode("utf-8") if isinstance(line, str) else line, peer) for line in lines]
        )

    def status(self, jobid: str, flags: str = "", peer: Identity = OWNER) -> JobStatus:
        """Ask for one job as C clients do."""
        query = of_job(parse(jobid), read_flags(flags))
        assert query.results is Results.UNDEFINED
        assert Flag.NO_JOBS in query.flags
        return self.lookup.jobs(peer, query).jobs[0]

    def close(self) -> None:
        self.reader.close()
        self.writer.close()
        self.store.close()


def query_error(server: Server, jobid: str, flags: str, peer: Identity) -> int:
    """The error number of a status query, 0 when there is none."""
    try:
        server.status(jobid, flags, peer)
    except LBError as error:
        return error.code
    return 0


def events_json(history: str | None) -> list[dict[str, Any]]:
    """A history as recordings hold it: null and empty members left out."""
    return [
        {name: value for name, value in event.items() if value not in (None, "")}
        for event in json.loads(history or "[]")
    ]
