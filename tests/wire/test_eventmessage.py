"""Events in messages: one line, several, JSON in its three shapes; who logs them; what is none."""

from __future__ import annotations

import errno
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.wire import ulm
from lb.wire.documents import event_document
from lb.wire.eventmessage import read_lines

SOMEBODY = "/O=Test/CN=Somebody"
VOUCHED = "/O=Test/CN=Vouched"
LINE = (
    b'DATE=20240102030405.123456 HOST="ui.ex" PROG=edg-wms LVL=SYSTEM DG.PRIORITY=4 DG.SOURCE="LogMonitor" '
    b'DG.SRC_INSTANCE="" DG.EVNT="Running" DG.JOBID="https://lb.ex:9000/7-31F2bdWH6EFPUMCk4ztg" '
    b'DG.SEQCODE="UI=000001:NS=0000000000:WM=000000:BH=0000000000:JSS=000000:LM=000002:LRMS=000000:APP=000000'
    b':LBS=000000" DG.USER="/O=Test/CN=Somebody" DG.RUNNING.NODE="wn1" '
)
DOCUMENT = event_document(ulm.parse(LINE))


def changed(**members: Any) -> dict[str, Any]:
    """The document with other members; None: without it."""
    return {name: value for name, value in {**DOCUMENT, **members}.items() if value is not None}


def body(document: object) -> bytes:
    return json.dumps(document).encode()


class MessageTests(SynchronousTestCase):
    """What bodies hold."""

    def events(self, message: bytes, user: str | None = None, most: int = 100) -> list[Any]:
        """Events of a body that has no errors."""
        lines = read_lines(message, user, most)
        self.assertEqual([line for line in lines if isinstance(line, LBError)], [])
        return [ulm.parse(line) for line in lines if isinstance(line, bytes)]

    def errors(self, message: bytes, user: str | None = None) -> list[int]:
        """The numbers of errors of a body's parts, 0 for events."""
        return [line.code if isinstance(line, LBError) else 0 for line in read_lines(message, user, 100)]

    def refused(self, message: bytes, most: int = 100) -> int:
        """The number of a whole body's error."""
        return self.assertRaises(LBError, read_lines, message, None, most).code

    def test_lines(self) -> None:
        """One line, with and without its end; several, blank ones between them; ends as other systems have them."""
        event = ulm.parse(LINE)
        for one in (LINE, LINE + b"\n", LINE + b"\n\0", b"\n \n" + LINE + b"\r\n\n"):
            self.assertEqual(self.events(one), [event])
        self.assertEqual(self.events(LINE + b"\n\n" + LINE + b"\r\n" + LINE), [event] * 3)

    def test_json(self) -> None:
        """An object, also over several lines; an array; an object a line: the same events as lines."""
        event = ulm.parse(LINE)
        pretty = json.dumps(DOCUMENT, indent=2).encode()
        for one in (body(DOCUMENT), b"\n " + pretty, body([DOCUMENT]), body(DOCUMENT) + b"\n"):
            self.assertEqual(self.events(one), [event])
        for two in (body([DOCUMENT, DOCUMENT]), body(DOCUMENT) + b"\n\n" + body(DOCUMENT)):
            self.assertEqual(self.events(two), [event] * 2)

    def test_user(self) -> None:
        """Who logs is whom somebody vouches for, whatever the events say; nobody vouches: they are believed (P7)."""
        without = LINE.replace(b'DG.USER="/O=Test/CN=Somebody" ', b"")
        for message in (LINE, without, body(DOCUMENT), body(changed(user=None))):
            self.assertEqual([event.user for event in self.events(message, VOUCHED)], [VOUCHED])
        for message in (LINE, body(DOCUMENT)):
            self.assertEqual([event.user for event in self.events(message)], [SOMEBODY])
        self.assertEqual(self.errors(body(changed(user=None))), [errno.EINVAL])
        self.assertEqual(read_lines(without, None, 1), [without])  # the server will say what is missing

    def test_same_again(self) -> None:
        """What tells an event from others may not be left to the moment in which it is read (P3)."""
        for name in ("timestamp", "host"):
            self.assertEqual(self.errors(body(changed(**{name: None}))), [errno.EINVAL])
        first, again = (read_lines(body(changed(seqcode=None, arrived=None)), None, 1) for _ in range(2))
        self.assertEqual(first, again)

    def test_errors(self) -> None:
        """What is no event is an error in its place; the others of the message are events (P5)."""
        self.assertEqual(
            self.errors(LINE + b"\nnonsense\n" + LINE.replace(b"Running", b"Nothing") + b"\n" + LINE, VOUCHED),
            [0, Code.BROKEN_ULM, Code.EVENT_UNDEFINED, 0],
        )
        odd = [DOCUMENT, 7, changed(type="Nothing"), changed(strange="x"), changed(src_instance="\0"), DOCUMENT]
        wanted = [0, errno.EINVAL, Code.EVENT_UNDEFINED, errno.EINVAL, errno.EINVAL, 0]
        self.assertEqual(self.errors(body(odd)), wanted)
        self.assertEqual(self.errors(b"\n".join(map(body, odd)) + b"\n{,}"), [*wanted, errno.EINVAL])
        self.assertEqual(self.errors(b"[" * 100_000), [errno.EINVAL])

    def test_nothing(self) -> None:
        """A message without events is refused."""
        for nothing in (b"", b"\n\n", b"\0", b" \r\n", b"[]"):
            self.assertEqual(self.refused(nothing), errno.EINVAL)

    def test_bound(self) -> None:
        """As many events as may be, not one more (P10)."""
        for join in (lambda count: b"\n".join([LINE] * count) + b"\n", lambda count: body([DOCUMENT] * count)):
            self.assertEqual(len(self.events(join(3), most=3)), 3)
            self.assertEqual(self.refused(join(4), most=3), errno.E2BIG)
        self.assertEqual(self.refused(b"\n".join([body(DOCUMENT)] * 4), most=3), errno.E2BIG)
        self.assertEqual(self.refused(b"\n\n" * 1_000 + LINE), errno.E2BIG)
