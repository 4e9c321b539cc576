"""Documents of registrations for notifications, and notification ids."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model import notifid
from lb.model.errors import Code, LBError, ParseError
from lb.model.query import Attribute, Condition, Flag, Operator, write_flags
from lb.wire import http
from lb.wire.http_status import Operation, failure, status_of
from lb.wire.lbxml import registrations
from lb.wire.lbxml.registrations import ChangeOp, Function, Request, Result
from lb.wire.lbxml.tree import REQUEST_LIMITS, Limits
from tests.wire_notification import recorded
from tests.wire_query.strategies import job_queries, mutations, nasty_texts, relaxed, words

ID = "https://localhost:9000/NOTIF:Nl_gE9SlA0KpmBgAhveYLA"
NOTIFID = notifid.parse(ID)


def document(function: str, inside: str) -> bytes:
    return f'<edg_wll_NotifRequest function="{function}">{inside}</edg_wll_NotifRequest>'.encode()


def elements(*, without: str = "", **more: str) -> str:
    found = {"notifId": ID, "clientAddress": "h:1", "notifChangeOp": "EDG_WLL_NOTIF_NOOP", **more}
    return "".join(f"<{name}>{text}</{name}>" for name, text in found.items() if name != without)


class NotificationIdTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """An id names its server and what the server stores; it is made again of both."""
        self.assertEqual((NOTIFID.server, NOTIFID.notification), ("localhost:9000", "Nl_gE9SlA0KpmBgAhveYLA"))
        self.assertEqual(notifid.of_unique("localhost", "Nl_gE9SlA0KpmBgAhveYLA"), NOTIFID)

    def test_create(self) -> None:
        """Fresh ids are on their server, read back, and differ."""
        made = notifid.create("lb.example.org:9100", lambda count: b"\xff" * count)
        self.assertEqual(str(made), "https://lb.example.org:9100/NOTIF:_____________________w")
        self.assertEqual(notifid.parse(str(made)), made)
        self.assertNotEqual(notifid.create("a"), notifid.create("a"))

    def test_malformed(self) -> None:
        """What is no notification id is EINVAL in the protocol's words; so is one too long to store (P10)."""
        stem = "https://h:9000/NOTIF:"
        for text in ("", "x", "https://h:9000/abc", stem, f"{stem}a/b", f'{stem}"', f"{stem}a?i", stem + "a" * 33):
            with self.assertRaises(LBError) as caught:
                notifid.parse(text)
            self.assertEqual(caught.exception.code, errno.EINVAL)
            self.assertIn("Malformed notification ID", caught.exception.description)
        notifid.parse(stem + "a" * 32)


class RecordedTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Each request of a C client is read, and written again byte for byte with its HTTP head."""
        for name, function in recorded.REGISTRATIONS.items():
            asked = registrations.read_request(recorded.request(name))
            self.assertEqual(asked.function.value, function)
            written = http.request("POST", "/notifRequest", registrations.write_request(asked))
            self.assertEqual(written, recorded.files()[f"{name}.00.out.bin"], name)

    def test_answers(self) -> None:
        """Each answer of the C server is read, and written again byte for byte."""
        for name in recorded.REGISTRATIONS:
            answer = registrations.read_result(recorded.answer(name))
            self.assertIsNone(answer.error)
            self.assertEqual(registrations.write_result(*answer), recorded.answer(name), name)

    def test_values(self) -> None:
        """Recorded requests mean what their clients were asked for."""
        new = registrations.read_request(recorded.request("06-notify-new-job"))
        self.assertEqual((new.notifid, new.address, new.validity, new.flags), (NOTIFID, ":::40651", None, Flag(0)))
        self.assertEqual(str(new.groups[0][0].value), "https://localhost:9000/msw8BK0qi8up4XWiw6utvA")
        history = registrations.read_request(recorded.request("50-notify-new-history"))
        self.assertEqual(write_flags(history.flags), "terminal_states+history")
        bind = registrations.read_request(recorded.request("07-notify-receive"))
        self.assertEqual((bind.address, bind.validity), (":::60437", 1795421463))
        change = registrations.read_request(recorded.request("08c-notify-change"))
        self.assertIs(change.change, ChangeOp.REPLACE)
        self.assertEqual(registrations.read_result(recorded.answer("08d-notify-drop")), Result(None, None))


requests = st.builds(
    Request,
    function=st.sampled_from(Function),
    notifid=st.builds(lambda unique: notifid.of_unique("h:9000", unique), words),
    address=words,
    groups=st.just(()) | job_queries.map(lambda query: query.jobs),
    flags=st.integers(0, 4095).map(Flag),
    change=st.sampled_from(ChangeOp),
)


class RequestTests(SynchronousTestCase):
    @given(requests, st.none() | st.integers(1, 2**40))
    @relaxed
    def test_round_trip(self, asked: Request, validity: int | None) -> None:
        """Whatever may be asked is read as it was written."""
        timed = asked.function in (Function.NEW, Function.BIND, Function.REFRESH)
        sent = Request(
            asked.function,
            asked.notifid,
            asked.address,
            asked.groups,
            asked.flags,
            asked.change,
            validity if timed else None,
        )
        self.assertEqual(registrations.read_request(registrations.write_request(sent)), sent)

    def test_changed(self) -> None:
        """A condition on change, as in the example of the chapter."""
        inside = elements() + (
            "<and><orJobConditions><changed>\n<status/></changed></orJobConditions></and>"
            "<flags>terminal_states+history</flags>"
        )
        asked = registrations.read_request(document("New", inside))
        self.assertEqual(asked.groups, ((Condition(Attribute.STATUS, Operator.CHANGED, None),),))
        self.assertEqual(asked.flags, Flag.TERMINAL_STATES | Flag.HISTORY)

    def test_defaults(self) -> None:
        """Missing, zero and negative validities mean the server's default; unknown changes do nothing; case is free."""
        for validity in ({}, {"requestedValidity": "0"}, {"requestedValidity": "-1"}, {"REQUESTEDVALIDITY": ""}):
            asked = registrations.read_request(document("new", elements(notifChangeOp="EDG_WLL_NOTIF_X", **validity)))
            self.assertEqual((asked.validity, asked.change, asked.groups), (None, ChangeOp.NOOP, ()))

    def test_invalid(self) -> None:
        """What makes no sense is EINVAL that says so: function, id, address, conditions."""
        event = "<and><orEventConditions><equal><level>8</level></equal></orEventConditions></and>"
        two = "<equal><owner>a</owner></equal><equal><status>1</status></equal>"
        mixed = f"<and><orJobConditions>{two}</orJobConditions></and>"
        for data, words_of_it in (
            (document("Nwe", elements()), "Unknown function 'Nwe'"),
            (document("Drop", elements(notifId="https://h:9000/job")), "Malformed notification ID"),
            (document("Drop", elements(without="notifId")), "Malformed notification ID"),
            (document("Bind", elements(without="clientAddress")), "Address parameter not given"),
            (document("New", elements(clientAddress=" ")), "Address parameter not given"),
            (document("New", elements(clientAddress="h" * 201)), "201 characters"),
            (document("New", elements() + event), "event conditions"),
            (document("New", elements() + mixed), "same attribute"),
        ):
            with self.assertRaises(LBError) as caught:
                registrations.read_request(data)
            self.assertEqual(caught.exception.code, errno.EINVAL)
            self.assertIn(words_of_it, caught.exception.description)
            self.assertEqual(status_of(Operation.NOTIFICATION, caught.exception.code), 579)

    def test_broken(self) -> None:
        """Elements out of place or twice, other documents, and documents beyond the bounds are 1407 (P10)."""
        many = document("New", elements())
        for data in (
            b"",
            b"<edg_wll_QueryJobsRequest/>",
            document("New", elements() + "<what/>"),
            document("New", elements() + f"<notifid>{ID}</notifid>"),
            document("New", elements() + "<and><what/></and>"),
        ):
            with self.assertRaises(ParseError) as caught:
                registrations.read_request(data)
            self.assertEqual(caught.exception.code, Code.XML_PARSE)
        registrations.read_request(many, Limits(len(many), 6, 4))
        for limits in (Limits(len(many) - 1, 6, 4), Limits(len(many), 6, 3)):
            self.assertRaises(ParseError, registrations.read_request, many, limits)

    @given(mutations([recorded.request(name) for name in recorded.REGISTRATIONS]))
    @relaxed
    def test_damage(self, data: bytes) -> None:
        """A damaged request is read or refused, and breaks nothing (P5)."""
        try:
            asked = registrations.read_request(data, REQUEST_LIMITS)
        except LBError as error:
            self.assertIn(error.code, (errno.EINVAL, Code.XML_PARSE))
        else:
            self.assertEqual(registrations.read_request(registrations.write_request(asked)).groups, asked.groups)


class ResultTests(SynchronousTestCase):
    @given(nasty_texts.filter(bool), st.integers(1, 1423))
    @relaxed
    def test_errors(self, description: str, code: int) -> None:
        """An error keeps number and words; a validity that comes with it means nothing."""
        written = registrations.write_result(0, LBError(code, description))
        answer = registrations.read_result(written)
        assert answer.error is not None
        self.assertEqual((answer.error.code, answer.error.description), (code, description))
        self.assertIsNone(answer.validity)

    def test_clash(self) -> None:
        """An id in use is answered with 200; the client finds the error inside."""
        body = registrations.write_result(error=LBError(errno.EEXIST, "in use"))
        status = status_of(Operation.NOTIFICATION, errno.EEXIST)
        self.assertEqual(status, 200)
        self.assertIsNone(failure(status, "OK", body))
        error = registrations.read_result(body).error
        assert error is not None
        self.assertEqual(error.code, errno.EEXIST)

    def test_others(self) -> None:
        """Another document is no answer."""
        self.assertRaises(ParseError, registrations.read_result, b"<edg_wll_QueryJobsResult/>")


REFRESH = Request(Function.REFRESH, NOTIFID, validity=1400003600)


class ExampleTests(SynchronousTestCase):
    def test_layout(self) -> None:
        """A request without address and conditions has neither element."""
        self.assertEqual(
            registrations.write_request(REFRESH),
            b'<edg_wll_NotifRequest function="Refresh">\r\n\t<flags></flags>\r\n'
            b"\t\t\t<notifId>https://localhost:9000/NOTIF:Nl_gE9SlA0KpmBgAhveYLA</notifId>\r\n"
            b"\t\t\t<notifChangeOp>EDG_WLL_NOTIF_NOOP</notifChangeOp>\r\n"
            b"\t\t\t<requestedValidity>1400003600</requestedValidity>\r\n</edg_wll_NotifRequest>\r\n",
        )
