"""The server on a PostgreSQL database: what is asked of it on SQLite, again."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from tests.server import (
    fixture,
    test_administration,
    test_connections,
    test_ingest,
    test_newest,
    test_parents,
    test_queries,
    test_statistics,
)
from tests.server.test_vectors import followed_cases, takes_grey_jobs
from tests.store.on_postgres import OnPostgres


class Ingesting(OnPostgres, test_ingest.Ingesting):
    """Events."""

    modules = (fixture,)


class Queries(OnPostgres, test_queries.Queries):
    """Any conditions, compared with a look at all jobs."""

    modules = (test_queries,)


class Lists(OnPostgres, test_newest.Lists):
    """Jobs by age."""

    modules = (fixture,)


class Purges(OnPostgres, test_administration.Purges):
    """Purge."""

    modules = (fixture,)


class Restored(OnPostgres, test_administration.Restored):
    """Dump and load."""

    modules = (fixture,)

    def _play(self, category: str) -> None:
        """As on SQLite, a batch for what one peer sends: each commit of this database takes its time."""
        steps = [
            step
            for case in followed_cases(category)
            if not takes_grey_jobs(case)
            for step in case["steps"]
            if "send" in step
        ]
        for other, several in groupby(steps, lambda step: step.get("as") == "other"):
            self.lb.server.send_all([step["send"] for step in several], fixture.OTHER if other else fixture.OWNER)


class Statistics(OnPostgres, test_statistics.Counted):
    """Rates and durations."""

    modules = (test_statistics,)


class Connected(OnPostgres, test_connections.Connected):
    """Connections between jobs."""

    modules = (fixture,)


class Families(OnPostgres, test_parents.Families):
    """Parents and subjobs."""

    modules = (fixture,)

    def _trace(self, statements: list[str] | None) -> None:
        session = self.server.writer._session
        run = type(session)._run.__get__(session)

        def traced(statement: str, parameters: Any) -> Any:
            if statements is not None and statement not in ("BEGIN", "COMMIT"):
                statements.append(statement)
            return run(statement, parameters)

        self.patch(session, "_run", traced)


del OnPostgres
