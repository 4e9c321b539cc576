"""The producer port, byte by byte and without a network."""

from __future__ import annotations

import errno
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lb.security.identity import ANONYMOUS
from lb.spool.limits import Limits as SpoolLimits
from lb.spool.naming import directory_name
from lb.spool.spool import Spool
from lb.wire import dglog, il
from tests.logger.fixture import BAD, GOOD, RECEIPT, Logger, answers, flush, line

REFUSED = il.Reply(il.Major.PERM, 0, "check_auth()")


class Receiver(SynchronousTestCase):
    """Answers, their order, and what is stored."""

    def setUp(self) -> None:
        self.logger = Logger(self.mktemp())
        self.addCleanup(lambda: self.logger.close())

    def _again(self, **options: object) -> None:
        self.logger.close()
        self.logger = Logger(self.mktemp(), **options)  # type: ignore[arg-type]

    def test_answer_after_storing(self) -> None:
        """No answer before the disk has the event, 0 when it has (P1); the user is the peer's (P7)."""
        port, transport = self.logger.producer()
        port.dataReceived(dglog.message(line(1)))
        self.assertEqual(transport.value(), b"")
        self.logger.writer.run()
        self.assertEqual(transport.value(), b"\0\0\0\0")
        [stored] = self.logger.servers[GOOD].received()
        self.assertTrue(stored.startswith(b'DG.LLLID=%d DG.USER="/O=Test/CN=Producer" DATE=' % RECEIPT))

    def test_any_split(self) -> None:
        """Messages cut at every byte are answered in order, each for itself (P5)."""
        port, transport = self.logger.producer()
        broken = line(2).replace(b"DG.EVNT", b"DG.EVENT")
        for byte in b"".join(map(dglog.message, (line(1), broken, b"", b"x\ny", line(3)))):
            port.dataReceived(bytes((byte,)))
        self.logger.writer.run()
        codes = answers(transport)
        self.assertEqual((codes[0], codes[1], codes[4]), (0, 1402, 0))
        self.assertNotIn(0, codes[2:4])

    def test_anonymous(self) -> None:
        """A peer without a certificate is the user `anonymous`, whatever its line says (P7)."""
        port, _ = self.logger.producer(ANONYMOUS)
        port.dataReceived(dglog.message(line(1).replace(b"DATE=", b'DG.USER="/CN=root" DATE=', 1)))
        self.logger.writer.run()
        [stored] = self.logger.servers[GOOD].received()
        self.assertEqual(stored.count(b"DG.USER="), 1)
        self.assertIn(b'DG.USER="anonymous"', stored)

    def test_no_message(self) -> None:
        """Bytes that are no message are answered with EINVAL after what came before, and end the connection (P10)."""
        port, transport = self.logger.producer()
        port.dataReceived(dglog.message(line(1)) + b"HELLO WORLD")
        self.logger.writer.run()
        self.assertEqual(answers(transport), [0, errno.EINVAL])
        self.assertTrue(transport.disconnecting)

    def test_full_disk(self) -> None:
        """A full disk refuses and keeps what it has (P6)."""
        self._again(spool_limits=SpoolLimits(disk_bytes=800))
        self.assertEqual(answers(self.logger.log(line(1))), [0])
        self.assertEqual(answers(self.logger.log(line(2))), [errno.ENOSPC])
        self.assertEqual(self.logger.spool.pending, 1)

    def test_closed_spool(self) -> None:
        """A logger that is ending answers nothing, so that the producer keeps its event (P1)."""
        port, transport = self.logger.producer()
        self.logger.close()
        port.dataReceived(dglog.message(line(1)))
        self.assertEqual(transport.value(), b"")
        self.assertTrue(transport.aborted)

    def test_files_of_one_destination(self) -> None:
        """A destination whose files cannot be written costs the others of a chunk nothing (P5)."""
        (Path(self.logger.spool.directory) / "journals" / directory_name(BAD)).touch()
        chunk = line(1), line(2, BAD), line(3), line(4, BAD), line(5)
        for _ in range(2):
            self.assertEqual(answers(self.logger.log(*chunk)), [0, errno.ENOTDIR, 0, errno.ENOTDIR, 0])
        good, bad = (self.logger.spool.queue(name) for name in (GOOD, BAD))
        self.assertEqual((bad.pending, good.pending >= 6), (0, True))
        self.logger.close()
        self.flushLoggedErrors(NotADirectoryError)

    def test_too_many_destinations(self) -> None:
        """An event that the spool cannot place costs no other event of its chunk its place (P5)."""
        self._again(spool_limits=SpoolLimits(destinations=1))
        self.assertEqual(answers(self.logger.log(line(1), line(2, BAD), line(3))), [0, errno.ENOSPC, 0])
        self.assertEqual(self.logger.spool.queue(GOOD).pending, 2)

    def test_one_append_a_chunk(self) -> None:
        """All events that came together are stored together."""
        with mock.patch.object(Spool, "append", autospec=True, side_effect=Spool.append) as append:
            self.assertEqual(answers(self.logger.log(*map(line, range(20)))), [0] * 20)
        self.assertEqual(append.call_count, 1)

    def test_forward(self) -> None:
        """With --forward all events go to one server."""
        self._again(forward=GOOD)
        self.logger.log(line(1, "elsewhere.example:9000"))
        self.assertEqual([queue.destination for queue in self.logger.spool.queues()], [GOOD])

    def test_priority(self) -> None:
        """A priority event is answered with the server's word, by the table of wire-logging.md §4.5."""
        words = [
            (il.OK, 0),
            (il.Reply(700, 2, "no job"), 2),
            (il.Reply(400, 1402, "what"), 1417),
            (REFUSED, 1418),
            (il.Reply(700, 17, "exists"), 1418),
        ]
        for number, (reply, code) in enumerate(words):
            transport = self.logger.log(line(number, priority=1))
            self.assertEqual(answers(transport), [])
            self.logger.servers[GOOD].reply(reply)
            self.logger.writer.run()
            self.assertEqual(answers(transport), [code])

    def test_priority_in_vain(self) -> None:
        """A priority event without the server's word is answered EAGAIN after 120 s, and stays to be delivered."""
        self.logger.servers[GOOD].refusing = True
        transport = self.logger.log(line(1, priority=2))
        self.logger.clock.advance(119)
        self.assertEqual(answers(transport), [])
        self.logger.clock.advance(1)
        self.assertEqual(answers(transport), [errno.EAGAIN])
        self.assertEqual(self.logger.spool.pending, 1)

    def test_order_of_answers(self) -> None:
        """Answers keep the order of the messages, although a later one is known before."""
        port, transport = self.logger.producer()
        port.dataReceived(dglog.message(line(1, priority=1)))
        port.dataReceived(dglog.message(b"broken"))
        self.logger.writer.run()
        self.assertEqual(answers(transport), [])
        self.logger.servers[GOOD].reply(il.OK)
        codes = answers(transport)
        self.assertEqual(codes[0], 0)
        self.assertEqual(len(codes), 2)

    def test_flush(self) -> None:
        """A flush is answered 0 when the events before it, of its message's chunk too, are with the server."""
        transport = self.logger.log(line(1), flush("10"))
        self.assertEqual(answers(transport), [])
        self.logger.servers[GOOD].reply(il.OK)
        self.assertEqual(answers(transport), [0, 0])

    def test_flush_in_vain(self) -> None:
        """A flush is answered 1419 when its time is over."""
        self.logger.log(line(1))
        transport = self.logger.log(flush("10", None))
        self.logger.clock.advance(10)
        self.assertEqual(answers(transport), [1419])

    def test_flush_of_nothing(self) -> None:
        """A flush waits for nothing when nothing waits, and for the events of its job's server only."""
        self.logger.log(line(1, BAD))
        self.assertEqual(answers(self.logger.log(flush("10"))), [0])

    def test_unknown_command(self) -> None:
        """A command that is none is refused and not stored."""
        transport = self.logger.log(flush("10").replace(b'"flush"', b'"jump"'))
        self.assertEqual(answers(transport), [errno.EINVAL])
        self.assertEqual(self.logger.spool.pending, 0)
