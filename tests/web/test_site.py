"""The pages: what they show, that nothing of a job gets out of its place, who gets them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import missing
from lb.model.query import Flag
from lb.model.status import JobStatus, State
from lb.security.identity import ANONYMOUS, Identity
from lb.web import site as web
from lb.wire import http

HOSTILE = "<script>alert('x')</script>\"&\nStatus=Done"
PEER = Identity("/CN=a <b>")
JOB = JobStatus(
    state=State.Running,
    jobId="https://localhost:9000/abc",
    owner="/CN=a <b>",
    jobtype=0,
    reason=HOSTILE,
    destination=HOSTILE,
    user_tags=[("t", HOSTILE)],
    jdl=f'[ a = "{HOSTILE}" ]',
    lastUpdateTime=1_700_000_000_000_000,
)


class Questions:
    """Answers with one job."""

    def status(self, peer: Identity, unique: str, flags: Flag) -> Deferred[JobStatus]:
        return succeed(JOB) if unique == "abc" else fail(missing(f"jobid='{unique}' not registered in DB"))

    def events(self, peer: Identity, unique: str) -> Deferred[list[Any]]:
        return succeed([])

    def own_jobs(self, peer: Identity, flags: Flag) -> Deferred[list[JobStatus]]:
        return succeed([JOB])


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)


class Pages(SynchronousTestCase):
    """The site, asked in bytes."""

    def _get(self, uri: str, peer: Identity = PEER, method: str = "GET") -> http.Response:
        self.patch(web, "_peer", lambda request: peer)
        questions: Any = Questions()
        channel = web.site(questions, Clock()).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(f"{method} {uri} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        (response,) = http.ResponseReader().feed(transport.value())
        return response

    def test_values_stay_in_place(self) -> None:
        """Hostile values are shown, never interpreted: no tag and no line of theirs gets into a page."""
        for uri in ("/", "/abc"):
            page = self._get(uri).body.decode()
            self.assertNotIn("script", Tags(page).tags)
        self.assertIn("&lt;script&gt;", self._get("/abc").body.decode())
        lines = self._get("/abc?text").body.decode().splitlines()
        self.assertEqual([line for line in lines if line.startswith("Status=")], ["Status=Running"])

    def test_nothing_from_elsewhere(self) -> None:
        """Pages carry a strict policy, no script and no address of another site."""
        response = self._get("/")
        self.assertIn("default-src 'none'", response.headers["content-security-policy"])
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertEqual(self._get("/?style").headers["content-type"], "text/css")

    def test_text(self) -> None:
        """Scripts find the job's address and its state."""
        lists = self._get("/?text")
        self.assertEqual(lists.headers["content-type"], "text/plain; charset=utf-8")
        self.assertIn(b"User_jobs=https://localhost:9000/abc\n", lists.body)
        self.assertIn(b"Job=https://localhost:9000/abc\n", self._get("/abc?flags=history?text").body)

    def test_errors(self) -> None:
        """Unknown jobs, anonymous peers and other methods get their status."""
        self.assertEqual(self._get("/nosuch").status, 404)
        self.assertIn(b"Code=2\n", self._get("/nosuch?text").body)
        self.assertEqual(self._get("/", ANONYMOUS).status, 401)
        self.assertEqual(self._get("/", method="DELETE").status, 405)
