"""Lists of jobs: order, nesting, pages, and the forms that narrow them down."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lb.model.grammar import read_query
from lb.model.query import Flag, own_jobs
from lb.model.status import JobStatus, State
from lb.web import address, filters
from lb.web.listing import CHILDREN, PAGE, WINDOW, Listing, listing
from tests.server.fixture import OWNER
from tests.web.fixture import NOW, Document, GivenJobs, exchange

SECOND = 1_000_000


def first_of(drawn: tuple[int, int | None]) -> int:
    """What no two drawn jobs have in common."""
    return drawn[0]


def job(name: object, *, parent: object = None, at: int = 1, state: State = State.Running) -> JobStatus:
    return JobStatus(
        state=state,
        jobtype=0,
        jobId=f"https://localhost:9000/{name}",
        parent_job=f"https://localhost:9000/{parent}" if parent is not None else None,
        stateEnterTime=at * SECOND,
        lastUpdateTime=at * SECOND,
    )


class Listings(SynchronousTestCase):
    """Order and nesting. The first of the given jobs is the newest."""

    def _listing(self, jobs: list[JobStatus], before: int | None = None) -> Listing:
        return self.successResultOf(Deferred.fromCoroutine(listing(GivenJobs(*jobs), OWNER, own_jobs(), before)))

    def _pages(self, jobs: list[JobStatus]) -> list[Listing]:
        pages = [self._listing(jobs)]
        while pages[-1].older is not None:
            pages.append(self._listing(jobs, pages[-1].older))
        return pages

    def test_newest_first(self) -> None:
        """Jobs stand as they were found; the whole list is told as such."""
        found = self._listing([job("b"), job("c"), job("a")])
        self.assertEqual([nest.job.jobId[-1:] for nest in found.nests if nest.job.jobId], ["b", "c", "a"])
        self.assertTrue(found.complete)
        self.assertEqual(found.total, 3)

    def test_children(self) -> None:
        """Children stand below their parent, the newest of them; without it they stand for themselves."""
        children = [job(f"c{number}", parent="p") for number in range(CHILDREN + 3)]
        for jobs in ([*children, job("p")], [job("p"), *children]):
            orphan, parent = self._listing([job("orphan", parent="elsewhere"), *jobs]).nests
            self.assertEqual((orphan.job.jobId, orphan.children), ("https://localhost:9000/orphan", []))
            self.assertEqual(parent.children, children[:CHILDREN])
            self.assertTrue(parent.more)

    def test_place_of_a_parent(self) -> None:
        """A parent with more children than a page looks at stands on one page, and on no later one."""
        children = [job(f"c{number}", parent="p") for number in range(2 * WINDOW)]
        pages = self._pages([job("new"), *children, job("p"), job("old")])
        names = [[str(nest.job.jobId)[23:] for nest in page.nests] for page in pages]
        self.assertEqual(names, [["new", "p"], [], ["old"]])
        self.assertEqual([page.complete for page in pages], [False] * 3)

    def test_counts(self) -> None:
        """The states of all jobs that are looked at are counted, whatever the page shows."""
        jobs = [job(number, state=State.Done) for number in range(PAGE + 1)] + [job("x")]
        found = self._listing(jobs)
        self.assertEqual(found.counts, {State.Done: PAGE + 1, State.Running: 1})
        self.assertTrue(found.complete)
        self.assertEqual(len(found.nests), PAGE)

    @given(st.lists(st.tuples(st.integers(0, 90), st.none() | st.integers(0, 90)), max_size=200, unique_by=first_of))
    @settings(deadline=None, max_examples=50)
    def test_everything_once(self, drawn: list[tuple[int, int | None]]) -> None:
        """Over all pages each job stands for itself or below its parent, which stands once, even in circles."""
        jobs = [job(name, parent=parent) for name, parent in drawn]
        shown = [nest.job.jobId for page in self._pages(jobs) for nest in page.nests]
        self.assertEqual(len(shown), len(set(shown)))
        for each in jobs:
            self.assertTrue({each.jobId, each.parent_job} & set(shown))

    def test_bounds(self) -> None:
        """P10: a page holds PAGE jobs and their first children, and looks at no more than WINDOW jobs."""
        for number, pages in ((0, 1), (1, 1), (PAGE - 1, 1), (PAGE, 1), (PAGE + 1, 2), (2 * PAGE, 2)):
            self.assertEqual(len(self._pages([job(name) for name in range(number)])), pages)
        found = self._listing([job(number, parent="p") for number in range(3 * WINDOW)])
        self.assertEqual((found.total, found.complete), (WINDOW, False))


class Filters(SynchronousTestCase):
    """Forms without a script."""

    def _form(self, query: str) -> tuple[dict[str, str], Document]:
        """What a browser sends for the first form of a list, untouched."""
        page = Document(exchange(GivenJobs(job("a")), address.write("/", query)).body)
        fields: dict[str, str] = {}
        select = ""
        forms = 0
        for tag, attributes in page.elements:
            forms += tag == "form"
            if forms != 1:
                continue
            if tag == "input":
                fields[attributes["name"] or ""] = attributes["value"] or ""
            elif tag == "select":
                select = attributes["name"] or ""
            elif tag == "option" and (select not in fields or "selected" in attributes):
                fields[select] = attributes["value"] or ""
        return fields, page

    def test_untouched(self) -> None:
        """A form that is sent as it came asks the same as the page it is on, whatever stands in its query."""
        for query in (
            "owner=/CN=A B+C",
            "status=done&owner=/CN=é",
            "owner=/CN=A&jobtype=collection&lastupdatetime>past3600&donecode<>0|=1",
            'destination="<x>"&status=running',
        ):
            fields, _ = self._form(query)
            encoded = "&".join(f"{name}={re.sub('%20', '+', _form_encoded(value))}" for name, value in fields.items())
            asked = address.read(f"/?{encoded}".encode()).query or ""
            self.assertEqual(sorted(asked.split("&")), sorted(query.split("&")))

    def test_choices_are_understood(self) -> None:
        """Every choice that is offered is a condition that the grammar reads."""
        _, page = self._form("owner=a")
        name, tried = "", 0
        for tag, attributes in page.elements:
            if tag == "select":
                name = attributes["name"] or ""
            if tag == "option" and attributes["value"]:
                value = attributes["value"]
                read_query(f"{name}{value}" if value[0] in "<>" else f"{name}={value}", NOW)
                tried += 1
        self.assertGreater(tried, 15)

    def test_labels(self) -> None:
        """Every field of a form stands in its label, every form has a name."""
        _, page = self._form("owner=a")
        visible = [tag for tag, a in page.elements if tag == "select" or (tag == "input" and a.get("type") != "hidden")]
        self.assertEqual(page.tags.count("label"), len(visible))
        self.assertTrue(all(a.get("aria-label") for tag, a in page.elements if tag == "form"))

    def test_own(self) -> None:
        """The list of own jobs is narrowed by its owner; names that the grammar cannot express are not offered."""
        self.assertEqual(filters.own("/CN=A"), "owner=/CN=A")
        for name in ("/CN=A&B", "/CN=A|B", "=x"):
            self.assertIsNone(filters.own(name))

    def test_pages(self) -> None:
        """Links to other pages keep query and flags, and begin behind the last job that is shown."""
        jobs = GivenJobs(*(job(number) for number in range(3 * PAGE)))
        for before, places in (("", [2 * PAGE + 1]), (f"?before={2 * PAGE + 1}", [None, PAGE + 1])):
            page = Document(exchange(jobs, f"/?query=status=running?flags=children{before}").body)
            targets = [address.read(link.encode()) for link in page.links()]
            pages = [at for at in targets if at.flags == Flag.CHILDREN]
            self.assertEqual([at.before for at in pages], places)
            self.assertEqual({at.query for at in pages}, {"status=running"})

    def test_totals(self) -> None:
        """The heading says how many jobs there are, or that there are more."""
        for number, uri, words in (
            (11, "/", "Total of 11"),
            (2 * WINDOW, "/", f"The newest {WINDOW:,} of more jobs"),
            (11, "/?before=6", "5 older jobs"),
            (2 * WINDOW, f"/?before={2 * WINDOW}", f"The next {WINDOW:,} of more older jobs"),
        ):
            page = Document(exchange(GivenJobs(*(job(name) for name in range(number))), uri).body)
            self.assertIn(words, page.texts, uri)

    def test_empty_query(self) -> None:
        """A form without any condition leads back to own jobs."""
        jobs = GivenJobs(job("a"))
        self.assertEqual(exchange(jobs, "/?query=&status=&jobtype=").status, 200)
        self.assertEqual({query.jobs for query in jobs.queries}, {own_jobs().jobs})


def _form_encoded(value: str) -> str:
    """As browsers encode a field, blanks still as %20."""
    return "".join(
        character if re.fullmatch(r"[A-Za-z0-9*\-._]", character) else "".join(f"%{b:02X}" for b in character.encode())
        for character in value
    )
