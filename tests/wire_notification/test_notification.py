"""Notification lines and their frames."""

from __future__ import annotations

import errno

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError, ParseError
from lb.model.status import JobStatus, State
from lb.wire import il, notification
from lb.wire.lbxml import status as status_document
from lb.wire.lbxml.text import escape_bytes, unescape_bytes
from lb.wire.lbxml.tree import Limits
from lb.wire.notification import Notification
from tests.client import receiver
from tests.wire_notification import recorded
from tests.wire_query.strategies import cuts, mutations, nasty_texts, pieces, relaxed, statuses, texts

PLAIN = Notification("https://h:9000/NOTIF:a", "/CN=a", b"<a>", 1400003600, 1_400_000_000_001_234, "h", "c", 9)

notifications = st.builds(
    Notification,
    notifid=texts.filter(lambda text: "\0" not in text),
    owner=nasty_texts.filter(lambda text: "\0" not in text),
    jobstat=st.binary(max_size=40) | statuses().map(status_document.write),
    expires=st.integers(0, 2**40),
    timestamp=st.integers(0, 253_402_300_799_999_999),
    host=texts.filter(lambda text: "\0" not in text),
    dest_host=texts.filter(lambda text: "\0" not in text),
    dest_port=st.integers(0, 65535),
    dest_url=texts.filter(lambda text: "\0" not in text),
)


class RecordedTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Lines of the C server are read, and written again byte for byte."""
        for line in recorded.lines():
            self.assertEqual(notification.write(notification.read(line)) + b"\n", line)

    def test_frames(self) -> None:
        """Frames of the C interlogger are written again byte for byte, and the reply is the C receiver's."""
        for frame in recorded.frames():
            (body,) = il.FrameReader().feed(frame)
            found = notification.read(il.read_line(body))
            self.assertEqual(il.frame(notification.write(found)), frame)
        self.assertEqual(il.write_reply(il.OK), recorded.reply())

    def test_values(self) -> None:
        """A recorded notification says which job is in which state, for whom, and for how long."""
        (body,) = il.FrameReader().feed(recorded.frames()[0])
        found = notification.read(il.read_line(body))
        self.assertEqual(found.notifid, "https://localhost:9000/NOTIF:Nl_gE9SlA0KpmBgAhveYLA")
        self.assertEqual(found.owner, "/C=CZ/O=LB Reference Test/CN=Test User")
        self.assertEqual((found.destination, found.expires, found.host), ("[::1%0]:60437", 1795421463, "vm"))
        self.assertEqual(found.timestamp, 1795417865_171953)
        status = found.status()
        self.assertEqual((status.state, status.reason, status.owner), (State.Waiting, "because", found.owner))
        self.assertEqual(status.jobId, "https://localhost:9000/msw8BK0qi8up4XWiw6utvA")

    def test_other_reader(self) -> None:
        """The receiver that tests are made with, written from the specification alone, reads the same."""
        for line in recorded.lines():
            found = notification.read(line)
            fields, jobstat = receiver.read_line(line.removesuffix(b"\n"))
            self.assertEqual(jobstat.encode(), found.jobstat)
            self.assertEqual(fields["DG.NOTIFICATION.OWNER"], found.owner)


class LineTests(SynchronousTestCase):
    @given(notifications, cuts)
    @relaxed
    def test_round_trip(self, sent: Notification, places: list[int]) -> None:
        """Whatever is notified arrives as it was, however the bytes of its frame are cut."""
        reader = il.FrameReader()
        bodies = [body for piece in pieces(il.frame(notification.write(sent)), places) for body in reader.feed(piece)]
        self.assertEqual([notification.read(il.read_line(body)) for body in bodies], [sent])

    @given(statuses())
    @relaxed
    def test_status(self, status: JobStatus) -> None:
        """A state goes through the line as it goes through an answer to a query."""
        document = status_document.write(status)
        line = notification.write(msgspec.structs.replace(PLAIN, jobstat=document))
        self.assertNotIn(b"\n", line)
        self.assertEqual(notification.read(line).status(), status_document.read(document))

    @given(st.binary(max_size=60))
    @relaxed
    def test_escaped_once_more(self, data: bytes) -> None:
        """Escaping bytes and undoing it gives the bytes, and an escaped text needs no quoting but of backslashes."""
        escaped = escape_bytes(data)
        self.assertEqual(unescape_bytes(escaped), data)
        self.assertFalse(set(b'"\n') & set(escaped))

    def test_escapes(self) -> None:
        """The cases of the chapter: tags, line ends, entities and percent signs that were escapes already."""
        self.assertEqual(escape_bytes(b'<a b="c">\r\n&amp;%0a'), b"&lt;a b=&quot;c&quot;&gt;%0d%0a&amp;amp;%250a")

    def test_special_lines(self) -> None:
        """Changes of destination and the end of a registration are lines without a state."""
        drop = Notification("https://h:9000/NOTIF:a", "", b"", 1, 0, "h")
        line = notification.write(drop)
        self.assertIn(b'DEST_HOST="" DG.NOTIFICATION.DEST_PORT="0" DG.NOTIFICATION.EXPIRES="1"', line)
        found = notification.read(line)
        self.assertEqual(found, drop)
        self.assertRaises(ParseError, found.status)

    def test_destination(self) -> None:
        """A URL wins over host and port."""
        self.assertEqual(PLAIN.destination, "c:9")
        self.assertEqual(msgspec.structs.replace(PLAIN, dest_url="x-msg://grid.a").destination, "x-msg://grid.a")

    def test_refused(self) -> None:
        """Broken lines, lines of events, fields twice and fields of events have their codes."""
        line = notification.write(PLAIN)
        for data, code in (
            (b"", Code.BROKEN_ULM),
            (b'DATE="', Code.BROKEN_ULM),
            (line.replace(b'DG.TYPE="notification" ', b""), Code.EVENT_UNDEFINED),
            (line.replace(b'"notification"', b'"command"'), Code.EVENT_UNDEFINED),
            (line + b'HOST="x" ', Code.KEY_DUPLICITY),
            (line + b'DG.USER="x" ', Code.EXTRA_FIELDS),
            (line + b'DG.RUNNING.NODE="x" DG.JOBID="y" ', Code.EXTRA_FIELDS),
        ):
            with self.assertRaises(ParseError) as caught:
                notification.read(data)
            self.assertEqual(caught.exception.code, code, data)

    def test_tolerated(self) -> None:
        """Unknown fields, another order and a line end change nothing; nothing but the type is mandatory."""
        self.assertEqual(notification.read(b'DG.NEW="1" ' + notification.write(PLAIN) + b"\n"), PLAIN)
        self.assertEqual(notification.read(b"DG.TYPE=notification "), Notification("", "", b"", 0, 0, ""))

    def test_bounded(self) -> None:
        """A state is read within bounds (P10); values that no line can carry are EINVAL."""
        found = msgspec.structs.replace(PLAIN, jobstat=status_document.write(JobStatus(reason="x")))
        size = len(found.jobstat)
        self.assertEqual(found.status(Limits(size, 8, 100)).reason, "x")
        self.assertRaises(ParseError, found.status, Limits(size - 1, 8, 100))
        with self.assertRaises(LBError) as caught:
            notification.write(msgspec.structs.replace(PLAIN, owner="a\0b"))
        self.assertEqual(caught.exception.code, errno.EINVAL)

    @given(mutations(recorded.lines()))
    @relaxed
    def test_damage(self, data: bytes) -> None:
        """A damaged line is read or refused, and so is its state (P5)."""
        try:
            notification.read(data).status()
        except LBError as error:
            self.assertIn(error.code, (1401, 1402, 1404, 1406, 1407))
