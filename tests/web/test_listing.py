"""Lists of jobs: order, nesting, pages, and the forms that narrow them down."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.grammar import read_query
from lb.model.query import Flag
from lb.model.status import JobStatus, State
from lb.web import address, filters
from lb.web.listing import CHILDREN, PAGE, listing
from tests.web.fixture import NOW, Document, GivenJobs, exchange

SECOND = 1_000_000


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
    """Pure order and nesting."""

    def test_newest_first(self) -> None:
        """The jobs registered last come first, equals in the order of their ids."""
        found = listing([job("a", at=1), job("c", at=2), job("b", at=2)], 1)
        self.assertEqual([nest.job.jobId[-1:] for nest in found.nests if nest.job.jobId], ["b", "c", "a"])

    def test_children(self) -> None:
        """Children stand below their parent, the first of them; without it they stand for themselves."""
        children = [job(f"c{number}", parent="p", at=number + 1) for number in range(CHILDREN + 3)]
        found = listing([*children, job("p", at=1), job("orphan", parent="elsewhere", at=9)], 1)
        orphan, parent = found.nests
        self.assertEqual((orphan.job.jobId, orphan.children), ("https://localhost:9000/orphan", []))
        self.assertEqual(len(parent.children), CHILDREN)
        self.assertEqual(parent.more, 3)
        self.assertEqual(found.total, CHILDREN + 5)

    def test_counts(self) -> None:
        """The states of the whole list are counted, whatever its page shows."""
        jobs = [job(number, state=State.Done) for number in range(PAGE + 1)] + [job("x")]
        self.assertEqual(listing(jobs, 2).counts, {State.Done: PAGE + 1, State.Running: 1})

    @given(st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, 30), st.integers(0, 5)), max_size=200))
    @settings(deadline=None, max_examples=50)
    def test_everything_once(self, drawn: list[tuple[int, int | None, int]]) -> None:
        """Over all pages each job is shown or counted as more exactly once, even if parents go in circles."""
        jobs = [job(name, parent=parent, at=at + 1) for name, parent, at in drawn]
        first = listing(jobs, 1)
        shown: list[str | None] = []
        more = 0
        for page in range(1, first.last + 1):
            for nest in listing(jobs, page).nests:
                shown += [nest.job.jobId, *(child.jobId for child in nest.children)]
                more += nest.more
        self.assertEqual(len(shown), len(set(shown)))
        self.assertEqual(len(shown) + more, first.total)

    def test_bounds(self) -> None:
        """Pages hold PAGE jobs; a page beyond the last is the last."""
        for number, last in ((0, 1), (1, 1), (PAGE - 1, 1), (PAGE, 1), (PAGE + 1, 2), (2 * PAGE, 2)):
            found = listing([job(name) for name in range(number)], 999)
            self.assertEqual((found.last, found.page), (last, last))


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
        """Links to other pages keep query and flags."""
        jobs = GivenJobs(*(job(number) for number in range(3 * PAGE)))
        page = Document(exchange(jobs, "/?query=status=running?flags=children?page=2").body)
        targets = [address.read(link.encode()) for link in page.links()]
        pages = [at for at in targets if at.flags == Flag.CHILDREN]
        self.assertEqual([at.page for at in pages], [1, 1, 3, 3])
        self.assertEqual({at.query for at in pages}, {"status=running"})
        self.assertIn("Page 2 of 3", page.text)

    def test_empty_query(self) -> None:
        """A form without any condition leads back to own jobs."""
        jobs = GivenJobs(job("a"))
        self.assertEqual(exchange(jobs, "/?query=&status=&jobtype=").status, 200)
        self.assertEqual(jobs.queries, [])


def _form_encoded(value: str) -> str:
    """As browsers encode a field, blanks still as %20."""
    return "".join(
        character if re.fullmatch(r"[A-Za-z0-9*\-._]", character) else "".join(f"%{b:02X}" for b in character.encode())
        for character in value
    )
