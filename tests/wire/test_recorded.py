"""Recorded exchanges of C programs: each is read, and rewritten byte for byte from the values read."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.catalogue import BY_NAME
from lb.model.event import Event
from lb.wire import dglog, il, ulm
from tests.wire import recorded

_RECEIPT = re.compile(rb"DG\.LLLID=(-?\d+) ")
NOTIFICATION_KEYS = ["DATE", "HOST", "PROG", "LVL", "DG.SOURCE", "DG.SRC_INSTANCE", "DG.TYPE"]


def rewritten(line: bytes) -> bytes:
    """The line made anew from its event: as its producer wrote it, and as a logger stored it if one did."""
    event = ulm.parse(line)
    end = b"\n" if line.endswith(b"\n") else b""
    receipt = _RECEIPT.match(line)
    if receipt is None:
        return ulm.write(event).removesuffix(b"\n") + end
    assert event.user is not None
    again, stored = ulm.receive(ulm.write(event, user=False), event.user, int(receipt[1]))
    assert again == event
    return stored + end


class RecordedTests(SynchronousTestCase):
    """C programs on the logging path."""

    def test_everything_is_used(self) -> None:
        """The recordings are all there."""
        counted = {
            "frames": len(recorded.frames()),
            "messages": len(recorded.messages()),
            "replies": len(recorded.replies()),
            "answers": len(recorded.answers()),
            "spool and UNIX sockets": len(recorded.starting("spool-", "unix-70", "unix-71")),
        }
        self.assertEqual(
            counted, {"frames": 22, "messages": 19, "replies": 20, "answers": 19, "spool and UNIX sockets": 10}
        )
        self.assertEqual(sum(counted.values()), len(recorded.files()))

    def test_frames(self) -> None:
        """Frames of producers, proxies' producers and interloggers are written again as they were."""
        for name, frame in recorded.frames().items():
            (body,) = il.FrameReader().feed(frame)
            line = il.read_line(body)
            with self.subTest(name):
                self.assertEqual(il.frame(line), frame)
                if b'DG.TYPE="notification"' not in line:
                    self.assertEqual(il.frame(rewritten(line)), frame)

    def test_messages(self) -> None:
        """Messages of producers to loggers are written again as they were."""
        for name, message in recorded.messages().items():
            with self.subTest(name):
                (line,) = dglog.MessageReader().feed(message)
                event = ulm.parse(line, "/CN=x")
                self.assertEqual(dglog.message(ulm.write(event, user=False)), message)

    def test_replies(self) -> None:
        """Replies of servers and receivers are written again as they were."""
        for name, reply in recorded.replies().items():
            with self.subTest(name):
                (body,) = il.FrameReader().feed(reply)
                self.assertEqual(il.write_reply(il.read_reply(body)), reply)

    def test_refusals(self) -> None:
        """A registration repeated is told to its caller as EEXIST, of a living job and of a purged one."""
        for name, words in (
            ("15b-job_reg-again-exclusive.01.in.bin", "Job with given jobid already exists. Rejecting event."),
            ("41e-job_reg-purged.01.in.bin", "Zombie job with given jobid already exists. Rejecting event."),
        ):
            (body,) = il.FrameReader().feed(recorded.files()[name])
            error = il.error_of(il.read_reply(body))
            assert error is not None
            self.assertEqual((error.code, error.description), (17, words))

    def test_answers(self) -> None:
        """Loggers answered every message with success."""
        for data in recorded.answers().values():
            self.assertEqual(dglog.AnswerReader().feed(data), [0])
            self.assertEqual(dglog.answer(0), data)

    def test_hops(self) -> None:
        """What a C logger forwarded is what its producer sent, behind receipt and user."""
        produced = {line for data in recorded.messages().values() for line in dglog.MessageReader().feed(data)}
        forwarded = [
            il.read_line(body)
            for data in recorded.starting("interlogd").values()
            if data in recorded.frames().values()
            for body in il.FrameReader().feed(data)
        ]
        self.assertEqual(len(forwarded), 13)
        self.assertEqual(len([line for line in forwarded if line.partition(b'User" ')[2] + b"\n" in produced]), 13)

    def test_values(self) -> None:
        """Quotes and line feeds came through as they were logged."""
        events = [event for data in recorded.messages().values() for event in _messages(data)]
        (tag,) = (event for event in events if event.type.name == "UserTag")
        self.assertEqual(tag.attributes, {"name": "mytag", "value": 'my value with "quotes" and = and\nnewline'})
        accepted = next(event for event in events if event.type.name == "Accepted")
        self.assertEqual(accepted.text("from_instance"), 'inst "q"')

    def test_subjobs(self) -> None:
        """The ids of the subjobs that the C client registered are those derived from their parent."""
        data = recorded.starting("10-job_reg-dag")
        (frame,) = il.FrameReader().feed(data["10-job_reg-dag.00.out.bin"])
        dag = ulm.parse(il.read_line(frame))
        registered = [event.jobid for name in sorted(data) for event in _messages(data[name])]
        self.assertEqual(dag.number("nsubjobs"), 3)
        self.assertEqual(list(jobid.subjobs(dag.jobid, 3, dag.text("seed"))), registered)


def _messages(data: bytes) -> list[Event]:
    """The events of a recording of producer messages, none of any other."""
    lines = dglog.MessageReader().feed(data) if data.startswith(dglog.MAGIC) else []
    return [ulm.parse(line, "/CN=x") for line in lines]


class SpoolTests(SynchronousTestCase):
    """Files and UNIX sockets between C daemons."""

    def test_lines(self) -> None:
        """Every line of a spool file of events is written again as it was."""
        spool = recorded.files()["spool-dglogd.log.IlD0t093uZMVmuIh4ZMX8A"]
        lines = spool.splitlines(keepends=True)
        self.assertEqual([len(line) for line in lines], [495, 468])
        for line in lines:
            self.assertEqual(rewritten(line), line)
            self.assertEqual(ulm.parse(line).jobid.unique, "IlD0t093uZMVmuIh4ZMX8A")

    def test_control_file(self) -> None:
        """The control file names the job as it is written in full."""
        control = recorded.files()["spool-dglogd.log.IlD0t093uZMVmuIh4ZMX8A.ctl"].decode().splitlines()
        self.assertEqual(str(jobid.parse(control[0])), control[0])
        self.assertEqual(control[1:], ["963", "963"])

    def test_message_of_the_logger(self) -> None:
        """The logger told its interlogger where the line begins, and the line, with NULs after it."""
        sent = recorded.starting("unix-70")
        offset, data = (sent[name] for name in sorted(sent))
        place = int.from_bytes(offset, "little")
        spool = recorded.files()["spool-dglogd.log.IlD0t093uZMVmuIh4ZMX8A"]
        self.assertTrue(data.endswith(b"\n\0\0"))
        self.assertEqual(ulm.decode(data), ulm.decode(spool[place : place + len(data) - 2]))
        self.assertEqual(ulm.parse(data), ulm.parse(spool.splitlines()[0]))

    def test_notifications(self) -> None:
        """Notification lines have the fields of the specification in its order, and one is what the spool holds."""
        sent = recorded.starting("unix-71")
        offsets = [int.from_bytes(data, "little") for data in sent.values() if len(data) == 8]
        self.assertEqual(offsets, [0, 176011])
        lines = [data for data in sent.values() if len(data) > 8]
        self.assertIn(recorded.files()["spool-dglogd.log.H1SN1e95mnwmdCFB5wifBg"], lines)
        for name in ("notif.00.out.bin", "07-notify-receive.02.in.bin"):
            (body,) = il.FrameReader().feed(recorded.files()[name])
            lines.append(il.read_line(body))
        specific = [attribute.key for attribute in BY_NAME["Notification"].attributes]
        for line in lines:
            fields = {field.key: field.value for field in ulm.split(ulm.decode(line))}
            self.assertEqual(list(fields), NOTIFICATION_KEYS + specific)
            self.assertTrue(jobid.parse(fields["DG.NOTIFICATION.NOTIFID"]).notification)
            self.assertTrue(fields["DG.NOTIFICATION.JOBSTAT"].startswith("&lt;jobStat"))
            self.assertIsNotNone(ulm.read_date(fields["DATE"]))
