"""Event lines: every example, rule and error of model.md §4, and any event through both readers."""

from __future__ import annotations

import errno

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import TYPES
from lb.model.errors import LBError, ParseError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.wire import ulm
from lb.wire.ulm import parse, write
from tests.wire import strategies
from tests.wire.lines import BAD, JAVA, LOGGED, REPORTED, TAKEN, TEXTS, done, line, lines, outcome, plain
from tests.wire.recorded import examples


class ExampleTests(SynchronousTestCase):
    """Lines written out in the specification."""

    def test_examples(self) -> None:
        """Every complete example is read and written again byte for byte."""
        self.assertEqual(len(examples()), 15)
        for text in examples():
            with self.subTest(text):
                self.assertEqual(write(parse(text)), text)

    def test_escapes(self) -> None:
        """The example with all escapes holds the value it says."""
        (tag,) = (event for event in map(parse, examples()) if event.type.name == "UserTag")
        self.assertEqual(tag.attributes, {"name": "phase", "value": 'a"b\\c\nd'})

    def test_logged(self) -> None:
        """A line as stored by a C logger has the logger's user and no receipt."""
        event = parse(LOGGED)
        self.assertEqual((event.type.name, event.user), ("Abort", "/DC=org/DC=example/CN=Some User"))
        self.assertEqual(write(event, user=False), LOGGED.partition(b'User" ')[2])

    def test_java(self) -> None:
        """A line of the Java client is read: no microseconds, single backslashes gone, texts of null."""
        event = parse(JAVA)
        self.assertEqual(event.timestamp, 1704164645_000000)
        self.assertEqual(event.user, "/CN=host/cream.example.org")
        self.assertEqual(event.attributes, {"command": 1, "cmdid": "C:x", "result": 1, "reason": "null"})

    def test_taken(self) -> None:
        """Odd lines are taken for what they say."""
        for text, changed in TAKEN:
            with self.subTest(text):
                expected = plain()
                for name, value in changed.items():
                    setattr(expected, name, value)
                self.assertEqual(outcome(text), expected)

    def test_bad(self) -> None:
        """Bad lines are refused with the number and the key that their sender is to see."""
        for text, code, words in BAD:
            with self.subTest(text):
                error = self.assertRaises(ParseError, parse, text)
                self.assertEqual(error.code, code)
                self.assertIn(words, error.description)

    def test_order_of_complaints(self) -> None:
        """Of several missing fields the first of the specification's order is named, the type's attributes last."""
        absent: dict[str, str | None] = {}
        for key in reversed(REPORTED):
            absent[key.replace(".", "_")] = None
            self.assertEqual(outcome(line({}, **absent)), (1403, f"Message incomplete, missing or empty field {key}."))

    def test_words_of_complaints(self) -> None:
        """The descriptions are those that C servers were seen to send."""
        self.assertEqual(outcome(line(DG_USER=None)), (1403, "Message incomplete, missing or empty field DG.USER."))
        self.assertEqual(outcome(b"x"), (1401, "ULM parse error"))
        self.assertEqual(outcome(line(DG_EVNT='"x"')), (1402, "Unknown or missing event type"))

    def test_mandatory(self) -> None:
        """Each mandatory attribute of every type is missed when it is null, each optional one is not."""
        for type_ in TYPES:
            for attribute in type_.attributes:
                texts = {a.key: f'"{TEXTS[a.kind.value](a)}"' for a in type_.attributes if a is not attribute}
                found = outcome(line(texts, DG_EVNT=f'"{type_.name}"'))
                with self.subTest(attribute.key):
                    if attribute.mandatory:
                        self.assertEqual(found, (1403, f"Message incomplete, missing or empty field {attribute.key}."))
                    else:
                        self.assertIsInstance(found, Event)

    def test_bad_permission(self) -> None:
        """An unknown permission passes here, for the server to say what is wrong with it."""
        texts = {
            "DG.CHANGEACL.USER_ID": '"/CN=y"',
            "DG.CHANGEACL.USER_ID_TYPE": '"DN"',
            "DG.CHANGEACL.PERMISSION": '"(null)"',
            "DG.CHANGEACL.PERMISSION_TYPE": '"ALLOW"',
            "DG.CHANGEACL.OPERATION": '"ADD"',
        }
        self.assertEqual(parse(line(texts, DG_EVNT='"ChangeACL"')).number("permission"), -1)


class RoundTripTests(SynchronousTestCase):
    """Any event, both readers."""

    def test_every_type(self) -> None:
        """Events of all 79 types with any attributes survive the form of C programs and the splitter."""
        for type_ in TYPES:

            @given(strategies.events_of(type_))
            @settings(deadline=None, max_examples=8, database=None, suppress_health_check=list(HealthCheck))
            def survives(event: Event) -> None:
                text = write(event)
                self.assertEqual(parse(text), event)
                self.assertEqual(parse(b" " + text), event)
                self.assertEqual(write(parse(text)), text)
                self.assertEqual(text.count(b"\n"), 1)

            survives()

    @given(strategies.damaged(lines), st.none() | strategies.texts)
    @settings(deadline=None, max_examples=600, suppress_health_check=list(HealthCheck))
    def test_both_readers_agree(self, text: bytes, user: str | None) -> None:
        """Whatever is done to a line, both readers make the same of it, and raise nothing but what they should."""
        self.assertEqual(outcome(text, user), outcome(b" " + text, user))

    def test_both_readers_agree_on_tables(self) -> None:
        """So they do on every line of the tables, with and without an authenticated user."""
        for text in [*examples(), LOGGED, JAVA, *(text for text, _ in TAKEN), *(text for text, *_ in BAD)]:
            for user in (None, "", 'a"b\\c'):
                with self.subTest(text):
                    self.assertEqual(outcome(text, user), outcome(b"\t" + text, user))

    @given(st.binary())
    @settings(deadline=None)
    def test_any_bytes(self, text: bytes) -> None:
        """Any bytes are a line or a ParseError."""
        for candidate in (text, line() + text, text + line()):
            outcome(candidate)

    def test_unwritable(self) -> None:
        """Values that no line can carry are refused with EINVAL instead of breaking the line."""
        for name, value in (("host", "a\0b"), ("host", "a\ud800"), ("timestamp", -1)):
            event = plain()
            setattr(event, name, value)
            self.assertEqual(self.assertRaises(LBError, write, event).code, errno.EINVAL)

    def test_no_injection(self) -> None:
        """A job id with quotes stays one value, though the C library would not escape it."""
        event = plain()
        event.jobid = JobId("lb", 9000, 'x"y\\', '" DG.USER="z\n')
        self.assertEqual(parse(write(event)), event)


class UserTests(SynchronousTestCase):
    """Identity comes from the connection, never from the line (P7)."""

    def test_given_user_wins(self) -> None:
        """With an authenticated user, none of the line's fields counts, be there none, one or two of them."""
        front = b'DG.LLLID=7 DG.USER="/CN=front" '
        for text in (line(DG_USER=None), line(), front + line(), front + line(DG_USER=None), line(_more="dg.user=x")):
            with self.subTest(text):
                self.assertEqual(parse(text, 'me "and" you').user, 'me "and" you')

    def test_places(self) -> None:
        """Without one, the line's only field counts, wherever it stands."""
        self.assertEqual(parse(line()).user, "/CN=x")
        self.assertEqual(parse(b'DG.USER="/CN=a\\"b" ' + line(DG_USER=None)).user, '/CN=a"b')
        self.assertEqual(outcome(b'DG.USER="/CN=a" ' + line()), (1404, "Key DG.USER already exists."))


class BoundTests(SynchronousTestCase):
    """What a peer sends costs no more than its length (P10)."""

    def test_megabytes(self) -> None:
        """Values of megabytes are read by both readers in one pass, or this would not end."""
        size = 1_000_000
        for value in ("x" * size, '\\"' * size, "\\\\" * size, "\\n" * size, "=" * size, " " * size):
            for front in (b"", b" "):
                event = parse(front + line({"DG.USERTAG.NAME": '"n"', "DG.USERTAG.VALUE": f'"{value}"'}))
                self.assertEqual(len(event.attributes["value"]), len(value) // (2 if "\\" in value else 1))  # type: ignore[arg-type]

    def test_long_numbers(self) -> None:
        """Numbers of thousands of digits, which Python refuses to read, are read as the protocol says."""
        digits = "1" * 5000
        for text in (
            line(DG_PRIORITY=digits),
            line(DATE=f"20240102030405.{digits}"),
            b"DG.LLLID=" + digits.encode() + b" " + line(),
            line(DG_SEQCODE=f'"UI={digits}"'),
            done(exit_code=f'"{digits}"'),
        ):
            self.assertIsInstance(outcome(text), Event)
            self.assertEqual(outcome(text), outcome(b" " + text))
        self.assertEqual(outcome(line(DG_JOBID=f'"https://lb:{digits}/u"')), outcome(line(DG_JOBID='"x"')))

    def test_types_are_not_remembered(self) -> None:
        """Made-up event types, of any length, leave nothing behind."""
        before = ulm._form_of.cache_info().currsize
        for number in range(100):
            outcome(line(DG_EVNT=f'"Foo{number}"'))
        outcome(line(DG_EVNT='"' + "x" * 100_000 + '"'))
        outcome(line(DG_EVNT='"' + "x" * 100_000))
        self.assertEqual(ulm._form_of.cache_info().currsize, before)
