"""Deliveries against servers that refuse, vanish, or say something wrong."""

from __future__ import annotations

import errno
from pathlib import Path
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lb.logger.limits import DeliveryLimits
from lb.service.link import Link
from lb.wire import il
from tests.logger.fixture import BAD, GOOD, Logger, Transport, line

PATIENCE = DeliveryLimits().patience
WINDOW_RECORDS = DeliveryLimits().window_records
DOWN = il.Reply(il.Major.DBERR, 5, "database down")
REFUSED = il.Reply(il.Major.PERM, 0, "check_auth()")


class Delivering(SynchronousTestCase):
    """What a server receives, and what is left in the spool."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.logger = Logger(self.directory)
        self.server = self.logger.servers[GOOD]
        self.addCleanup(lambda: self.logger.close())

    def _numbers(self) -> list[int]:
        """Dates of the lines that the server received since the last look."""
        return [int(text.partition(b"DATE=20240102030405.")[2][:6]) for text in self.server.received()]

    def _reply(self, *replies: il.Reply) -> None:
        self.server.reply(*replies)
        self.logger.writer.run()

    def _advance(self, seconds: float) -> None:
        self.logger.clock.advance(seconds)
        self.logger.writer.run()

    def test_window_of_one(self) -> None:
        """A server that is not ours gets the next event after its reply, in order (P4)."""
        self.logger.log(*map(line, range(3)))
        for number in range(3):
            self.assertEqual(self._numbers(), [number])
            self._reply(il.OK)
        self.assertEqual(self.logger.spool.pending, 0)

    def test_pipelining(self) -> None:
        """A server of ours gets a whole window in one write, and never more than a window."""
        self.server.pipelining = True
        self.logger.log(*map(line, range(WINDOW_RECORDS + 5)))
        self.assertEqual(self._numbers(), list(range(WINDOW_RECORDS)))
        self.assertEqual(self.server.connections[-1][1].writes, 1)
        self._reply(*[il.OK] * WINDOW_RECORDS)
        self.assertEqual(self._numbers(), list(range(WINDOW_RECORDS, WINDOW_RECORDS + 5)))
        self._reply(*[il.OK] * 5)
        self.assertEqual(self.logger.spool.pending, 0)

    def test_certificate_expires(self) -> None:
        """P7: a server whose certificate has expired gets nothing more on its connection; a new one has to prove it."""
        self.logger.log(line(0), line(1))
        link, transport = self.server.connections[-1]
        link.expires = int(self.logger.clock.seconds()) + 5
        self._advance(5)
        self._reply(il.OK)
        self.assertEqual(self._numbers(), [0, 1])
        self._advance(1)
        self._reply(il.OK)
        self.logger.log(line(2))
        self.assertTrue(transport.disconnecting)
        self.assertEqual((len(self.server.connections), self._numbers()), (2, [2]))

    def test_window_bytes(self) -> None:
        """Great events do not add up beyond the window's bytes."""
        self.server.pipelining = True
        great = [line(number).replace(b'"wn"', b'"' + b"w" * 90_000 + b'"') for number in range(50)]
        for each in great:
            self.logger.log(each)
        self.assertEqual(len(self._numbers()), 46)

    def test_refused_for_good(self) -> None:
        """An event that is refused for good goes to quarantine with the reply, those around it go on (P5)."""
        self.server.pipelining = True
        self.logger.log(*map(line, range(3)))
        self._reply(il.OK, REFUSED, il.OK)
        self.assertEqual(self.logger.spool.pending, 0)
        [entry] = Path(self.directory).rglob("quarantine/*.txt")
        text = entry.read_text()
        self.assertIn("600/0 check_auth()", text)
        self.assertIn("DATE=20240102030405.000001", text)
        self.assertEqual(len(self.server.connections), 1)

    def test_quarantine_fails(self) -> None:
        """An event that cannot be put into quarantine is not given up; those answered behind it are done (P2, P5)."""
        self.server.pipelining = True
        self.logger.log(*map(line, range(3)))
        self._numbers()
        journal = self.logger.spool.queue(GOOD).journal
        with mock.patch.object(journal, "quarantine", side_effect=OSError(errno.ENOSPC, "full")):
            self._reply(il.OK, REFUSED, il.OK)
        self.assertEqual(self.logger.spool.pending, 1)
        self._advance(1)
        self.assertEqual(self._numbers(), [1])

    def test_fails_while_connecting(self) -> None:
        """P10: a connection that stands only after the disk failed is closed, and does not stay beside the next one."""
        self.logger.log(line(0), line(1))
        journal = self.logger.spool.queue(GOOD).journal
        made: Deferred[Link] = Deferred()
        with (
            mock.patch.object(journal, "quarantine", side_effect=OSError(errno.ENOSPC, "full")),
            mock.patch.object(self.server, "connect", return_value=made) as connect,
        ):
            self.server.reply(REFUSED)
            self.server.close()
            self.logger.writer.run()
            [(factory,)] = [call.args for call in connect.call_args_list]
        link = factory.buildProtocol(None)
        link.transport = Transport()
        made.callback(link)
        self.assertTrue(link.transport.aborted)
        self._advance(1)
        self.assertEqual(self._numbers(), [0])

    def test_transient(self) -> None:
        """A server in trouble is left alone for a while; then comes the first unacknowledged event (P2)."""
        self.server.pipelining = True
        self.logger.log(*map(line, range(3)))
        self._numbers()
        self._reply(il.OK, DOWN, il.OK)
        self.assertTrue(self.server.connections[0][1].aborted)
        self.assertEqual(self.logger.spool.pending, 2)
        self._advance(0.9)
        self.assertEqual(self.server.attempts, 1)
        self._advance(0.1)
        self.assertEqual(self._numbers(), [1, 2])

    def test_pauses(self) -> None:
        """Pauses grow from one second to a minute, and a success makes them short again."""
        self.server.refusing = True
        self.logger.log(line(1))
        for attempt, pause in enumerate([1, 2, 4, 8, 16, 32, 60, 60], start=1):
            self.assertEqual(self.server.attempts, attempt)
            self._advance(pause - 0.5)
            self.assertEqual(self.server.attempts, attempt)
            self._advance(0.5)
        self.server.refusing = False
        self._advance(60)
        self._reply(il.OK)
        self.server.refusing = True
        self.server.close()
        attempts = self.server.attempts
        self.logger.log(line(2))
        self._advance(1)
        self.assertEqual(self.server.attempts, attempts + 2)

    def test_close_after_success(self) -> None:
        """A server that closes after a success is asked again at once; what it did not answer is sent again (P2)."""
        self.logger.log(line(1), line(2))
        self._reply(il.OK)
        self.assertEqual(self._numbers(), [1, 2])
        self.server.close()
        self.logger.writer.run()
        self.assertEqual(len(self.server.connections), 2)
        self.assertEqual(self._numbers(), [2])

    def test_silence(self) -> None:
        """A server that does not reply is given up and tried again."""
        self.logger.log(line(1))
        self._advance(PATIENCE + 1)
        self.assertTrue(self.server.connections[0][1].aborted)
        self._advance(1)
        self.assertEqual(self._numbers(), [1])

    def test_idle(self) -> None:
        """A connection is kept for a minute without work, then closed; the next event opens another."""
        self.logger.log(line(1))
        self._reply(il.OK)
        self._advance(PATIENCE - 1)
        self.logger.log(line(2))
        self._reply(il.OK)
        self.assertEqual(len(self.server.connections), 1)
        self._advance(PATIENCE)
        self.assertTrue(self.server.connections[0][1].disconnecting)
        self.logger.log(line(3))
        self.assertEqual(len(self.server.connections), 2)
        self.assertEqual(self._numbers(), [3])

    def test_nonsense(self) -> None:
        """A reply that is none, or one to nothing, acknowledges nothing and ends the connection."""
        for nonsense in (b"HTTP/1.1 400 Bad Request\r\n\r\n", il.write_reply(il.OK) * 2):
            self.logger.log(line(1))
            self.server.connections[-1][0].dataReceived(nonsense)
            self.logger.writer.run()
            self.assertTrue(self.server.connections[-1][1].aborted)
            self._advance(1)

    def test_bad_neighbour(self) -> None:
        """A destination that is down or silent delays no other (P5)."""
        self.logger.servers[BAD].refusing = True
        self.logger.log(line(1, BAD), line(2), line(3, BAD))
        self.assertEqual(self._numbers(), [2])
        self._reply(il.OK)
        self.assertEqual(self.logger.spool.queue(GOOD).pending, 0)
        self.assertEqual(self.logger.spool.queue(BAD).pending, 2)

    def test_restart(self) -> None:
        """What was not acknowledged when the logger ended is delivered by the next one (P2)."""
        self.server.refusing = True
        self.logger.log(line(1), line(2))
        self.logger.close()
        self.logger = Logger(self.directory)
        self.server = self.logger.servers[GOOD]
        self.logger.writer.run()
        self.assertEqual(self._numbers(), [1])

    def test_stop(self) -> None:
        """A logger that ended leaves no timer behind."""
        self.logger.servers[BAD].refusing = True
        self.logger.log(line(1), line(2, BAD))
        for connection in list(self.logger.port._connections):
            connection.connectionLost()
        self.logger.close()
        self.assertEqual(self.logger.clock.getDelayedCalls(), [])
