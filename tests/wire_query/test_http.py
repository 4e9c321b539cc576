"""HTTP messages of the query protocol."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code
from lb.wire import http
from lb.wire.http import MAX_LINE, Refusal, Request, RequestReader, ResponseReader
from lb.wire.http_status import REASONS, Operation, failure, status_of
from lb.wire.lbxml import results
from tests.wire_query.exchanges import body, exchanges, protocol_exchanges
from tests.wire_query.strategies import cuts, mutations, pieces, relaxed

ASKED = [e.asked for e in exchanges()]
ANSWERED = [e.answered for e in exchanges() if e.answered]

HEAD = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST /queryJobs HTTP/1.1\r\nAccept: application/x-dglb\r\nContent-Length: %d\r\n\r\n%b"

Seen = list[tuple[str, str, dict[str, str], bytes, bytes]]


def seen(messages: list[Request]) -> Seen:
    return [(m.method, m.path, m.headers, m.body, m.head) for m in messages]


def read(chunks: list[bytes], **options: int) -> tuple[Seen, Refusal | None]:
    reader = RequestReader(**options)  # type: ignore[arg-type]
    found = [request for chunk in chunks for request in reader.feed(chunk)]
    return seen(found), reader.refusal


def refusal(data: bytes, **options: int) -> Refusal:
    _, refused = read([data], **options)
    assert refused is not None
    return refused


class RequestTests(SynchronousTestCase):
    def test_recorded(self) -> None:
        """Every recorded request is read whole, and its mode told by its Accept header."""
        for exchange in exchanges():
            reader = RequestReader()
            [request] = reader.feed(exchange.asked)
            self.assertTrue(reader.idle)
            self.assertEqual(request.head + request.body, exchange.asked)
            recorded_by_client = not exchange.name.startswith("web-") or "badpost" in exchange.name
            self.assertEqual(request.protocol_mode, recorded_by_client, exchange.name)

    def test_rewritten(self) -> None:
        """The head that is written is that of C clients, byte for byte."""
        for exchange in protocol_exchanges():
            [request] = RequestReader().feed(exchange.asked)
            self.assertEqual(http.request(request.method, request.path, request.body), exchange.asked)

    @relaxed
    @given(st.lists(st.sampled_from(ASKED), max_size=4).map(b"".join) | mutations(ASKED), cuts)
    def test_any_split(self, data: bytes, places: list[int]) -> None:
        """Pipelined, damaged or whole: the result does not depend on where the stream is cut."""
        self.assertEqual(read(pieces(data, places)), read([data]))

    def test_byte_by_byte(self) -> None:
        """A request that trickles in one byte at a time is read like any other."""
        data = ASKED[0] + ASKED[-1]
        self.assertEqual(read([data[i : i + 1] for i in range(len(data))]), read([data]))

    @relaxed
    @given(st.binary(max_size=200) | st.text(st.sampled_from("GET /:\r\n H1.P"), max_size=60).map(str.encode))
    def test_anything(self, data: bytes) -> None:
        """Any bytes give requests or a refusal with a status."""
        _, refused = read([data, data])
        self.assertIn(refused and refused.status, (None, 400, 413))

    def test_headers(self) -> None:
        """Headers are found whatever their case; repeated ones are joined."""
        [request] = RequestReader().feed(HEAD + b"ACCEPT: text/html\r\naccept:application/x-dglb \r\n\r\n")
        self.assertEqual(request.header("Accept"), "text/html, application/x-dglb")
        self.assertTrue(request.protocol_mode)
        self.assertIsNone(request.header("Cookie"))

    def test_refused(self) -> None:
        """What breaks the rules of framing is refused with 400, and nothing after it is read."""
        for data in (
            b"GET /\r\n\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET nowhere HTTP/1.1\r\n\r\n",
            b" / HTTP/1.1\r\n\r\n",
            HEAD + b"no colon\r\n\r\n",
            HEAD + b": no name\r\n\r\n",
            HEAD + b"Folded: a\r\n b: c\r\n\r\n",
            HEAD + b"A: b\nC: d\r\n\r\n",
            HEAD + b"A: \0\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            HEAD + b"Content-Length: five\r\n\r\n",
            HEAD + b"Content-Length: -5\r\n\r\n",
            HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"POST /queryJobs HTTP/1.1\r\nAccept: application/x-dglb\r\n\r\n",
        ):
            requests, refused = read([ASKED[0] + data + ASKED[0], ASKED[0]])
            self.assertEqual(len(requests), 1, data)
            self.assertEqual(refused and refused.status, 400, data)

    def test_line_bounds(self) -> None:
        """P10: lines up to the bound are taken, longer ones refused in the C server's words, finished or not."""

        def first(length: int) -> bytes:
            return b"GET /%b HTTP/1.1" % (b"x" * (length - len("GET / HTTP/1.1")))

        header = b"X: " + b"y" * (MAX_LINE - 3)
        for accepted in (first(MAX_LINE - 1), first(MAX_LINE), HEAD + header[:-1], HEAD + header):
            requests, refused = read([accepted.removesuffix(b"\r\n") + b"\r\n\r\n"])
            self.assertEqual((len(requests), refused), (1, None))
        first_refusal = Refusal(400, "HTTP Request FIRST line too long")
        head_refusal = Refusal(400, "HTTP Request HEAD line too long")
        self.assertEqual(refusal(first(MAX_LINE + 1) + b"\r\n\r\n"), first_refusal)
        self.assertEqual(refusal(b"x" * (MAX_LINE + 2)), first_refusal)
        self.assertEqual(refusal(HEAD + header + b"y\r\n\r\n"), head_refusal)
        self.assertEqual(refusal(HEAD + header + b"yy"), head_refusal)
        self.assertIsNone(read([HEAD + header + b"\r"])[1])

    def test_head_bound(self) -> None:
        """P10: a head of many lines is refused beyond its bound."""
        head = HEAD + b"A: b\r\n" * 100
        self.assertIsNone(read([head + b"\r\n"], max_head=len(head) + 1)[1])
        self.assertIsNone(read([head + b"\r\n"], max_head=len(head))[1])
        self.assertEqual(refusal(head + b"\r\n", max_head=len(head) - 1).reason, "HTTP Request HEAD too long")

    def test_body_bound(self) -> None:
        """P10: a body is refused by its announced length, before it arrives."""
        for length in (9, 10):
            requests, refused = read([POST % (length, b"b" * length)], max_body=10)
            self.assertEqual((requests[0][3], refused), (b"b" * length, None))
        self.assertEqual(refusal(POST % (11, b""), max_body=10).status, 413)
        self.assertEqual(refusal(HEAD + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n").status, 413)

    def test_idle(self) -> None:
        """A connection may end between requests, not within one."""
        reader = RequestReader()
        self.assertTrue(reader.idle)
        for data, idle in ((ASKED[0][:10], False), (ASKED[0][10:-5], False), (ASKED[0][-5:], True), (b"\r\n", True)):
            reader.feed(data)
            self.assertEqual(reader.idle, idle)


class HandOverTests(SynchronousTestCase):
    @relaxed
    @given(cuts)
    def test_hand_over(self, places: list[int]) -> None:
        """From the first request for another implementation on, every byte is handed to that, none lost or doubled."""
        web = next(e.asked for e in exchanges() if e.name.startswith("web-60-"))
        reader = RequestReader(hand_over=lambda request: not request.protocol_mode)
        found: list[Request] = []
        handed = b""
        for chunk in pieces(ASKED[0] + web + ASKED[0], places):
            found += reader.feed(chunk)
            if reader.handed_over is not None:
                handed += reader.take_rest()
        self.assertEqual([request.path for request in found], ["/queryJobs"])
        assert reader.handed_over is not None
        self.assertEqual(reader.handed_over.path, "/")
        self.assertEqual(handed, web + ASKED[0])

    def test_forged(self) -> None:
        """P7: what a page of another site has a browser send is never taken for the protocol, whatever it accepts."""
        forged = http.request("POST", "/notifRequest", b"<x/>")
        for header in (b"Origin: https://evil.example", b"origin: null", b"Sec-Fetch-Site: cross-site"):
            reader = RequestReader(hand_over=lambda request: not request.protocol_mode)
            self.assertEqual(reader.feed(forged.replace(b"\r\n", b"\r\n" + header + b"\r\n", 1)), [])
            self.assertIsNotNone(reader.handed_over)
        self.assertEqual(len(RequestReader(hand_over=lambda request: not request.protocol_mode).feed(forged)), 1)

    def test_before_the_rules(self) -> None:
        """What this codec would refuse is left to the other one: chunked bodies, other methods."""
        reader = RequestReader(hand_over=lambda request: True)
        data = b"PUT * HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        self.assertEqual(reader.feed(data), [])
        self.assertIsNone(reader.refusal)
        self.assertEqual(reader.take_rest(), data)


class ResponseTests(SynchronousTestCase):
    def test_recorded(self) -> None:
        """Every recorded answer is read, and its head written again byte for byte."""
        for data in ANSWERED:
            reader = ResponseReader()
            [response] = reader.feed(data)
            self.assertIsNone(reader.error)
            kind = response.headers["content-type"]
            self.assertEqual(http.response(response.status, response.body, content_type=kind), data)

    @relaxed
    @given(st.lists(st.sampled_from(ANSWERED), max_size=3).map(b"".join) | mutations(ANSWERED[:4]), cuts)
    def test_any_split(self, data: bytes, places: list[int]) -> None:
        """The result does not depend on where the stream is cut."""

        def result(chunks: list[bytes]) -> object:
            reader = ResponseReader()
            found = [response for chunk in chunks for response in reader.feed(chunk)]
            return [(r.status, r.reason, r.headers, r.body) for r in found], reader.refusal

        self.assertEqual(result(pieces(data, places)), result([data]))

    def test_no_body(self) -> None:
        """A response without length has no body, and is written so."""
        self.assertEqual(
            http.response(415),
            b"HTTP/1.1 415 Unsupported Media Type\r\nCache-Control: no-cache\r\n"
            b"Server: edg_wll_Server/3.0/3.0\r\nContent-Type: application/x-dglb\r\n\r\n",
        )
        first, second = ResponseReader().feed(http.response(202) + http.response(200, b"x"))
        self.assertEqual((first.status, first.reason, first.body), (202, "Accepted", b""))
        self.assertEqual(second.body, b"x")

    def test_reason(self) -> None:
        """A refusal's own words go into the status line."""
        self.assertTrue(http.response(400, reason="No!").startswith(b"HTTP/1.1 400 No!\r\n"))

    def test_broken(self) -> None:
        """A server that does not speak the protocol is error 1408, which says what came."""
        for data in (b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1\r\n\r\n"):
            reader = ResponseReader()
            self.assertEqual(reader.feed(data), [])
            assert reader.error is not None
            self.assertEqual(reader.error.code, Code.SERVER_RESPONSE)
            self.assertIn(data[:4].decode(), reader.error.description)


class VersionTests(SynchronousTestCase):
    def test_browsers(self) -> None:
        """Browsers, which cannot call themselves otherwise for a page, do not pass for clients of the protocol."""
        for agent in (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
        ):
            self.assertEqual(http.negotiate(agent), 415)

    def test_negotiation(self) -> None:
        """Protocol 3.0 is spoken with whoever can speak it, by name or by list."""
        for agent, status in [
            ("edg_wll_Api/3.0/3.0", 200),
            ("other/3.0.18/3.0", 200),
            ("edg_wll_Api/4.0/3.0,4.0", 200),
            ("edg_wll_Api/4.0/4.0", 415),
            ("edg_wll_Api/2.1/2.0,2.1", 415),
            ("edg_wll_Api/x/y", 415),
            ("edg_wll_Api/9999999999999999999999/3.0", 415),
            ("foo/3.0", 415),
            ("curl", 400),
            (None, 400),
        ]:
            self.assertEqual(http.negotiate(agent), status, agent)


class StatusTests(SynchronousTestCase):
    def test_statuses(self) -> None:
        """Errors get the status of their operation; what no table names is a server error."""
        for operation, code, status in [
            (Operation.QUERY, 0, 200),
            (Operation.QUERY, errno.EINVAL, 401),
            (Operation.QUERY, errno.EIDRM, 410),
            (Operation.QUERY, Code.NO_INDEX, 401),
            (Operation.QUERY, Code.XML_PARSE, 400),
            (Operation.PURGE, errno.EINVAL, 579),
            (Operation.PURGE, Code.ACCEPTED_OK, 202),
            (Operation.DUMP, errno.EINVAL, 500),
            (Operation.LOAD, errno.EEXIST, 200),
            (Operation.STATS, errno.ENOSYS, 501),
            (Operation.NOTIFICATION, errno.ENOMEM, 503),
            (Operation.SEQUENCE_CODE, 12345, 500),
            (Operation.PAGE, Code.NO_INDEX, 503),
        ]:
            self.assertEqual(status_of(operation, code), status, (operation, code))
        for operation in Operation:
            self.assertIn(status_of(operation, errno.EPERM), REASONS)

    def test_recorded(self) -> None:
        """The statuses of recorded answers are those of the errors in them."""
        for exchange in protocol_exchanges():
            [response] = ResponseReader().feed(exchange.answered)
            document = body(exchange.answered)
            read_answer = results.read_events if b"/queryEvents" in exchange.asked[:20] else results.read_jobs
            error = read_answer(document).error
            self.assertEqual(status_of(Operation.QUERY, error.code if error else 0), response.status)
            self.assertIsNone(failure(response.status, response.reason, response.body))

    def test_client(self) -> None:
        """A client takes the error from the status where there is no document, and says which status it was."""
        for status, data, code in [
            (202, b"", Code.ACCEPTED_OK),
            (405, b"", errno.ENXIO),
            (415, b"", errno.ENOTSUP),
            (400, b"", Code.SERVER_RESPONSE),
            (500, b"", Code.SERVER_RESPONSE),
            (404, b"", Code.SERVER_RESPONSE),
        ]:
            error = failure(status, REASONS[status], data)
            assert error is not None
            self.assertEqual(error.code, code)
            self.assertIn(f"{status} {REASONS[status]}", error.description)
        self.assertIsNone(failure(500, "x", b"<a/>"))
