"""HTML pages: what they show of real jobs, that no value gets out of its place, that everybody can use them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import flattenString

from lb.model.catalogue import BY_NAME
from lb.model.event import Event
from lb.model.jobid import parse
from lb.model.status import STATES, JobStatus, JobType, State
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.web import address, rows
from lb.web.events import PAGE
from lb.web.histogram import histogram
from lb.web.rows import Form
from lb.web.text import shown
from tests.server.fixture import OWNER, Server
from tests.web.fixture import Document, GivenJobs, exchange, questions, recorded, replay
from tests.web.test_plain import STORED
from tests.wire_query.strategies import events

JOB = "https://localhost:9000/abc"
TEXT_ATTRIBUTES = [row.attribute for row in rows.ROWS if row.form in (Form.TEXT, Form.JOB)] + [
    "jdl",
    "rsl",
    "cream_jdl",
]
#: Elements that run, load, or lead elsewhere.
FORBIDDEN = {"script", "style", "iframe", "object", "embed", "base", "img", "audio", "video", "applet", "foreignobject"}


class Replayed(SynchronousTestCase):
    """Pages of the packaged streams, from a real server side."""

    def setUp(self) -> None:
        """A server without jobs."""
        path = Path(self.mktemp())
        path.mkdir()
        self.server = Server(path, Policy.open())
        self.addCleanup(self.server.close)

    def _page(self, uri: str) -> Document:
        response = exchange(questions(self.server), uri)
        self.assertEqual(response.status, 200)
        return Document(response.body)

    def test_job(self) -> None:
        """A job's page names its state and each attribute that is known, and shows each event once."""
        jobid = replay(self.server, "job-resubmitted")
        page = self._page("/" + parse(jobid).unique)
        self.assertIn("Aborted", page.texts)
        self.assertIn(jobid, page.texts)
        status = self.server.status(jobid)
        for row in rows.of_job(status):
            self.assertIn(row.label, page.texts)
        events = self.server.lookup.events_of(OWNER, parse(jobid).unique)
        self.assertGreater(len(events), 20)
        bodies = [tag for tag in page.tags if tag == "tbody"]
        self.assertGreater(len(bodies), 2)
        for event in events:
            self.assertIn(event.type.name, page.texts)

    def test_collection(self) -> None:
        """A collection's page counts its children by state and leads to them."""
        jobid = replay(self.server, "collection-100")
        page = self._page("/" + parse(jobid).unique)
        self.assertIn("Collection", page.texts)
        self.assertRegex(page.text, r"Children 100Jobs by state.*Done 78 ?Cleared 22")
        targets = [address.read(link.encode()) for link in page.links()]
        self.assertIn(f"parent_job={jobid}", [at.query for at in targets])
        self.assertIn("All 100 children", page.texts)
        done = self._page(address.write("/", f"parent_job={jobid}&status=done"))
        self.assertIn("Total of 78", done.texts)
        children = self._page(address.write("/", f"parent_job={jobid}"))
        self.assertIn("Total of 100", children.texts)

    def test_list(self) -> None:
        """The list has the recorded page's heading, count, links and subject (wire-web.md §3)."""
        jobid = replay(self.server, "collection-100")
        replay(self.server, "job-typical")
        page = self._page("/")
        _, answer = recorded("60-GET-root-html")
        for text in ("User Jobs", "User subject:"):
            self.assertIn(text, answer.body.decode())
            self.assertIn(text, page.text)
        self.assertRegex(page.text, r"Total of \d{3}")
        self.assertIn("/" + parse(jobid).unique, page.links())
        self.assertIn("All 100 children", page.text)


class Hostile(SynchronousTestCase):
    """Values of jobs are shown, never interpreted, whatever they hold (P10)."""

    PAGES = ("/abc", "/", "/?query=owner=a")

    def _tags(self, jobs: GivenJobs, uri: str) -> list[str]:
        return Document(exchange(jobs, uri).body).tags

    @given(STORED.filter(str.strip), st.sampled_from(list(JobType)))
    @settings(deadline=None, max_examples=40)
    def test_jobs(self, value: str, kind: JobType) -> None:
        """A page has the same elements whatever its values are, and shows them with nothing hidden."""

        def job(text: str) -> JobStatus:
            texts = dict.fromkeys(TEXT_ATTRIBUTES, text)
            return JobStatus(
                **{**texts, "jobId": JOB, "history": text},
                state=State.Running,
                jobtype=kind,
                user_tags=[(text, text)],
                possible_destinations=[text],
                stateEnterTimes=[1] * STATES,
                children=[text],
                children_hist=[1] * STATES,
            )

        for uri in self.PAGES:
            page = Document(exchange(GivenJobs(job(value)), uri).body)
            self.assertEqual(page.tags, self._tags(GivenJobs(job("x")), uri))
            self.assertEqual(page.comments, [])
        page = Document(exchange(GivenJobs(job(value)), "/abc").body)
        # The parser, like a browser, makes one line end of two characters.
        self.assertIn(shown(value).replace("\r\n", "\n"), [text.replace("\r\n", "\n") for text in page.texts])

    @given(st.lists(events(), min_size=1, max_size=4))
    @settings(deadline=None, max_examples=60)
    def test_events(self, logged: list[Any]) -> None:
        """Events of any type with any values make a page without anything that runs or loads."""
        page = Document(exchange(GivenJobs(JobStatus(jobId=JOB, jobtype=0), events=logged), "/abc").body)
        self.assertEqual(FORBIDDEN & set(page.tags), set())
        for event in logged:
            self.assertIn(event.type.name, page.texts)

    @given(STORED.filter(str.strip))
    @settings(deadline=None, max_examples=40)
    def test_peers(self, name: str) -> None:
        """The reader's own name is text too."""
        jobs = GivenJobs(JobStatus(jobId=JOB))
        for uri in ("/abc", "/?configuration", "/nosuch"):
            page = Document(exchange(jobs, uri, Identity(name)).body)
            self.assertEqual(page.tags, Document(exchange(jobs, uri, Identity("/CN=x")).body).tags)

    @given(STORED)
    @settings(deadline=None, max_examples=40)
    def test_queries(self, text: str) -> None:
        """So is a query, found or refused."""
        response = exchange(GivenJobs(JobStatus(jobId=JOB)), address.write("/", f"owner={text}"))
        self.assertIn(response.status, (200, 579))
        self.assertEqual(FORBIDDEN & set(Document(response.body).tags), set())

    def test_links(self) -> None:
        """Only ids of jobs of this server become links, and these only to its own pages."""
        for jobid in (
            "javascript:alert(1)",
            "https://elsewhere.example.org:9000/abc",
            "https://localhost:9000//evil.example.org",
            "https://localhost:9000/..%2f",
            "//evil.example.org/x",
        ):
            page = Document(exchange(GivenJobs(JobStatus(jobId=JOB, parent_job=jobid)), "/abc").body)
            self.assertIn(jobid, page.texts)
            for link in page.links():
                self.assertRegex(link, r"\A(/(?!/)|#(content|events|children)\b)")


class Everybody(SynchronousTestCase):
    """Keyboard, screen readers, no script, nothing from elsewhere."""

    def _pages(self) -> dict[str, Document]:
        job = JobStatus(
            jobId=JOB,
            state=State.Done,
            jobtype=JobType.COLLECTION,
            stateEnterTimes=[0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0],
            children=[JOB + "c"],
            children_num=1,
            children_hist=[0, 1, *[0] * (STATES - 2)],
            jdl="[ a = 1; ]",
        )
        uris = ("/", "/?query=status=done", "/abc", "/abc?flags=history", "/?configuration", "/nosuch", "/a/b")
        return {uri: Document(exchange(GivenJobs(job), uri).body) for uri in uris}

    def test_nothing_from_elsewhere(self) -> None:
        """Nothing runs, nothing is styled in place, and all that is loaded is this server's own."""
        for uri, page in self._pages().items():
            self.assertEqual(FORBIDDEN & set(page.tags), set(), uri)
            for _, attributes in page.elements:
                self.assertEqual([name for name in attributes if name.startswith("on") or name == "style"], [], uri)
            loaded = [attributes["href"] for tag, attributes in page.elements if tag == "link"]
            self.assertTrue(all((href or "").startswith("/static/") for href in loaded), uri)
            self.assertEqual(list(page.values("src")), [], uri)

    def test_structure(self) -> None:
        """Each page has a language, a title, one main part and one first heading; headings skip no level."""
        for uri, page in self._pages().items():
            self.assertEqual(page.elements[0], ("html", {"lang": "en"}))
            self.assertEqual(page.tags.count("main"), 1, uri)
            self.assertEqual(page.tags.count("h1"), 1, uri)
            self.assertIn("title", page.tags)
            levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
            self.assertTrue(all(b <= a + 1 for a, b in itertools.pairwise(levels)), uri)
            ids = list(page.values("id"))
            self.assertEqual(len(ids), len(set(ids)), uri)
            self.assertIn("content", ids)
            self.assertEqual(page.links()[0], "#content")

    def test_tables(self) -> None:
        """Tables have captions and headings with a scope; what scrolls can be reached by keyboard and has a name."""
        for uri, page in self._pages().items():
            for tag, attributes in page.elements:
                if tag == "th":
                    self.assertIn(attributes.get("scope"), ("row", "col"), uri)
                if attributes.get("role") == "region":
                    self.assertEqual(attributes.get("tabindex"), "0", uri)
                    self.assertTrue(attributes.get("aria-label"), uri)

    def test_pictures(self) -> None:
        """Each picture is well-formed and says in words what it shows."""
        body = exchange(GivenJobs(JobStatus(jobId=JOB, stateEnterTimes=[1] * STATES)), "/abc").body.decode()
        found = re.findall(r"<svg.*?</svg>", body, re.DOTALL)
        self.assertTrue(found)
        for picture in found:
            root = ElementTree.fromstring(picture)
            self.assertEqual(root.get("role"), "img")
            words = {element.get("id"): element.text for element in root if element.get("id")}
            for name in (root.get("aria-labelledby") or "").split():
                self.assertTrue(words[name])


class Histograms(SynchronousTestCase):
    """How many jobs are in each state."""

    @given(st.dictionaries(st.integers(0, STATES - 1), st.integers(0, 10**7)))
    @settings(deadline=None)
    def test_bar(self, counts: dict[int, int]) -> None:
        """The bar has a part for each state that has jobs, be it one of millions, and is filled by them."""
        drawn = histogram(counts, None)
        if not any(counts.values()):
            self.assertEqual(drawn, "")
            return
        page = self.successResultOf(flattenString(None, drawn)).decode()
        widths = [float(width) for width in re.findall(r'<rect[^>]* width="([0-9.]+)"', page)]
        self.assertEqual(len(widths), sum(1 for count in counts.values() if count))
        self.assertGreaterEqual(min(widths), 3)
        self.assertLess(abs(sum(widths) - 1000), 1)

    def test_links(self) -> None:
        """Each number leads to its jobs; a state that was asked for is replaced."""
        drawn = histogram({State.Done: 2, State.Running: 0}, "owner=a&status=running|=done")
        page = Document(self.successResultOf(flattenString(None, drawn)))
        self.assertEqual([address.read(link.encode()).query for link in page.links()], ["owner=a&status=done"])


class Bounds(SynchronousTestCase):
    """A page stays readable however much there is (P10)."""

    def test_events(self) -> None:
        """Events come a page at a time; each is on one of them."""
        logged = [
            Event(BY_NAME["Clear"], parse(JOB), timestamp=n + 1, host=f"h{n}", source=1, seqcode="", user=None)
            for n in range(PAGE + 1)
        ]
        jobs = GivenJobs(JobStatus(jobId=JOB), events=logged)
        first, second = (Document(exchange(jobs, f"/abc?page={page}").body) for page in (1, 2))
        hosts = [[text for text in page.texts if re.fullmatch(r"h\d+", text)] for page in (first, second)]
        self.assertEqual(hosts, [[f"h{n}" for n in range(PAGE)], [f"h{PAGE}"]])

    def test_texts(self) -> None:
        """A text of megabytes is cut on the page, with a word about it, and whole in the plain text."""
        text = "x" * 3_000_000
        jobs = GivenJobs(JobStatus(jobId=JOB, jdl=text))
        page = exchange(jobs, "/abc").body
        self.assertLess(len(page), 1_000_000)
        self.assertIn("of 3,000,000 characters", Document(page).text)
        self.assertIn(text, exchange(jobs, "/abc?text").body.decode())
