"""The JSON API: jobs and events out, conditions as parameters, answers in parts, what HTTP asks of every route."""

from __future__ import annotations

import errno
from pathlib import Path
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.model.grammar import read_query
from lb.model.jobid import parse
from lb.model.query import Query
from lb.security.identity import ANONYMOUS
from lb.web.api import parameters
from lb.web.api.limits import APILimits
from lb.web.api.service import accepts
from lb.wire.documents import event_document, status_document
from tests.server.fixture import OTHER, OWNER
from tests.web.api import Served, document
from tests.web.fixture import replay
from tests.wire_query.strategies import relaxed

NOW = 1_800_000_000
OWNED = quote(f"owner={OWNER.name}", safe="=/")


class Served100(SynchronousTestCase):
    """A collection of 100 jobs, and a job alone."""

    def setUp(self) -> None:
        """Replayed into a server side of its own."""
        self.served = Served(Path(self.mktemp()), APILimits(page_jobs=40))
        self.addCleanup(self.served.close)
        self.parent = replay(self.served.server, "collection-100")
        self.jobid = replay(self.served.server, "job-typical")
        self.unique = parse(self.jobid).unique


class Jobs(Served100):
    """What is told of jobs."""

    def test_one(self) -> None:
        """A job's document is its state as the client prints it; flags add to it."""
        status = self.served.server.lookup.status(OWNER, self.unique, parameters.FLAGS["childhist_fast"])
        found = self.served.get(f"/jobs/{self.unique}")
        self.assertEqual(found, status_document(status))
        self.assertEqual((found["state"], found["jobId"]), ("Cleared", self.jobid))
        self.assertNotIn("jdl", found)
        self.assertIn("jdl", self.served.get(f"/jobs/{self.unique}?flags=classadd,history"))
        children = self.served.get(f"/jobs/{parse(self.parent).unique}?flags=children+childhist_thorough")
        self.assertEqual((len(children["children"]), children["children_hist"]["Done"]), (100, 78))

    def test_events(self) -> None:
        """The events of a job, all of them, in event order."""
        events = self.served.server.lookup.events_of(OWNER, self.unique)
        self.assertGreater(len(events), 10)
        self.assertEqual(
            self.served.get(f"/jobs/{self.unique}/events"), {"events": [event_document(event) for event in events]}
        )

    def test_parts(self) -> None:
        """Whoever goes on from each cursor meets each job once, and nothing but the last part is short."""
        met, cursor = [], ""
        while cursor is not None:
            part = self.served.get(f"/jobs?limit=40{cursor}")
            met += [job["jobId"] for job in part["jobs"]]
            cursor = f"&cursor={quote_plus(part['next_cursor'])}" if "next_cursor" in part else None
            self.assertTrue(len(part["jobs"]) == 40 or cursor is None)
        self.assertEqual(len(met), 102)
        self.assertEqual(len(set(met)), 102)

    def test_bounded(self) -> None:
        """P10: a part has no more jobs than the bound, whatever is asked for."""
        self.assertEqual(len(self.served.get("/jobs")["jobs"]), 40)
        self.assertEqual(len(self.served.get("/jobs?limit=40")["jobs"]), 40)
        self.assertEqual(len(self.served.get("/jobs?limit=1")["jobs"]), 1)
        for limit in ("41", "0", "-1", "x", "1.5", "", "9" * 30):
            problem = document(self.served.ask("GET", f"/jobs?limit={limit}"), 400)
            self.assertEqual(problem["code"], errno.EINVAL)
            self.assertIn("limit", problem["detail"])

    def test_conditions(self) -> None:
        """Conditions as parameters, as one text, and raw in the address find the same jobs."""
        parent = quote(self.parent, safe="")
        for query, number in {
            f"parent_job={parent}&status=cleared": 22,
            f"parent_job={parent}&status=%3C%3Ecleared&limit=40": 40,
            f"parent_job={parent}&status<>cleared&donecode=1": 0,
            f"query={quote(f'parent_job={self.parent}&status=cleared')}": 22,
            f"query={quote(f'parent_job={self.parent}')}&status=cleared": 22,
            f"{OWNED}&jobtype=collection": 1,
            f"{OWNED}&jobtype=collection|=simple&lastupdatetime=%3E1000&limit=40": 40,
            f"{OWNED}&jobtype=collection&lastupdatetime=>last5": 0,
            f"jobid={quote(self.jobid)}": 1,
        }.items():
            self.assertEqual(len(self.served.get(f"/jobs?{query}")["jobs"]), number, query)

    def test_wrong_conditions(self) -> None:
        """What cannot be asked is refused in the words of the protocol, with its number."""
        for query, code in {
            "status=running": Code.NO_INDEX,
            "status=bogus": errno.EINVAL,
            "bogus=1": errno.EINVAL,
            "status": errno.EINVAL,
            "status=": errno.EINVAL,
            "level=1": errno.ENOSYS,
            f"{OWNED}&flags=nonsense": errno.EINVAL,
            f"{OWNED}&limit=1&limit=2": errno.EINVAL,
            "usertag=x": errno.EINVAL,
        }.items():
            response = self.served.ask("GET", f"/jobs?{query}")
            self.assertEqual(response.headers["content-type"], "application/problem+json")
            self.assertEqual(document(response, 501 if code == errno.ENOSYS else 400)["code"], code, query)
        document(self.served.ask("GET", f"/jobs/{self.unique}?limit=3"), 400)

    def test_who(self) -> None:
        """P7: nobody gets what only others may read; lists leave it out, a single job is refused."""
        self.assertEqual(self.served.get("/jobs", OTHER), {"jobs": []})
        self.assertEqual(self.served.get(f"/jobs?{OWNED}", OTHER), {"jobs": []})
        for path in (f"/jobs/{self.unique}", f"/jobs/{self.unique}/events"):
            problem = document(self.served.ask("GET", path, peer=OTHER), 403)
            self.assertEqual((problem["code"], problem["detail"]), (errno.EPERM, "not owner"))
        for path in ("/jobs", f"/jobs/{self.unique}", f"/jobs/{self.unique}/events", "/stats"):
            response = self.served.ask("GET", path, peer=ANONYMOUS)
            self.assertEqual(document(response, 401)["code"], errno.EPERM)

    def test_missing(self) -> None:
        """An unknown job, and a path that leads nowhere."""
        for path in ("/jobs/nosuch", "/jobs/nosuch/events", "/nosuch", "/jobs/a/b", "/jobs//events", "/jobs/"):
            self.assertEqual(document(self.served.ask("GET", path), 404)["code"], errno.ENOENT, path)


class HTTP(Served100):
    """Methods, types, tags."""

    def test_head(self) -> None:
        """HEAD tells what GET would, without it."""
        for path in (f"/jobs/{self.unique}", "/jobs", "/jobs/nosuch", "/openapi.json"):
            connection = self.served.connect()
            got = connection.ask("GET", path)
            head = connection.ask("HEAD", path)
            self.assertEqual((head.status, head.body.strip()), (got.status, b""))
            for name in ("etag", "content-type", "content-length"):
                self.assertEqual(head.headers.get(name), got.headers.get(name))

    def test_methods(self) -> None:
        """What a path does not do is 405 with what it does; OPTIONS tells it to everybody."""
        for path, allowed in {
            f"/jobs/{self.unique}": "GET, HEAD, OPTIONS",
            "/events": "OPTIONS, POST",
        }.items():
            for peer in (OWNER, ANONYMOUS):
                options = self.served.ask("OPTIONS", path, peer=peer)
                self.assertEqual((options.status, options.headers["allow"], options.body), (204, allowed, b""))
                self.assertNotIn("access-control-allow-origin", options.headers)
            for method in ("PUT", "DELETE", "PATCH", "TRACE", "FOO", *({"GET", "POST"} - set(allowed.split(", ")))):
                refused = self.served.ask(method, path)
                self.assertEqual((refused.status, refused.headers["allow"]), (405, allowed), method)

    def test_types(self) -> None:
        """Who takes no JSON is told so."""
        for header, status in {
            "application/json": 200,
            "text/html, */*;q=0.1": 200,
            "application/*": 200,
            "text/html": 406,
            "application/json;q=0, */*": 406,
        }.items():
            self.assertEqual(self.served.ask("GET", "/jobs", Accept=header).status, status, header)

    @given(st.text(max_size=40))
    @relaxed
    def test_any_accept(self, header: str) -> None:
        """P10: any Accept header is read."""
        self.assertIn(accepts(header, "application/json"), (True, False))

    def test_tags(self) -> None:
        """Who has a job's document already gets no second one, until the job changes."""
        tag = self.served.ask("GET", f"/jobs/{self.unique}").headers["etag"]
        connection = self.served.connect()
        for held in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = connection.ask("GET", f"/jobs/{self.unique}", If_None_Match=held)
            self.assertEqual((again.status, again.body, again.headers["etag"]), (304, b"", tag))
        self.served.post({"type": "UserTag", "jobId": self.jobid, "name": "n", "value": "v"})
        self.assertEqual(connection.ask("GET", f"/jobs/{self.unique}", If_None_Match=tag).status, 200)

    def test_headers(self) -> None:
        """Answers of the API are as guarded as pages."""
        headers = self.served.ask("GET", "/jobs").headers
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertEqual(headers["content-type"], "application/json")


class Parameters(SynchronousTestCase):
    """The grammar of parameters is that of addresses."""

    @given(st.text(st.sampled_from("abst=<>&|%+ 0"), max_size=20))
    @relaxed
    def test_anything(self, text: str) -> None:
        """P10: any text behind the question mark is a question or an error."""
        try:
            query = parameters.read(text, parameters.LIMIT, conditions=True).query(NOW)
        except LBError as error:
            self.assertIn(error.code, (errno.EINVAL, errno.ENOSYS))
        else:
            self.assertIsInstance(query, Query)

    @given(st.text(min_size=1, max_size=12).filter(lambda text: text[0] not in "=<>|" and "|" not in text))
    @relaxed
    def test_values(self, value: str) -> None:
        """Any value without operators comes through, also those that an address cannot express."""
        encoded = quote_plus(value.encode("utf-8", "replace"))
        wanted = value.encode("utf-8", "replace").decode()
        (group,) = parameters.read(f"owner={encoded}", conditions=True).query(NOW).jobs
        self.assertEqual([condition.value for condition in group], [wanted])
        if "&" not in wanted:
            self.assertEqual(read_query(f"owner={wanted}", NOW).jobs, (group,))
