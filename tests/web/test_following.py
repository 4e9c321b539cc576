"""What pages tell newcomers: how to follow what they see, what states mean, what to do when there is nothing."""

from __future__ import annotations

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import Tag, flattenString

from lb.model.errors import Code, LBError
from lb.model.status import JobStatus, State
from lb.security.identity import ANONYMOUS
from lb.web import address, following
from lb.web.api import parameters
from lb.web.api.routes import ROOT
from lb.web.meanings import MEANINGS, meaning
from tests.server.fixture import OWNER
from tests.web.fixture import Document, GivenJobs, exchange

JOB = "https://localhost:9000/abc"


class Ways(SynchronousTestCase):
    """Each way that is offered asks for the jobs of the page."""

    def _page(self, drawn: Tag) -> Document:
        return Document(self.successResultOf(flattenString(None, drawn)))

    def _groups(self, uri: str) -> list[str]:
        return parameters.read(uri.partition("?")[2], parameters.QUERY, conditions=True).groups

    @given(st.text(st.characters(exclude_categories=("C",)), min_size=1).filter(str.strip))
    @settings(deadline=None, max_examples=40)
    def test_query(self, value: str) -> None:
        """Command, feed and API read the very conditions back, whatever stands in them."""
        query = f"owner={value}&status=done|=running&lastupdatetime>past3600"
        page = self._page(following.follow_jobs(query, "/CN=me", "localhost:9000"))
        feed, stream, jobs, _ = page.links()
        self.assertEqual(address.read(feed.encode()).query, query)
        for uri in (stream, jobs):
            self.assertEqual(self._groups(uri), query.split("&"))
        words = next(shlex.split(text) for text in page.texts if text.startswith("lb watch"))
        self.assertEqual(words, ["lb", "watch", "--query", query, "--server", "localhost:9000"])

    def test_own(self) -> None:
        """One's own jobs are followed as such; a feed is there also for a name that no condition can express."""
        for name, feed in (("/CN=a b", "/RSS:?query=owner=/CN=a%20b"), ("/CN=a&b", "/RSS:finished")):
            page = self._page(following.follow_jobs(None, name, ""))
            self.assertEqual(page.links()[:3], [feed, f"{ROOT}/stream", f"{ROOT}/jobs"])
            self.assertIn("lb watch --own", page.texts)

    def test_job(self) -> None:
        """A job's page says how to follow this job."""
        page = Document(exchange(GivenJobs(JobStatus(jobId=JOB)), "/abc").body)
        self.assertIn(f"lb watch {JOB}", page.texts)
        streams = [link for link in page.links() if link.startswith(f"{ROOT}/stream")]
        self.assertEqual([self._groups(link) for link in streams], [[f"jobid={JOB}"]])
        for link in (f"{ROOT}/jobs/abc", f"{ROOT}/jobs/abc/events", "#events"):
            self.assertIn(link, page.links())


class Nothing(SynchronousTestCase):
    """Pages without jobs, and refusals, say what to do next."""

    def test_no_jobs(self) -> None:
        """Who has no jobs learns how to log one, who looked for others gets the conditions back; both are 404."""
        for uri, words in (
            ("/", "lb register --server localhost:9000"),
            ("/?query=owner=a", "No job that you may see"),
        ):
            response = exchange(Empty(), uri)
            self.assertEqual(response.status, 404)
            page = Document(response.body)
            self.assertIn(words, page.text)
            self.assertIn("Not Found: 2: No such file or directory", page.text)
        self.assertIn("owner=a", list(page.values("value")))

    def test_no_certificate(self) -> None:
        """Who shows no certificate learns how to show one."""
        response = exchange(GivenJobs(), "/", ANONYMOUS)
        self.assertEqual(response.status, 401)
        self.assertIn(".p12", Document(response.body).texts)

    def test_no_index(self) -> None:
        """A question that no index answers is offered among one's own jobs."""
        response = exchange(Unindexed(), "/?query=status=running?flags=children")
        self.assertEqual(response.status, 503)
        asked = [address.read(link.encode()) for link in Document(response.body).links()]
        self.assertIn(f"owner={OWNER.name}&status=running", [at.query for at in asked])


class Meanings(SynchronousTestCase):
    """States in words."""

    def test_all(self) -> None:
        """Each state has its sentence, on the page of each job in it; a failed job is not told as a good one."""
        self.assertEqual(set(MEANINGS), set(State))
        for state in State:
            page = Document(exchange(GivenJobs(JobStatus(jobId=JOB, state=state)), "/abc").body)
            self.assertIn(MEANINGS[state], page.texts)
        failed, well = (meaning(JobStatus(state=State.Done, done_code=code)) for code in (1, 0))
        self.assertIn("failed", failed)
        self.assertNotIn("failed", well)


class Unindexed(GivenJobs):
    """Finds nothing."""

    error = LBError(Code.NO_INDEX, "No indexed condition in query")

    def newest(self, *arguments: object) -> object:  # type: ignore[override]
        return fail(self.error)


class Empty(Unindexed):
    """Has nothing."""

    error = LBError(2, "no matching jobs found")
