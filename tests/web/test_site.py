"""The site: who gets pages, what is refused before any is made, what goes with every answer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import lb
from lb.model.errors import Code, LBError
from lb.model.jobid import parse
from lb.model.status import JobStatus, State
from lb.security.identity import ANONYMOUS, Identity, UnverifiedPeerError
from lb.security.policy import Policy
from lb.web.assets import ICON, LIVE, STYLE
from lb.web.jobs import ServerInfo
from lb.web.site import MAX_LINE, site
from lb.wire import http
from tests.server.fixture import OTHER, OWNER, Server
from tests.web.fixture import Document, GivenJobs, exchange, questions, recorded, replay

JOB = JobStatus(state=State.Running, jobId="https://localhost:9000/abc", owner=OWNER.name, jobtype=0)
#: One address of each kind of page and of refusal.
ADDRESSES = ("/", "/?query=owner=a", "/abc", "/?configuration", "/?version", "/nosuch", "/?stats", "/NOTIF:", "/a/b")


class Failing:
    """Fails every question in the same way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        async def fail() -> None:
            raise self._error

        return lambda *arguments: Deferred.fromCoroutine(fail())


class Asking:
    """A connection of a browser that stays open."""

    def __init__(self, jobs: Any, peer_of: Callable[[Any], Identity] = lambda transport: OWNER) -> None:
        self.transport = StringTransport()
        self.clock = Clock()
        self.channel: Any = site(jobs, self.clock, peer_of).buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> list[http.Response]:
        """What comes back for it."""
        self.transport.clear()
        self.channel.dataReceived(data)
        return http.ResponseReader().feed(self.transport.value())


class Headers(SynchronousTestCase):
    """What goes with every answer."""

    def test_slow_head(self) -> None:
        """P10: a head that comes byte by byte, or line by line, has the time of one, however often something comes."""
        lines = [b"GET / HTTP/1.1\r\n", *(b"a%d: b\r\n" % number for number in range(10))]
        for pieces in ([b"%c" % byte for byte in b"GET /?version"], lines):
            asking = Asking(GivenJobs(JOB))
            self.assertEqual(len(asking.send(b"GET /?version HTTP/1.1\r\nUser-Agent: x\r\n\r\n")), 1)
            limit = asking.channel.factory.timeOut
            asking.send(pieces[0])
            for number in range(1, 10):
                asking.clock.advance(limit / 10)
                asking.send(pieces[number])
            self.assertFalse(asking.transport.disconnecting)
            asking.clock.advance(limit / 10)
            self.assertTrue(asking.transport.disconnecting)
            asking.channel.connectionLost(Failure(ConnectionDone()))

    def test_policy(self) -> None:
        """Every answer, good or bad, carries the strict policy and is never kept or framed."""
        for uri in ADDRESSES:
            for peer in (OWNER, ANONYMOUS):
                headers = exchange(GivenJobs(JOB), uri, peer).headers
                policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
                self.assertEqual(policy.pop("default-src"), "'none'")
                self.assertEqual(policy.pop("style-src"), "'self'")
                self.assertEqual(policy.pop("script-src"), "'self'")
                self.assertEqual(policy.pop("connect-src"), "'self'")
                self.assertEqual(policy.pop("img-src"), "'self'")
                self.assertEqual(policy.pop("form-action"), "'self'")
                self.assertEqual(policy, {"base-uri": "'none'", "frame-ancestors": "'none'"})
                self.assertEqual(headers["x-content-type-options"], "nosniff")
                self.assertEqual(headers["referrer-policy"], "no-referrer")
                self.assertEqual(headers["cache-control"], "no-cache")

    def test_types(self) -> None:
        """HTML and plain text with their charset; the server calls itself as the C server does."""
        for uri, content_type in {
            "/": "text/html; charset=utf-8",
            "/nosuch": "text/html; charset=utf-8",
            "/?text": "text/plain; charset=utf-8",
            "/nosuch?text": "text/plain; charset=utf-8",
            "/?version": "text/plain; charset=utf-8",
        }.items():
            headers = exchange(GivenJobs(JOB), uri).headers
            self.assertEqual(headers["content-type"], content_type, uri)
            self.assertEqual(headers["server"], http.SERVER_NAME)

    def test_assets(self) -> None:
        """Stylesheet and icon have addresses of their content and are kept for good; others there are nothing."""
        for asset in (STYLE, ICON, LIVE):
            response = exchange(GivenJobs(), asset.path)
            self.assertEqual((response.status, response.body), (200, asset.content))
            self.assertIn("immutable", response.headers["cache-control"])
        for path in ("/static/lb.css", "/static/../lb.css", "/static/", "/static/lb-000000000000.css"):
            self.assertEqual(exchange(GivenJobs(JOB), path).status, 400, path)

    def test_assets_load_nothing(self) -> None:
        """Neither the stylesheet nor the icon nor the script names anything else to load, or builds code of text."""
        self.assertNotRegex(LIVE.content, rb"(?i)eval|innerHTML|new Function|document\.write")
        for asset in (STYLE, ICON, LIVE):
            content = asset.content.replace(b"http://www.w3.org/2000/svg", b"").replace(b"new URL(main.", b"")
            self.assertNotRegex(content, rb"(?i)url\(|@import|https?:")


class Authorisation(SynchronousTestCase):
    """P7: pages are for those whom the server side lets read."""

    def setUp(self) -> None:
        """A real server side with a replayed job of the owner's."""
        path = Path(self.mktemp())
        path.mkdir()
        self.server = Server(path, Policy.open())
        self.addCleanup(self.server.close)
        self.jobid = replay(self.server, "job-typical")
        self.path = "/" + parse(self.jobid).unique
        self.jobs = questions(self.server)

    def test_anonymous(self) -> None:
        """Who shows no certificate gets nothing but the word that says so, whatever is asked for (wire-web.md §1)."""
        for uri in (*ADDRESSES, self.path, f"{self.path}?text", f"/?query=jobid={self.jobid}"):
            response = exchange(self.jobs, uri, ANONYMOUS)
            self.assertEqual(response.status, 401, uri)
            self.assertIn(b"user not authenticated", response.body)
            self.assertNotIn(b"LRMS", response.body)
            self.assertNotIn(lb.__version__.encode(), response.body)

    def test_unverified(self) -> None:
        """A certificate that was not verified counts as none, and the connection lives on."""

        def unverified(transport: Any) -> Identity:
            raise UnverifiedPeerError("resumed")

        asking = Asking(self.jobs, unverified)
        for _ in range(2):
            (response,) = asking.send(b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n")
            self.assertEqual(response.status, 401)

    def test_owner(self) -> None:
        """The owner finds the job in the list and under its address, with its events."""
        self.assertIn(self.jobid, Document(exchange(self.jobs, "/").body).text)
        page = Document(exchange(self.jobs, self.path).body)
        self.assertIn("Cleared", page.text)
        for type_ in ("RegJob", "EnQueued", "Match", "Running", "Done"):
            self.assertIn(type_, page.texts)

    def test_others(self) -> None:
        """Somebody else is refused the job, and finds it in no list."""
        for uri in (self.path, f"{self.path}?text"):
            response = exchange(self.jobs, uri, OTHER)
            self.assertEqual(response.status, 401)
            self.assertIn(b"not owner", response.body)
            self.assertNotIn(b"LRMS", response.body)
        for uri in ("/", f"/?query=owner={OWNER.name}".replace(" ", "%20"), f"/?query=jobid={self.jobid}"):
            response = exchange(self.jobs, uri, OTHER)
            self.assertIn(response.status, (401, 404), uri)
            self.assertEqual([link for link in Document(response.body).links() if link == self.path], [], uri)

    def test_query(self) -> None:
        """Queries lead to the job by its owner, and to nothing when they do not fit it."""
        owner = f"owner={OWNER.name}".replace(" ", "%20")
        for query, status in {
            f"{owner}&status=cleared": 200,
            f"{owner}&status=cleared|=running&lastupdatetime<past60": 200,
            f"jobid={self.jobid}": 200,
            f"{owner}&status=running": 404,
            "status=cleared": 503,
            "status=bogus": 579,
            "level=1": 501,
        }.items():
            self.assertEqual(exchange(self.jobs, f"/?query={query}").status, status, query)
            self.assertEqual(exchange(self.jobs, f"/?text?query={query}").status, status, query)


class Refusals(SynchronousTestCase):
    """Errors and their statuses (wire-web.md §9)."""

    def test_statuses(self) -> None:
        """Each error of the server side has its status; text and HTML agree and say what it was."""
        for code, status in {
            errno.EPERM: 401,
            errno.ENOENT: 404,
            errno.EIDRM: 410,
            errno.EINVAL: 579,
            errno.ENOSYS: 501,
            int(Code.NO_INDEX): 503,
            errno.EIO: 500,
        }.items():
            failing = Failing(LBError(code, "for <this> reason"))
            for uri in ("/abc", "/", "/?query=owner=a"):
                response = exchange(failing, uri)
                self.assertEqual((response.status, response.reason), (status, http.REASONS[status]))
                self.assertIn(f"{code}: {LBError(code, 'for <this> reason')}", Document(response.body).text)
                text = exchange(failing, f"{uri}?text")
                self.assertEqual(text.status, status)
                self.assertTrue(text.body.startswith(f"Error={http.REASONS[status]}\nCode={code}\n".encode()))

    def test_recorded(self) -> None:
        """An unknown job as recorded: the heading and the words that scripts look for."""
        uri, answer = recorded("60l-GET-unknown")
        response = exchange(GivenJobs(JOB), uri)
        self.assertEqual((response.status, response.reason), (answer.status, answer.reason))
        words = answer.body.decode().partition("</h1>\n")[2].partition("</body>")[0]
        self.assertIn(words, unescape(response.body.decode()))
        self.assertIn("<h1>Not Found</h1>", response.body.decode())

    def test_requests(self) -> None:
        """What is no request for a page is refused with its own status."""
        for method, status in {"POST": 501, "DELETE": 405, "HEAD": 405, "FOO": 405}.items():
            headers = {"User-Agent": "t", **({"Content-Length": "0"} if method == "POST" else {})}
            request = f"{method} / HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            asking = Asking(GivenJobs(JOB))
            asking.channel.dataReceived(f"{request}\r\n".encode())
            self.assertTrue(asking.transport.value().startswith(b"HTTP/1.1 %d " % status), method)
        self.assertEqual(exchange(GivenJobs(JOB), "/", headers={}).status, 400)

    def test_addresses(self) -> None:
        """Addresses that lead nowhere say so; names of other things are never jobs."""
        for uri, status in {
            "/a/b": 400,
            "/NOTIF": 501,
            "/NOTIF:x": 501,
            "/RSS:x": 579,
            "/VMHOST:x": 400,
            "/favicon.ico": 404,
            "/?stats": 501,
            "/?wsdl": 500,
            "//": 400,
            "nosuch": 400,
            "*": 400,
            "/nosuch": 404,
        }.items():
            self.assertEqual(exchange(GivenJobs(JOB), uri).status, status, uri)

    def test_our_mistakes(self) -> None:
        """A mistake of ours is logged and answered, never with what went wrong inside."""
        response = exchange(Failing(RuntimeError("secret inside")), "/abc")
        self.assertEqual(response.status, 500)
        self.assertNotIn(b"secret", response.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_hostile_addresses(self) -> None:
        """What stands in an address comes back as text; bytes beyond ASCII are no address (RFC 3986)."""
        response = exchange(GivenJobs(JOB), "/<script>alert(1)</script>".replace("</", "<."))
        self.assertEqual(response.status, 404)
        self.assertNotIn("script", Document(response.body).tags)
        self.assertIn("<script>alert(1)", Document(response.body).text)
        self.assertEqual(exchange(GivenJobs(JOB), "/\udcff").status, 400)


class Connections(SynchronousTestCase):
    """Browsers' connections."""

    REQUEST = b"GET /abc?text HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\n\r\n"

    def test_cut_anywhere(self) -> None:
        """A request may come in any pieces; the connection serves the next one too."""
        for cut in range(1, len(self.REQUEST)):
            asking = Asking(GivenJobs(JOB))
            self.assertEqual(asking.send(self.REQUEST[:cut]), [])
            (response,) = asking.send(self.REQUEST[cut:])
            self.assertEqual(response.status, 200)
            self.assertEqual(asking.send(self.REQUEST)[0].status, 200)

    def test_bodies_are_not_read(self) -> None:
        """A request with a body is answered at once and is the last one: its body is no request (P10)."""
        asking = Asking(GivenJobs(JOB))
        head = b"GET /abc?text HTTP/1.1\r\nHost: x\r\nUser-Agent: t\r\nContent-Length: 9999999999\r\n\r\n"
        (response,) = asking.send(head + self.REQUEST)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["connection"], "close")
        self.assertTrue(asking.transport.disconnecting)

    def test_long_line(self) -> None:
        """A line beyond the bound is refused before it is complete; one within it is taken (P10)."""
        line = b"GET /abc?text?x=" + b"x" * (MAX_LINE - 200)
        self.assertEqual(Asking(GivenJobs(JOB)).send(line + self.REQUEST[13:])[0].status, 200)
        asking = Asking(GivenJobs(JOB))
        (response,) = asking.send(b"GET /" + b"x" * (2 * MAX_LINE))
        self.assertEqual(response.status, 400)
        self.assertTrue(asking.transport.disconnecting)

    def test_gone(self) -> None:
        """A browser that goes away ends the question that was asked for it, without a trace."""
        cancelled: list[bool] = []

        class Slow(GivenJobs):
            def status(self, *arguments: Any) -> Any:
                return Deferred(lambda asked: cancelled.append(True))

        asking = Asking(Slow())
        self.assertEqual(asking.send(self.REQUEST), [])
        asking.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(cancelled, [True])


class ServerPages(SynchronousTestCase):
    """Pages about the server."""

    INFO = ServerInfo(
        version="3.0.18",
        identity="/C=CZ/O=LB Reference Test/CN=localhost",
        prefixes=("grid.emi.",),
    )
    PEER = Identity("/C=CZ/O=LB Reference Test/CN=Test User")

    def test_version(self) -> None:
        """The version alone, as recorded, with and without ?text."""
        uri, answer = recorded("60g-GET-version")
        for asked in (uri, f"{uri}?text"):
            self.assertEqual(exchange(GivenJobs(), asked, info=self.INFO).body, answer.body)

    def test_configuration(self) -> None:
        """The facts as recorded: labels, values, rows without any."""
        uri, answer = recorded("60i-GET-configuration")
        ours = Document(exchange(GivenJobs(), uri, self.PEER, info=self.INFO).body)
        theirs = Document(answer.body)
        for text in filter(None, map(str.strip, theirs.texts)):
            if not text.startswith("tr."):  # the recording's inline style
                self.assertIn(text, map(str.strip, ours.texts))

    def test_configuration_text(self) -> None:
        """The same in lines."""
        self.assertEqual(
            exchange(GivenJobs(), "/?configuration?text", self.PEER, info=self.INFO).body.decode(),
            "server_version=3.0.18\n"
            "server_identity=/C=CZ/O=LB Reference Test/CN=localhost\n"
            "client_identity=/C=CZ/O=LB Reference Test/CN=Test User\n"
            "server_indices=STD_owner,STD_location,STD_destination,STD_lastUpdateTime\n"
            "msg_brokers=\n"
            "msg_prefixes=grid.emi.\n",
        )
