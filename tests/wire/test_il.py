"""Interlogger frames and replies: exact bytes, refusals and what they mean (wire-logging.md §3, §7, §8)."""

from __future__ import annotations

import errno

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.wire import il
from lb.wire.il import Reply

#: Replies that C servers were seen to send, their bodies exactly.
OBSERVED = {
    Reply(0, 0, "OK"): b"0\n0\n2 OK\n",
    Reply(700, 2, "job not registered"): b"700\n2\n18 job not registered\n",
    Reply(600, 0, "job registration must go directly"): b"600\n0\n33 job registration must go directly\n",
    Reply(600, 0, "check_auth()"): b"600\n0\n12 check_auth()\n",
    Reply(600, 0, "LB server can't store using unauthenticated connection"): (
        b"600\n0\n54 LB server can't store using unauthenticated connection\n"
    ),
    Reply(600, 0, "LB proxy can't store using unauthenticated connection"): (
        b"600\n0\n53 LB proxy can't store using unauthenticated connection\n"
    ),
    Reply(600, 0, "Not allowed to log events here"): b"600\n0\n30 Not allowed to log events here\n",
    Reply(700, 17, "Job with given jobid already exists. Rejecting event."): (
        b"700\n17\n53 Job with given jobid already exists. Rejecting event.\n"
    ),
    Reply(400, 1401, "ULM parse error"): b"400\n1401\n15 ULM parse error\n",
    Reply(400, 1402, "Unknown or missing event type"): b"400\n1402\n29 Unknown or missing event type\n",
    Reply(400, 1403, "Message incomplete, missing or empty field DG.USER."): (
        b"400\n1403\n51 Message incomplete, missing or empty field DG.USER.\n"
    ),
    Reply(400, 0, "decoding event string failed"): b"400\n0\n28 decoding event string failed\n",
    Reply(700, 22, "Unknown permission for ACL"): b"700\n22\n26 Unknown permission for ACL\n",
}

OK_BYTES = bytes.fromhex("20202020202020202020202020202039 0a 300a 300a 32204f4b0a")

#: Error of the server → major and minor for a direct producer, and for an interlogger.
REPLIES = (
    (errno.ENOMEM, (200, 0), (200, 0)),
    (errno.EPERM, (600, 0), (600, 0)),
    (Code.IL_PROTO, (400, 0), (400, 0)),
    (Code.BROKEN_ULM, (400, 1401), (400, 1401)),
    (Code.KEY_MISUSE, (400, 1405), (400, 1405)),
    (Code.NO_INDEX, (400, 1416), (400, 1416)),
    (errno.ENOENT, (700, 2), (700, 2)),
    (errno.EAGAIN, (700, 11), (700, 11)),
    (errno.EIO, (700, 5), (700, 5)),
    (errno.ENOSPC, (700, 28), (700, 28)),
    (errno.EDEADLK, (700, 35), (700, 35)),
    # Permanent: an interlogger would repeat 700 for ever.
    (errno.EEXIST, (700, 17), (400, 17)),
    (errno.EINVAL, (700, 22), (400, 22)),
    (errno.EIDRM, (700, 43), (400, 43)),
    (errno.E2BIG, (700, 7), (400, 7)),
    # Trouble of the database: an interlogger would drop the event at 400.
    (Code.DB_INIT, (700, 5), (700, 5)),
    (Code.DB_CALL, (700, 5), (700, 5)),
    (Code.DB_DEADLOCK, (700, 5), (700, 5)),
    (Code.DB_LOST_CONNECTION, (700, 5), (700, 5)),
)

PERMANENT = (
    *((400, 0), (400, 1401), (400, 1403), (400, 22)),
    *((600, 0), (700, 2), (700, 7), (700, 17), (700, 22), (700, 43)),
    *((200, 2), (500, 0), (800, 0), (900, 0), (1, 0), (-1, 0)),
)
TRANSIENT = ((200, 0), (700, 5), (700, 11), (700, 28), (700, 0), (400, 1410), (400, 1411), (400, 1421), (400, 1422))

#: Reply → number that the caller of a direct producer gets.
TOLD = (
    ((200, 0), errno.ENOMEM),
    ((600, 0), errno.EPERM),
    ((600, 5), errno.EPERM),
    ((700, 17), errno.EEXIST),
    ((700, 22), errno.EINVAL),
    ((700, 0), Code.IL_PROTO),
    ((400, 0), Code.IL_PROTO),
    ((400, 1403), Code.MESSAGE_INCOMPLETE),
    ((500, 0), Code.IL_PROTO),
    ((12345, 1), Code.IL_PROTO),
)


def body(framed: bytes) -> bytes:
    """What a frame carries."""
    (found,) = il.FrameReader().feed(framed)
    return found


class FrameTests(SynchronousTestCase):
    """Frames of events."""

    def test_bytes(self) -> None:
        """A frame has a header of 17 bytes, the magic word and the line, each with its length."""
        self.assertEqual(il.frame(b"x=y"), b"              15\n6 michal\n3 x=y\n")
        self.assertEqual(il.frame(b"x=y\n"), b"              16\n6 michal\n4 x=y\n\n")

    @given(st.binary())
    @settings(deadline=None)
    def test_round_trip(self, line: bytes) -> None:
        """Any line survives, with its LF or without, NULs and all."""
        self.assertEqual(il.read_line(body(il.frame(line))), line)

    def test_undecodable(self) -> None:
        """A body that is no event is refused with the frame's error."""
        good = b"6 michal\n3 x=y\n"
        for bad in (
            b"",
            b"6 Michal\n3 x=y\n",
            b"7 michael\n3 x=y\n",
            b"6 michal\n",
            b"6 michal\n4 x=y\n",
            b"6 michal\n2 x=y\n",
            b"6 michal\n3 x=y",
            b"6 michal\n-3 x=y\n",
            b"6 michal\n+3 x=y\n",
            b"6 michal\n 3 x=y\n",
            b"6 michal\nx=y\n",
            b"6 michal\n" + b"9" * 5000 + b" x=y\n",
            b"6 michal\n999999999999999999 x=y\n",
            b"6  michal\n3 x=y\n",
            good + b"x",
            good + good,
            b"0\n0\n2 OK\n",
        ):
            with self.subTest(bad):
                self.assertRaises(il.FrameError, il.read_line, bad)
        self.assertEqual(il.read_line(good), b"x=y")

    @given(st.binary(max_size=60))
    @settings(deadline=None)
    def test_garbage(self, data: bytes) -> None:
        """Any body is an event, a reply or a FrameError."""
        for read in (il.read_line, il.read_reply):
            for candidate in (data, b"6 michal\n" + data, b"0\n0\n" + data):
                try:
                    read(candidate)
                except il.FrameError:
                    continue


class ReplyTests(SynchronousTestCase):
    """Replies."""

    def test_observed(self) -> None:
        """Replies have the bytes that C servers send, and are read from them."""
        for reply, expected in OBSERVED.items():
            with self.subTest(str(reply)):
                self.assertEqual(body(il.write_reply(reply)), expected)
                self.assertEqual(il.read_reply(expected), reply)

    def test_ok(self) -> None:
        """Success is the 26 bytes of the specification, from the constant and from an equal reply."""
        self.assertEqual(il.write_reply(il.OK), OK_BYTES)
        self.assertEqual(il.write_reply(Reply(0, 0, "OK")), OK_BYTES)
        self.assertEqual(il.read_reply(body(OK_BYTES)), il.OK)

    @given(st.integers(-999_999_999, 999_999_999), st.integers(-999, 99999), st.binary())
    @settings(deadline=None)
    def test_round_trip(self, major: int, minor: int, text: bytes) -> None:
        """Any reply survives, with bytes of any encoding in its text."""
        reply = Reply(major, minor, text.decode("utf-8", "surrogateescape"))
        self.assertEqual(il.read_reply(body(il.write_reply(reply))), reply)

    def test_unreadable(self) -> None:
        """What is no reply is refused with the frame's error."""
        for bad in (
            b"",
            b"0",
            b"0\n",
            b"0\n0",
            b"0\n0\n",
            b"0\n0\n2 O\n",
            b"a\n0\n2 OK\n",
            b"0\na\n2 OK\n",
            b"\n\n2 OK\n",
            b" 0\n0\n2 OK\n",
            b"1_0\n0\n2 OK\n",
            b"9" * 5000 + b"\n0\n2 OK\n",
            b"99999999999\n0\n2 OK\n",
            b"6 michal\n3 x=y\n",
        ):
            with self.subTest(bad):
                self.assertRaises(il.FrameError, il.read_reply, bad)


class MeaningTests(SynchronousTestCase):
    """Errors to replies, and what a sender makes of them."""

    def test_replies(self) -> None:
        """Every error has its numbers: those of the specification for producers, bearable ones for C interloggers."""
        for code, direct, logged in REPLIES:
            with self.subTest(str(code)):
                error = LBError(code, "why")
                self.assertEqual(il.reply_for(error, direct=True), Reply(*direct, "why"))
                self.assertEqual(il.reply_for(error, direct=False), Reply(*logged, "why"))
        self.assertEqual(il.reply_for(LBError(0, ""), direct=True), il.OK)

    def test_c_interloggers(self) -> None:
        """A C interlogger keeps what another try may mend, and drops the rest (P2, P5)."""
        for code, _, logged in REPLIES:
            with self.subTest(str(code)):
                # It settles all but 200 and 700, and those with ENOENT.
                settled = logged[0] not in (200, 700) or logged[1] == errno.ENOENT
                self.assertEqual(settled, il.is_permanent(Reply(*logged, "")))

    def test_permanent(self) -> None:
        """Refusals that another try does not mend, those with unknown numbers among them."""
        for numbers in PERMANENT:
            self.assertTrue(il.is_permanent(Reply(*numbers, "")), str(numbers))

    def test_transient(self) -> None:
        """Success and troubles that pass are no refusals (P2)."""
        self.assertFalse(il.is_permanent(il.OK))
        for numbers in TRANSIENT:
            self.assertFalse(il.is_permanent(Reply(*numbers, "")), str(numbers))

    def test_told(self) -> None:
        """A direct producer's caller gets a number that says what happened, with the server's words."""
        self.assertIsNone(il.error_of(il.OK))
        for numbers, code in TOLD:
            with self.subTest(str(numbers)):
                error = il.error_of(Reply(*numbers, "why"))
                assert error is not None
                self.assertEqual((error.code, error.description), (code, "why"))

    def test_there_and_back(self) -> None:
        """A direct producer's caller gets the number that the server meant."""
        for code in (errno.EPERM, errno.ENOENT, errno.EEXIST, errno.EINVAL, Code.BROKEN_ULM, Code.IL_PROTO):
            error = il.error_of(il.reply_for(LBError(code, "why"), direct=True))
            assert error is not None
            self.assertEqual(error.code, code)
