"""Live pages: which they are, and that what changes behind a page's back is told to it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model.jobid import parse
from lb.web.assets import LIVE
from lb.wire import http
from tests.server.fixture import OTHER, OWNER
from tests.web.api import ROOT, Served
from tests.web.fixture import Document, replay
from tests.web.test_api_stream import Stream, job, registration, running


class Pages(SynchronousTestCase):
    """Pages of a server with the API."""

    def setUp(self) -> None:
        """One job."""
        self.served = Served(Path(self.mktemp()))
        self.addCleanup(self.served.close)
        self.served.post(registration("a"))

    def _page(self, uri: str) -> Document:
        answer = self.served.connect().send(
            f"GET {uri} HTTP/1.1\r\nHost: localhost:9000\r\nUser-Agent: t\r\n\r\n".encode()
        )
        (response,) = http.ResponseReader().feed(answer)
        self.assertEqual(response.status, 200, uri)
        return Document(response.body)

    def _stream(self, page: Document) -> Stream:
        (address,) = page.values("data-live")
        self.assertTrue(address.startswith(f"{ROOT}/stream?after="))
        stream = Stream(self.served, address.removeprefix(f"{ROOT}/stream"))
        self.assertEqual(stream.events[0].kind, "begin")
        stream.events = stream.events[1:]
        return stream

    def test_script(self) -> None:
        """A live page has one script, this server's own; others have none."""
        for uri in ("/", "/a", "/?query=owner=" + (OWNER.name or "").replace(" ", "%20")):
            page = self._page(uri)
            scripts = [attributes for tag, attributes in page.elements if tag == "script"]
            self.assertEqual(scripts, [{"src": LIVE.path, "defer": "defer"}], uri)
        self.assertNotIn("script", self._page("/?configuration").tags)

    def test_nothing_is_missed(self) -> None:
        """What changes after a page was made is told, however late its reader asks; what was before it is not."""
        pages = [self._page(uri) for uri in ("/", "/a", "/?query=jobid=https://localhost:9000/a&status=submitted")]
        self.served.post(running("a"))
        for page, kind in zip(pages, ("job", "job", "gone"), strict=True):
            stream = self._stream(page)
            told = stream.events + stream.heard()
            self.assertEqual([(each.kind, each.document["jobId"]) for each in told], [(kind, job("a"))])
        stream = self._stream(self._page("/a"))
        self.assertEqual(stream.events + stream.heard(), [])

    def test_one_job(self) -> None:
        """A job's page hears of this job only; a collection's page, of what its subjobs change of it."""
        collection = replay(self.served.server, "collection-100")
        one, many = self._stream(self._page("/a")), self._stream(self._page("/" + parse(collection).unique))
        child = self.served.get(f"/jobs?parent_job={collection}&status=done&limit=1")["jobs"][0]["jobId"]
        parts = ["UI", "NS", "WM", "BH", "JSS", "LM", "LRMS", "APP", "LBS"]
        code = ":".join(f"{name}={'9' * (10 if name in ('NS', 'BH') else 6)}" for name in parts)
        clear = {"type": "Clear", "jobId": child, "reason": "USER", "source": "NetworkServer", "seqcode": code}
        self.assertEqual(self.served.post(clear).status, 200)
        self.assertEqual({each.document["jobId"] for each in many.heard()}, {collection})
        self.assertEqual(one.heard(), [])

    def test_other_names(self) -> None:
        """Names of all kinds survive the way through the address."""
        self.assertEqual(self.served.post({**registration("b"), "user": OTHER.name}, OTHER).status, 200)
        page = self._page("/?query=owner=/CN=A%2BB%2525|=" + (OWNER.name or "").replace(" ", "%20"))
        stream = self._stream(page)
        self.served.post(running("a"))
        self.assertEqual(len(stream.heard()), 1)
