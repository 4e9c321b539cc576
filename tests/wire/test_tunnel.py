"""Message lines (docs/protocol.md, "Tunnelled messages")."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.wire import tunnel, ulm
from lb.wire.tunnel import Message
from tests.wire_query.strategies import mutations, relaxed

TIME = 1_795_418_093_250_000
PLAIN = Message("x-msg://site/queue/a", b'say "hi"\\\nbye', "id-1", TIME, "ui.example.org")
FULL = Message(
    "x-msg://site/exchange/e/k",
    b"\0\xff",
    "id-2",
    TIME,
    "h",
    content_type="application/x-thing",
    headers={"a": 'b"\n\\é', "n": "1"},
    persistent=False,
    expires=TIME + 1,
    priority=7,
    correlation_id="c",
    reply_to="/queue/answers",
)

_plain = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20)
_names = st.text(st.sampled_from("abkXYZ019_.-"), min_size=1, max_size=8)  # none of them is reserved
_bodies = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.sampled_from(b'"\\\n\r =n\xc3\xa9'), max_size=12).map(bytes),
)
messages = st.builds(
    Message,
    destination=_plain.filter(bool),
    body=_bodies,
    id=st.text(st.sampled_from('abc019-:/"\\='), min_size=1, max_size=12),
    timestamp=st.integers(0, 253_402_300_799_999_999),
    host=_plain,
    content_type=_plain,
    headers=st.dictionaries(_names, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)),
    persistent=st.booleans(),
    expires=st.none() | st.integers(0, 253_402_300_799_999_999),
    priority=st.none() | st.integers(0, 9),
    correlation_id=st.none() | _plain.filter(bool),
    reply_to=st.none() | _plain.filter(bool),
    flags=st.sampled_from([4, 6]),
)


def code_of(line: bytes) -> int:
    """The number of the error with which a line is refused, 0 without one."""
    try:
        tunnel.read(line)
    except LBError as error:
        return error.code
    return 0


def outcome(line: bytes) -> Message | tuple[int, str]:
    """What reading a line gives: a message or an error."""
    try:
        return tunnel.read(line)
    except LBError as error:
        return error.code, error.description


class WritingTests(SynchronousTestCase):
    """Messages to lines."""

    def test_bytes(self) -> None:
        """The documented examples, byte for byte: text as text, anything else as base64, what is not set left out."""
        self.assertEqual(
            tunnel.write(PLAIN),
            b'DATE=20261123071453.250000 HOST="ui.example.org" PROG=edg-wms LVL=SYSTEM DG.PRIORITY=4 '
            b'DG.TYPE="message" DG.DEST="x-msg://site/queue/a" DG.MESSAGE.ID="id-1" DG.MESSAGE.PERSISTENT="1" '
            b'DG.MESSAGE.ENCODING="text" DG.MESSAGE.BODY="say \\"hi\\"\\\\\\nbye" \n',
        )
        self.assertEqual(
            tunnel.write(FULL),
            b'DATE=20261123071453.250000 HOST="h" PROG=edg-wms LVL=SYSTEM DG.PRIORITY=4 '
            b'DG.TYPE="message" DG.DEST="x-msg://site/exchange/e/k" DG.MESSAGE.ID="id-2" '
            b'DG.MESSAGE.CONTENT_TYPE="application/x-thing" DG.MESSAGE.PERSISTENT="0" DG.MESSAGE.PRIORITY="7" '
            b'DG.MESSAGE.EXPIRES="20261123071453.250001" DG.MESSAGE.CORRELATION_ID="c" '
            b'DG.MESSAGE.REPLY_TO="/queue/answers" '
            b'DG.MESSAGE.HEADERS="{\\"a\\":\\"b\\\\\\"\\\\n\\\\\\\\\xc3\xa9\\",\\"n\\":\\"1\\"}" '
            b'DG.MESSAGE.ENCODING="base64" DG.MESSAGE.BODY="AP8=" \n',
        )

    @relaxed
    @given(messages)
    def test_round_trip(self, message: Message) -> None:
        """Whatever a message holds, its line is one line without NUL, and is read as the same message."""
        line = tunnel.write(message)
        self.assertEqual(line.index(b"\n"), len(line) - 1)
        self.assertNotIn(b"\0", line)
        self.assertEqual(line.count(tunnel.MESSAGE_MARK), 1)
        self.assertEqual(tunnel.read(line), message)
        self.assertEqual(tunnel.read(line.rstrip()), message)

    def test_bounds(self) -> None:
        """Values are bounded before a line is made of them (P10): the longest is taken, one more is EINVAL."""
        fits: list[dict[str, Any]] = [
            {"destination": "x" * 512},
            {"id": "i" * 255},
            {"content_type": "t" * 255},
            {"correlation_id": "é" * 127},
            {"headers": {f"h{number:02}": "" for number in range(64)}},
            {"headers": {"h": "x" * (16 * 1024 - 1)}},
            {"headers": {"h" * 128: ""}},
            {"priority": 0},
            {"priority": 9},
        ]
        for fields in fits:
            self.assertEqual(code_of(tunnel.write(replace(PLAIN, **fields))), 0)
        wrong: list[dict[str, Any]] = [
            {"destination": "x" * 513},
            {"destination": ""},
            {"id": "i" * 256},
            {"id": ""},
            {"id": "a b"},
            {"content_type": "t" * 256},
            {"content_type": "a\rb"},
            {"correlation_id": "é" * 128},
            {"reply_to": "a\nb"},
            {"headers": {f"h{number}": "" for number in range(65)}},
            {"headers": {"h": "x" * (16 * 1024)}},
            {"headers": {"h" * 129: ""}},
            {"headers": {"a:b": ""}},
            {"headers": {"a": "\0"}},
            {"headers": {"a": "\udcff"}},
            {"headers": {"LB-User": "/CN=forged"}},
            {"headers": {"BCC": "x"}},
            {"headers": {"JMSXUserID": "x"}},
            {"reply_to": "/temp-queue/x"},
            {"reply_to": "amq.rabbitmq.reply-to"},
            {"host": "\udcff"},
            {"priority": 10},
            {"priority": -1},
            {"timestamp": 253_402_300_800_000_000},
        ]
        for fields in wrong:
            error = self.assertRaises(LBError, tunnel.write, replace(PLAIN, **fields))
            self.assertEqual(error.code, errno.EINVAL, fields)


class ReadingTests(SynchronousTestCase):
    """Lines to messages."""

    def test_refused(self) -> None:
        """Lines that are none are refused with the number of what is wrong with them."""
        line = tunnel.write(PLAIN)
        body = line[line.index(b" DG.MESSAGE.BODY=") :]
        for broken, code in (
            (line.replace(b'DG.TYPE="message"', b'DG.TYPE="notification"'), Code.EVENT_UNDEFINED),
            (line.replace(b' DG.TYPE="message"', b""), Code.EVENT_UNDEFINED),
            (line.replace(b'DG.MESSAGE.ID="id-1" ', b""), Code.MESSAGE_INCOMPLETE),
            (line.replace(b'DG.DEST="x-msg://site/queue/a" ', b""), Code.MESSAGE_INCOMPLETE),
            (line.replace(b"DATE=2026", b"DATE=x"), Code.MESSAGE_INCOMPLETE),
            (line.replace(body, b" \n"), Code.MESSAGE_INCOMPLETE),
            (line.replace(b"HOST=", b'DG.DEST="x" HOST='), Code.KEY_DUPLICITY),
            (line.replace(body, body[:-3]), Code.BROKEN_ULM),
            (line.replace(body, body + b"x=y\n"), Code.BROKEN_ULM),
            (line.replace(body, b' DG.MESSAGE.BODY="a" DG.USER="me" \n'), Code.BROKEN_ULM),
            (line.replace(body, b' DG.MESSAGE.BODY="a\nb" \n'), Code.BROKEN_ULM),
            (line.replace(body, b' DG.MESSAGE.BODY="a"b" \n'), Code.BROKEN_ULM),
            (line.replace(body, b' DG.MESSAGE.BODY="a\\\\"b" \n'), Code.BROKEN_ULM),
            (line.replace(body, b' DG.MESSAGE.BODY="a\\" \n'), Code.BROKEN_ULM),
            (line.replace(body, b' DG.MESSAGE.BODY=" \n'), Code.BROKEN_ULM),
            (line.replace(b"say", b"s\0y"), Code.BROKEN_ULM),
            (line.replace(b"HOST=", b'X="\n" HOST='), Code.BROKEN_ULM),
            (line.replace(b'"text"', b'"base64"'), errno.EINVAL),
            (line.replace(b'"text"', b'"hex"'), errno.EINVAL),
            (line.replace(b'PERSISTENT="1"', b'PERSISTENT="yes"'), errno.EINVAL),
            (line.replace(b'PERSISTENT="1"', b'PRIORITY="10"'), errno.EINVAL),
            (line.replace(b'PERSISTENT="1"', b'EXPIRES="tomorrow"'), errno.EINVAL),
            (line.replace(b'PERSISTENT="1"', b'HEADERS="[1]"'), errno.EINVAL),
            (line.replace(b'PERSISTENT="1"', b'HEADERS="{\\"a\\":1}"'), errno.EINVAL),
        ):
            self.assertNotEqual(broken, line)
            self.assertEqual(code_of(broken), code, broken)

    def test_unknown_fields(self) -> None:
        """Fields of a later version, in any order and letters' case, do not keep a message from being read."""
        line = tunnel.write(PLAIN).replace(b"DATE=", b'DG.MESSAGE.COLOUR="red" date=').replace(b"DG.DEST", b"dg.dest")
        self.assertEqual(tunnel.read(line), PLAIN)

    @relaxed
    @given(mutations([tunnel.write(PLAIN), tunnel.write(FULL)]))
    def test_damage(self, line: bytes) -> None:
        """A damaged line is read or refused with an `LBError`; what is read can be written again."""
        try:
            message = tunnel.read(line)
        except LBError:
            return
        self.assertEqual(tunnel.read(tunnel.write(message)), message)

    @relaxed
    @given(mutations([tunnel.receive(tunnel.write(each), "/CN=a", 7)[1] for each in (PLAIN, FULL)]))
    def test_two_readers(self, line: bytes) -> None:
        """Lines in our own form are read by one expression: with the result of the reader of any other form."""
        self.assertEqual(outcome(line), outcome(b"X=1 " + line))

    def test_no_event(self) -> None:
        """To a reader of events, as in C loggers, a message line is an unknown type: 1402."""
        for message in (PLAIN, FULL):
            error = self.assertRaises(LBError, ulm.receive, tunnel.write(message), "/CN=a", 1)
            self.assertEqual(error.code, Code.EVENT_UNDEFINED)


class ReceivingTests(SynchronousTestCase):
    """Lines as a logger takes them."""

    @relaxed
    @given(messages, st.sampled_from(["/CN=a b", '/CN="\\', "/CN=ž", "/CN=\udcff", "anonymous"]))
    def test_identity(self, message: Message, user: str) -> None:
        """The stored line tells the authenticated user, whatever a producer wrote (P7), and the message unchanged."""
        line = tunnel.write(message)
        lines = (
            line,
            b'DG.USER="/CN=forged" DG.LLLID=7 ' + line,
            line.replace(b"HOST=", b"dg.user=x HOST="),
        )
        for given_line in lines:
            taken, stored = tunnel.receive(given_line, user, 42)
            self.assertEqual(taken, replace(message, user=user))
            self.assertTrue(stored.startswith(b'DG.LLLID=42 DG.USER="'))
            self.assertNotIn(b"\n", stored)
            self.assertEqual(tunnel.read(stored), taken)

    def test_large(self) -> None:
        """Ten megabytes, of text full of escapes or of any bytes, are read back whole."""
        for body in (b'"\\\n' * 3_500_000, bytes(range(256)) * 40_000):
            taken, stored = tunnel.receive(tunnel.write(replace(PLAIN, body=body)), "/CN=a", 1)
            self.assertTrue(taken.body == body)
            self.assertTrue(tunnel.read(stored).body == body)
