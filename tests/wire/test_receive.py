"""What a logger takes from producers: event lines that get its own prefix, and control lines."""

from __future__ import annotations

import errno

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError, ParseError
from lb.model.jobid import JobId
from lb.wire import ulm
from lb.wire.ulm import parse, write
from tests.wire import strategies
from tests.wire.lines import line, lines, plain


class ReceiveTests(SynchronousTestCase):
    """A producer's line as a logger takes it."""

    def test_stored_line(self) -> None:
        """The stored line is the receipt, the authenticated user and the line as it came, without LF."""
        came = line(DG_USER=None)
        event, stored = ulm.receive(came, '/CN="q"\\', 42)
        self.assertEqual(stored, b'DG.LLLID=42 DG.USER="/CN=\\"q\\"\\\\" ' + came.removesuffix(b"\n"))
        self.assertEqual(parse(stored), event)
        self.assertEqual(event.user, '/CN="q"\\')

    def test_ends(self) -> None:
        """LF, NUL and CR at the end are taken or left out; the stored line is the same."""
        _, expected = ulm.receive(line(DG_USER=None), "/CN=x", 1)
        bare = line(DG_USER=None).removesuffix(b"\n")
        for end in (b"", b"\n", b"\n\0", b"\0", b"\r\n", b"\n\n", b"\n\0\0garbage"):
            with self.subTest(end):
                self.assertEqual(ulm.receive(bare + end, "/CN=x", 1)[1], expected)

    def test_claims_are_taken_out(self) -> None:
        """User and receipt told by the producer are gone from the stored line, wherever and however they stood (P7)."""
        bare = line(DG_USER=None)
        for came in (
            line(),
            b'DG.USER="/CN=y" ' + bare,
            b"DG.LLLID=5 " + bare,
            b'DG.LLLID=5 DG.USER="/CN=y" ' + line(),
            b'  DG.LLLID="0" dg.user=y ' + bare,
            line(DG_USER=None, _more='DG.LLPID=7 DG.USER="/CN=y"'),
            line(DG_USER=None, _more='DG.USER="DG.USER=\\"/CN=z\\""'),
            line(DG_USER=None, _more="DG.USER="),
        ):
            with self.subTest(came):
                event, stored = ulm.receive(came, "/CN=me", 3)
                self.assertEqual((event.user, stored.upper().count(b"DG.USER=")), ("/CN=me", 1))
                self.assertEqual(stored.count(b"DG.LLLID="), 1)
                self.assertNotIn(b"DG.LLPID", stored)
                self.assertEqual(parse(stored), event)

    def test_raw_line_feed(self) -> None:
        """A line feed inside quotes would split the line for C loggers: refused."""
        error = self.assertRaises(ParseError, ulm.receive, line(HOST='"a\nb"'), "u", 1)
        self.assertEqual(error.code, Code.BROKEN_ULM)

    def test_slash(self) -> None:
        """C loggers make a file name of the unique part: a slash in it is refused."""
        error = self.assertRaises(ParseError, ulm.receive, line(DG_JOBID='"https://lb/a/b"'), "u", 1)
        self.assertEqual((error.code, error.description[-9:]), (Code.MESSAGE_INCOMPLETE, "DG.JOBID."))

    @given(strategies.damaged(lines), strategies.texts, st.integers())
    @settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
    def test_what_is_taken_can_be_read(self, came: bytes, user: str, receipt: int) -> None:
        """Any line that is taken reads the same for everyone after it, as one line of the authenticated user (P7)."""
        try:
            event, stored = ulm.receive(came, user, receipt)
        except ParseError:
            return
        self.assertNotIn(b"\n", stored)
        self.assertEqual(parse(stored), event)
        self.assertEqual(parse(stored + b"\n"), event)
        self.assertEqual(event.user, user)
        self.assertEqual(event, parse(came, user))


class CommandTests(SynchronousTestCase):
    """Control lines of a logger (model.md §4.10)."""

    FLUSH = (
        b'DATE=20261123071101.799717 HOST="ui.example.org" PROG=internal LVL=system DG.PRIORITY=1 DG.TYPE="command" '
        b'DG.COMMAND="flush" DG.TIMEOUT="120" DG.JOBID="https://lb.example.org:9000/msw8BK0qi8up4XWiw6utvA"\n'
    )

    def test_flush(self) -> None:
        """A flush names its job and its time-out, with or without LF and NUL."""
        self.assertIn(ulm.COMMAND_MARK, self.FLUSH)
        expected = ulm.Command("flush", JobId("lb.example.org", 9000, "msw8BK0qi8up4XWiw6utvA"), 120.0)
        for text in (self.FLUSH, self.FLUSH + b"\0", self.FLUSH.rstrip(), self.FLUSH.rstrip() + b"\0"):
            self.assertEqual(ulm.parse_command(text), expected)

    def test_flush_all(self) -> None:
        """Without a job everything is meant; a time-out may be a fraction or missing."""
        text = self.FLUSH.partition(b" DG.JOBID")[0]
        self.assertEqual(ulm.parse_command(text), ulm.Command("flush", None, 120.0))
        self.assertEqual(ulm.parse_command(text.replace(b"120", b"0.5")).timeout, 0.5)
        self.assertEqual(ulm.parse_command(text.replace(b'DG.TIMEOUT="120"', b"")), ulm.Command("flush", None, None))

    def test_refused(self) -> None:
        """No command and a bad job id are EINVAL, a broken line is 1401."""
        for text, code in (
            (self.FLUSH.replace(b'DG.COMMAND="flush"', b""), errno.EINVAL),
            (self.FLUSH.replace(b"flush", b""), errno.EINVAL),
            (self.FLUSH.replace(b"https", b"http"), errno.EINVAL),
            (self.FLUSH.replace(b'"120"', b'"120'), Code.BROKEN_ULM),
            (b"", Code.BROKEN_ULM),
        ):
            self.assertEqual(self.assertRaises(LBError, ulm.parse_command, text).code, code)

    def test_no_command_in_values(self) -> None:
        """No value of an event can look like a command, for its quotes are escaped."""
        event = plain()
        event.attributes["value"] = ulm.COMMAND_MARK.decode()
        self.assertNotIn(ulm.COMMAND_MARK, write(event))

    @given(strategies.damaged(st.just(FLUSH)))
    @settings(deadline=None)
    def test_any_damage(self, text: bytes) -> None:
        """Any damage ends in a command or an LBError."""
        try:
            ulm.parse_command(text)
        except LBError as error:
            self.assertIn(error.code, (errno.EINVAL, Code.BROKEN_ULM))
