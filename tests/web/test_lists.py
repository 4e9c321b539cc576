"""Long lists, feeds and connections from a real server side: nothing is loaded whole, nobody sees what is another's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from lb.model.indexing import OWNER as OWNER_COLUMN
from lb.model.query import Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server.lookup import JobPage, Newest
from lb.web import address
from lb.web.listing import CHILDREN, PAGE, WINDOW
from lb.web.site import site
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_connections import MACHINE, connect
from tests.server.test_ingest import JOB, registration, running
from tests.web.fixture import NOW, Document, GivenJobs, exchange, questions

COLLECTION = "https://localhost:9000/collection"


class Measured:
    """Questions of a server; the longest list that any of them was answered with."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.longest = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def newest(self, *arguments: Any) -> Any:
        return self._inner.newest(*arguments).addCallback(self._noted)

    def page(self, *arguments: Any) -> Any:
        return self._inner.page(*arguments).addCallback(self._noted)

    def _noted(self, found: Newest | JobPage) -> Any:
        self.longest = max(self.longest, len(found.jobs))
        return found


class Narrow(StringTransport):
    """A transport that takes little at once."""

    ROOM = 16_384

    def write(self, data: bytes) -> None:
        before = len(self.value())
        super().write(data)
        if before // self.ROOM != len(self.value()) // self.ROOM and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))


class Many(SynchronousTestCase):
    """A collection of 10,000 jobs, and two jobs beside it."""

    NUMBER = 10_000

    def setUp(self) -> None:
        """They are registered at once, as clients do."""
        path = Path(self.mktemp())
        path.mkdir()
        self.server = Server(path)
        self.addCleanup(self.server.close)
        lines = [
            registration(job="https://localhost:9000/before"),
            registration(job=COLLECTION, jobtype="COLLECTION", nsubjobs=self.NUMBER),
            registration(job="https://localhost:9000/behind"),
        ]
        self.assertEqual({reply.major for reply in self.server.send_all(lines)}, {0})
        self.jobs = Measured(questions(self.server))

    def _page(self, uri: str) -> Document:
        response = exchange(self.jobs, uri)
        self.assertEqual(response.status, 200, uri)
        return Document(response.body)

    def _older(self, page: Document) -> str | None:
        following = [attributes["href"] for tag, attributes in page.elements if attributes.get("rel") == "next"]
        return following[0] if following else None

    def test_own(self) -> None:
        """P10: the list shows the collection once with its first children, and leads to what is older."""
        shown: list[str] = []
        uri: str | None = "/"
        pages = 0
        while uri is not None:
            page = self._page(uri)
            shown += [link for link in page.links() if link in ("/before", "/collection", "/behind")]
            pages += 1
            uri = self._older(page)
        self.assertEqual(shown, ["/behind", "/collection", "/before"])
        self.assertEqual(pages, self.NUMBER // WINDOW + 1)
        self.assertLessEqual(self.jobs.longest, WINDOW)

    def test_children(self) -> None:
        """The collection's page shows the newest children and leads to a list of all, page by page."""
        page = self._page("/collection")
        self.assertIn(f"All {self.NUMBER:,} children", page.texts)
        self.assertIn(f"Children {self.NUMBER:,}", page.text)
        uri: str | None = address.write("/", query=f"parent_job={COLLECTION}")
        self.assertIn(uri, page.links())
        first = self._page(uri or "")
        self.assertIn(f"The newest {WINDOW:,} of more jobs", first.texts)
        second = self._page(self._older(first) or "")
        rows = [{link for link in each.links() if len(link) == 23} for each in (first, second)]
        self.assertEqual([len(each) for each in rows], [PAGE, PAGE])
        self.assertEqual(rows[0] & rows[1], set())
        self.assertLessEqual(self.jobs.longest, WINDOW)

    def test_text(self) -> None:
        """Scripts get all ids, in parts, as fast as they read."""
        clock = Clock()
        clock.advance(NOW)
        channel: Any = site(self.jobs, clock, lambda transport: OWNER).buildProtocol(None)
        transport = Narrow()
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /?text HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n")
        for times in range(1, 4):
            self.assertLess(len(transport.value()), (times + 1) * 50_000)
            channel.resumeProducing()
        while not transport.value().endswith(b"0\r\n\r\n"):
            channel.resumeProducing()
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        text = unchunked(body).decode()
        self.assertTrue(text.startswith("User_jobs=https://"))
        self.assertTrue(text.endswith(f"\nUser_subject={OWNER.name}\n"))
        ids = text.partition("\n")[0].removeprefix("User_jobs=").split(",")
        self.assertEqual(len(set(ids)), self.NUMBER + 3)
        self.assertEqual(ids, sorted(ids))
        self.assertLess(self.jobs.longest, 1_100)

    def test_text_broken_off(self) -> None:
        """A list that cannot be gone on with ends its connection: nobody takes the part for the whole."""

        class Breaking(Measured):
            def page(self, peer: Identity, query: Query, after: str, most: int) -> Any:
                if after:
                    raise RuntimeError("away")
                return super().page(peer, query, after, most)

        transport = StringTransport()
        channel: Any = site(Breaking(self.jobs), Clock(), lambda transport: OWNER).buildProtocol(None)  # type: ignore[arg-type]
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /?text HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n")
        self.assertFalse(transport.value().endswith(b"0\r\n\r\n"))
        self.assertTrue(transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


def unchunked(body: bytes) -> bytes:
    """What was sent in chunks, to the last one."""
    whole = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole += body[:length]
        body = body[length + 2 :]
        if not length:
            return whole


class Some(SynchronousTestCase):
    """A few jobs of a real server side."""

    def setUp(self) -> None:
        """A job that runs on a virtual machine, both of today; another's job."""
        path = Path(self.mktemp())
        path.mkdir()
        self.server = Server(path)
        self.addCleanup(self.server.close)
        lines = [registration(), registration(job=MACHINE, jobtype="VIRTUAL_MACHINE"), running(1), connect(2)]
        self.server.send_all([line.replace("DATE=20240102030405", "DATE=20270115075000") for line in lines])
        self.server.send(registration(job="https://localhost:9000/foreign", user=OTHER.name), OTHER)
        self.jobs = questions(self.server)

    def test_related(self) -> None:
        """A job's page and text name what it is connected to, with its type and how it stands (§5)."""
        unique = JOB.rpartition("/")[2]
        text = exchange(self.jobs, f"/{unique}?text").body.decode()
        self.assertIn(f"\nrelated_jobs={MACHINE} Virtual_machine ACTIVE\nhistory=", text)
        page = Document(exchange(self.jobs, f"/{unique}").body)
        self.assertIn("Related Jobs", page.texts)
        self.assertIn("/machine", page.links())
        self.assertIn("Active", page.texts)
        lonely = exchange(self.jobs, "/foreign?text", OTHER).body.decode()
        self.assertNotIn("related_jobs", lonely)

    def _feed(self, feed: str, peer: Identity = OWNER) -> list[str | None]:
        response = exchange(self.jobs, feed, peer)
        self.assertEqual(response.status, 200, feed)
        return [each.text for each in ElementTree.fromstring(response.body).findall("channel/item/title")]

    def test_feeds(self) -> None:
        """P7: each feed has its jobs, the reader's own and changed within the hour; none is an empty feed (§7)."""
        for feed, told in {
            "/RSS:running": [JOB],
            "/RSS:finished": [],
            "/RSS:aborted": [],
            "/RSS:runningVM": [],
            "/RSS:doneVM": [],
            f"/RSS:?query=jobid={JOB}|={MACHINE}": [MACHINE, JOB],
            f"/RSS:mine?query=jobid={JOB}&status=done": [],
        }.items():
            self.assertEqual(self._feed(feed), told, feed)
            self.assertEqual(self._feed(feed, OTHER), [], feed)

    def test_feeds_refused(self) -> None:
        """Names that are none, conditions that cannot be read, jobs that no index leads to (§7, §9)."""
        for feed, status, words in (
            ("/RSS:bogus", 579, b"Invalid RSS feed specified"),
            ("/RSS:", 579, b"Invalid RSS feed specified"),
            ("/RSS:?query=status=bogus", 579, b"Unknown job state"),
            ("/RSS:?query=status=running", 404, b"current index configuration does not support RSS feeds"),
        ):
            response = exchange(self.jobs, f"{feed}?text")
            self.assertEqual(response.status, status, feed)
            self.assertIn(words, response.body)

    def test_hostile_feed(self) -> None:
        """What jobs say never becomes markup."""
        job = JobStatus(jobId="https://localhost:9000/]]><x>&", destination="<b>&\x01]]>\udc80")
        headers = {"User-Agent": "t", "Host": "<evil>"}
        document = exchange(GivenJobs(job), "/RSS:running", headers=headers).body
        (item,) = ElementTree.fromstring(document).findall("channel/item")
        self.assertEqual(item.findtext("title"), job.jobId)
        self.assertIn("Destination: <b>&␁]]>�", item.findtext("description") or "")
        self.assertNotIn(b"evil", document)

    def test_no_index(self) -> None:
        """One's own jobs need no index, neither as a page nor as a text (§3)."""
        self.server.writer.index.configure([])
        self.assertNotIn((OWNER_COLUMN,), self.server.reader.finder.indices())
        for uri in ("/", "/?text"):
            self.assertIn(JOB, exchange(self.jobs, uri).body.decode())
        self.assertIn(b"server_indices=\n", exchange(self.jobs, "/?configuration?text").body)

    def test_children_bound(self) -> None:
        """P10: below a parent stand its newest children, and a way to the others."""
        lines = [
            registration(job=f"https://localhost:9000/c{number}").replace(
                'DG.REGJOB.PARENT=""', f'DG.REGJOB.PARENT="{COLLECTION}"'
            )
            for number in range(CHILDREN + 1)
        ]
        self.server.send_all([registration(job=COLLECTION, jobtype="COLLECTION"), *lines])
        page = Document(exchange(self.jobs, "/").body)
        shown = [link for link in page.links() if link.startswith("/c") and link != "/collection"]
        self.assertEqual(shown, [f"/c{number}" for number in range(CHILDREN, 0, -1)])
        self.assertIn(address.write("/", query=f"parent_job={COLLECTION}"), page.links())
