"""Every recorded page of the C server is answered equivalently: status, and all words that scripts look for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from lb.model import notifid
from lb.model.registration import Registration
from lb.model.status import JobStatus, JobType, State
from lb.server.queryport import QueryPort
from lb.server.usage import LABELS
from lb.web import plain
from lb.web.jobs import Figure, ServerInfo
from lb.wire import http
from tests.server.fixture import OWNER, Server
from tests.web.fixture import VECTORS, Document, GivenJobs, exchange, questions, recorded
from tests.web.test_plain import RECORDED_JOB, utc

SINCE = 1_795_417_396
#: When recorded jobs entered their state, microseconds.
ENTERED = 1_795_417_891_000_000


class Registrations:
    """Those of a recorded list."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def sees_all(self, peer: Any) -> bool:
        return False

    def listed(self, peer: Any, *, own: bool = True, others: bool = False) -> list[Registration]:
        return [
            Registration(number, notifid.of_unique("localhost:9000", name), OWNER.name or "", "h:1", 1)
            for number, name in enumerate(self._names)
        ]

    def one(self, peer: Any, unique: str) -> Registration:
        raise NotImplementedError

    def trouble(self, one: Registration) -> str | None:
        return None


class Counted:
    """The figures of a recorded page."""

    def __init__(self, figures: list[Figure], *, restricted: bool = False) -> None:
        self._figures = figures
        self._restricted = restricted
        self.counted: list[str] = []

    def count(self, key: str) -> None:
        self.counted.append(key)

    def seen_by(self, peer: Any) -> bool:
        return not self._restricted

    def figures(self) -> list[Figure]:
        return self._figures


def cells(page: bytes) -> list[list[str]]:
    """The rows of a recorded or of our table."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page.decode(), re.DOTALL)
    found = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]*>", "", cell).replace("&amp;", "&").strip() for cell in row] for row in found]


class Recorded(SynchronousTestCase):
    """wire-web.md, page by page."""

    def setUp(self) -> None:
        """The zone of the recordings."""
        utc(self)

    def test_list(self) -> None:
        """60: each recorded job is linked, with its type and state; total, heading and subject as recorded."""
        _, answer = recorded("60-GET-root-html")
        row = r'<a href="[^"]*">([^<]*)</a> <span class="jobtype">&mdash; (\w+)</span> <span class="jobstate">(\w+)'
        told = re.findall(row, answer.body.decode())
        self.assertEqual(len(told), 11)
        types = {"Simple": JobType.SIMPLE, "Collection": JobType.COLLECTION, "Dag": JobType.DAG}
        jobs = [JobStatus(jobId=id_, jobtype=types[kind], state=State[state]) for id_, kind, state in told]
        page = Document(exchange(GivenJobs(*jobs), "/").body)
        self.assertIn("Total of 11", page.text)
        self.assertIn("User Jobs", page.texts)
        self.assertIn(f"User subject: {OWNER.name}", page.text)
        for jobid, kind, state in told:
            self.assertIn("/" + jobid.rpartition("/")[2], page.links())
            self.assertRegex(page.text, f"{re.escape(jobid)}{kind}{state}")

    def test_list_as_text(self) -> None:
        """60b: byte for byte."""
        uri, answer = recorded("60b-GET-root-text")
        ids = answer.body.decode().partition("=")[2].partition("\n")[0].split(",")
        self.assertEqual(exchange(GivenJobs(*(JobStatus(jobId=id_) for id_ in ids)), uri).body, answer.body)

    def test_job_as_text(self) -> None:
        """60d: byte for byte, but for the tag that broke its line."""
        uri, _ = recorded("60d-GET-job-text")
        self.assertEqual(exchange(GivenJobs(RECORDED_JOB), uri).body.decode(), plain.job(RECORDED_JOB))

    def test_stats(self) -> None:
        """60e: variables, values and times in the recorded cells; nothing is kept in /tmp, so nobody is warned."""
        uri, answer = recorded("60e-GET-stats")
        head, *rows = cells(answer.body)
        keys = {label: key for key, label in LABELS.items()}
        figures = [Figure(keys[label], label, int(number), SINCE) for label, number, _ in rows]
        self.assertEqual(len(figures), len(LABELS))
        response = exchange(GivenJobs(), uri, usage=Counted(figures))
        self.assertEqual(cells(response.body), [head, *rows])
        self.assertIn("LB Server Usage Statistics", Document(response.body).texts)
        self.assertNotIn(b"<b>WARNING", response.body)
        text = exchange(GivenJobs(), f"{uri}?text", usage=Counted(figures[:2])).body
        self.assertEqual(text.decode(), f"glite_jobs=10,{SINCE}\npbs_jobs=0,{SINCE}\n")

    def test_rss(self) -> None:
        """60f: byte for byte, its type aside (§1.2)."""
        uri, answer = recorded("60f-GET-RSS")
        jobs = [
            JobStatus(
                jobId=f"https://localhost:9000/{unique}",
                state=state,
                stateEnterTime=ENTERED,
                destination="destination CE/queue",
            )
            for unique, state in (("4zY2L2YDGCP0DxliDY6lhQ", State.Aborted), ("Kmknj-82ds96Z6D8wuPdyg", State.Done))
        ]
        headers = {"User-Agent": "t", "Host": "localhost:9000"}
        response = exchange(GivenJobs(*jobs), uri, headers=headers)
        self.assertEqual(response.body.decode(), answer.body.decode())
        self.assertEqual(response.headers["content-type"], "application/rss+xml; charset=utf-8")
        self.assertEqual(exchange(GivenJobs(*jobs), f"{uri}?text").headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(len(ElementTree.fromstring(response.body).findall("channel/item")), 2)

    def test_wsdl_absent(self) -> None:
        """60h, 60n, 60o: without the files, the recorded status and words."""
        for name in ("60h-GET-wsdl", "60n-GET-types", "60o-GET-agu"):
            uri, answer = recorded(name)
            response = exchange(GivenJobs(), uri)
            self.assertEqual((response.status, response.reason), (answer.status, answer.reason))
            words = "2: No such file or directory (WSDL File not found!)"
            self.assertIn(words, answer.body.decode())
            self.assertIn(words, Document(response.body).text)

    def test_wsdl(self) -> None:
        """With the files: as they are, but that they refer to each other on this server (§8.4)."""
        place = Path(self.mktemp())
        place.joinpath("interface").mkdir(parents=True)
        for name, content in (
            ("LB.wsdl", "<a href='LBTypes.wsdl'/><b href='LBTypes.wsdl'/>"),
            ("LBTypes.wsdl", "<types/>"),
            ("lb4agu.wsdl", "<agu/>"),
        ):
            place.joinpath("interface", name).write_text(content)
        where = (Path(self.mktemp()), place)
        response = exchange(GivenJobs(), "/?wsdl", wsdl=where, headers={"User-Agent": "t", "Host": "lb.example.org:9"})
        self.assertEqual(response.body, b"<a href='https://lb.example.org:9/?types'/><b href='LBTypes.wsdl'/>")
        self.assertEqual(response.headers["content-type"], "text/xml; charset=utf-8")
        self.assertEqual(exchange(GivenJobs(), "/?types", wsdl=where).body, b"<types/>")
        self.assertEqual(exchange(GivenJobs(), "/?agu?text", wsdl=where).headers["content-type"][:10], "text/plain")

    def test_registrations(self) -> None:
        """60j: byte for byte."""
        uri, answer = recorded("60j-GET-notif")
        names = answer.body.decode().strip().partition("=")[2].split(",")
        self.assertEqual(len(names), 4)
        self.assertEqual(exchange(GivenJobs(), uri, registrations=Registrations(names)).body, answer.body)

    def test_unanswered(self) -> None:
        """60k, 61: what the C server left without an answer gets one that says why (§9)."""
        for name, method, uri, status in (
            ("60k-GET-vmhost", "GET", "/VMHOST:x", 400),
            ("61-badmethod", "FOO", "/", 405),
        ):
            request, _, answer = VECTORS.joinpath(f"{name}.http").read_bytes().partition(b"<<<<<< RESPONSE\n")
            self.assertEqual(answer.strip(), b"")
            self.assertIn(f"{method} {uri} HTTP/1.1".encode(), request)
            self.assertEqual(exchange(GivenJobs(), uri, method=method).status, status)

    def test_bad_post(self) -> None:
        """61b: a protocol request is refused by its version first, then by its path."""
        request, _, answer = VECTORS.joinpath("61b-badpost.http").read_bytes().partition(b"<<<<<< RESPONSE\n")
        self.assertEqual(answer.strip(), b"")
        head, _, body = request.partition(b">>>>>> REQUEST\n")[2].replace(b"\r\n", b"\n").partition(b"\n\n")
        reader = http.RequestReader(max_body=1_000, hand_over=lambda each: not each.protocol_mode)
        (read,) = reader.feed(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body[:3])
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory)
        self.addCleanup(server.close)
        port: Any = QueryPort(questions(server))
        for agent, status in ((read.header("user-agent"), 415), ("edg_wll_Api/3.0/3.0", 400)):
            read.headers["user-agent"] = agent
            (response,) = http.ResponseReader().feed(self.successResultOf(port.answer(read, OWNER)))
            self.assertEqual((response.status, response.body), (status, b""))

    def test_all_are_here(self) -> None:
        """Every recorded page is named by a test of this module, or by those of pages that it leaves to others."""
        others = {"60g-GET-version", "60i-GET-configuration", "60l-GET-unknown"}  # tests.web.test_site
        written = Path(__file__).read_text()
        for path in VECTORS.glob("*.http"):
            self.assertTrue(path.stem in others or f'"{path.stem}' in written, path.stem)


class UsageCounters(SynchronousTestCase):
    """Which access counts as what (wire-web.md §1.4), and who may read the numbers."""

    def test_counted(self) -> None:
        """Each page counts once; what is refused for want of a certificate does not."""
        usage = Counted([])
        job = JobStatus(jobId="https://localhost:9000/abc", jobtype=0)
        for uri, key in {
            "/": "queries_html",
            "/abc": "queries_html",
            "/nosuch": "queries_html",
            "/?stats": "queries_html",
            "/?text": "queries_text",
            "/abc?text": "queries_text",
            "/?stats?text": "queries_text",
            "/?version": "queries_text",
            "/?configuration": "queries_text",
            "/?wsdl": "queries_text",
            "/RSS:running": "queries_rss",
            "/RSS:running?text": "queries_rss",
        }.items():
            exchange(GivenJobs(job), uri, usage=usage)
            self.assertEqual(usage.counted, [key], uri)
            usage.counted.clear()

    def test_restricted(self) -> None:
        """P7: with `--count-server-stats 2` others than administrators are refused in the C server's words."""
        response = exchange(GivenJobs(), "/?stats?text", usage=Counted([], restricted=True))
        self.assertEqual(response.status, 401)
        self.assertIn(b"Only superusers can view server usage statistics on this server.", response.body)


class Administrators(SynchronousTestCase):
    """The part of `?configuration` that is not for everybody."""

    class Told:
        """What a server tells its administrators."""

        def __init__(self, *, allowed: bool) -> None:
            self._allowed = allowed

        def sees_all(self, peer: Any) -> bool:
            return self._allowed

        async def facts(self) -> list[tuple[str, str, tuple[str, ...]]]:
            return [
                ("authz_policy_file", "Authorization policy file", ('resource "LB" {\n}',)),
                ("a", "Super Users", ()),
            ]

    def test_administrators(self) -> None:
        """P7: administrators alone are told; the policy is one line of text (§8.2)."""
        for allowed in (True, False):
            told = self.Told(allowed=allowed)
            text = exchange(GivenJobs(), "/?configuration?text", info=ServerInfo(), administration=told).body.decode()
            self.assertEqual('\nauthz_policy_file=resource \\"LB\\" {\\n}\na=\n' in text, allowed)
            page = Document(exchange(GivenJobs(), "/?configuration", administration=told).body)
            self.assertEqual('resource "LB" {\n}' in page.texts, allowed)
            self.assertEqual("Super Users" in page.texts, allowed)
