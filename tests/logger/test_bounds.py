"""P10 in the logger: each bound of deliveries and of waiting answers just below, at and just above."""

from __future__ import annotations

import errno
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.logger.limits import AnswerLimits, DeliveryLimits
from lb.model.errors import Code
from lb.wire import il
from tests.logger.fixture import GOOD, Logger, Server, answers, flush, line

ANSWERS = AnswerLimits()


class Deliveries(SynchronousTestCase):
    """One destination, which refuses connections unless it says otherwise."""

    def _logger(self, **bounds: Any) -> tuple[Logger, Server]:
        logger = Logger(self.mktemp(), delivery=DeliveryLimits(**bounds))
        self.addCleanup(logger.close)
        return logger, logger.servers[GOOD]

    def _advance(self, logger: Logger, seconds: float) -> None:
        logger.clock.advance(seconds)
        logger.writer.run()

    def test_window_records(self) -> None:
        """No more than n events are without a reply, however many there are; each reply makes room for one."""
        for there, sent in ((2, 2), (3, 3), (4, 3)):
            logger, server = self._logger(window_records=3)
            server.pipelining = True
            logger.log(*map(line, range(there)))
            self.assertEqual(len(server.received()), sent)
            server.reply(il.OK)
            logger.writer.run()
            self.assertEqual(len(server.received()), there - sent)

    def test_window_bytes(self) -> None:
        """No more than n bytes are without a reply; an event beyond that travels alone."""
        logger, server = self._logger()
        logger.log(line(0))
        [stored] = server.received()
        for extra, sent in ((-1, 1), (0, 2), (1, 2)):
            logger, server = self._logger(window_bytes=2 * len(stored) + extra)
            server.pipelining = True
            logger.log(line(1), line(2), line(3))
            self.assertEqual(len(server.received()), sent)
        logger, server = self._logger(window_bytes=1)
        server.pipelining = True
        logger.log(line(1), line(2))
        self.assertEqual(len(server.received()), 1)

    def test_reply(self) -> None:
        """A reply of the greatest length is read, one byte more ends the connection by its header."""
        reply = il.write_reply(il.Reply(il.Major.OK, 0, "y" * 200))
        body = len(reply) - 17
        for bound, taken in ((body + 1, True), (body, True), (body - 1, False)):
            logger, server = self._logger(reply_bytes=bound)
            logger.log(line(0))
            server.connections[-1][0].dataReceived(reply[: None if taken else 17])
            logger.writer.run()
            self.assertEqual(server.connections[-1][1].aborted, not taken)
            self.assertEqual(logger.spool.pending, 0 if taken else 1)

    def test_patience(self) -> None:
        """A server has its time for a reply, and a slow line more by what is on its way."""
        for slowest in (1_000_000_000, 100):
            logger, server = self._logger(patience=10.0, slowest=slowest)
            logger.log(line(0))
            [stored] = server.received()
            allowed = 10 + (len(stored)) // slowest
            self._advance(logger, allowed - 0.5)
            self.assertFalse(server.connections[0][1].aborted)
            self._advance(logger, 1.5)
            self.assertTrue(server.connections[0][1].aborted)

    def test_pauses(self) -> None:
        """Pauses begin with the first, double, and never exceed the longest, after however many failures."""
        logger, server = self._logger(first_pause=0.5, longest_pause=3.0)
        server.refusing = True
        logger.log(line(0))
        for pause in (0.5, 1.0, 2.0, 3.0, *[3.0] * 2_000):
            attempts = server.attempts
            self._advance(logger, pause - 0.25)
            self.assertEqual(server.attempts, attempts)
            self._advance(logger, 0.25)
            self.assertEqual(server.attempts, attempts + 1)


class Waiting(SynchronousTestCase):
    """Producers that wait while their server is away."""

    def setUp(self) -> None:
        self.logger = Logger(self.mktemp())
        self.addCleanup(self.logger.close)
        self.logger.servers[GOOD].refusing = True

    def _waits(self, data: bytes, seconds: float) -> None:
        """An answer comes after so many seconds, not a second earlier."""
        transport = self.logger.log(data)
        self.logger.clock.advance(seconds - 1)
        self.assertEqual(answers(transport), [])
        self.logger.clock.advance(1)
        self.assertEqual(len(answers(transport)), 1)

    def test_confirmation(self) -> None:
        """The producer of a priority event waits no longer than is allowed."""
        self._waits(line(0, priority=1), ANSWERS.confirmation)

    def test_many(self) -> None:
        """Priority events and flushes beyond n are answered at once: stored, not confirmed; with time there is room."""
        for asking, told in (
            (line(0, priority=1), errno.EAGAIN),
            (flush("5"), Code.IL_EVENTS_WAITING),
        ):
            logger = Logger(self.mktemp(), answering=AnswerLimits(confirmation=5, waiting=3))
            self.addCleanup(logger.close)
            logger.servers[GOOD].refusing = True
            self.assertEqual(answers(logger.log(line(0))), [0])
            first, last = [logger.log(asking) for _ in range(3)], logger.log(asking)
            self.assertEqual([*map(answers, first), answers(last)], [[]] * 3 + [[told]])
            logger.clock.advance(5)
            self.assertEqual([*map(answers, first)], [[told]] * 3)
            self.assertEqual(answers(logger.log(asking)), [])

    def test_flush(self) -> None:
        """A flush takes what it says, or a default, and never more than the longest."""
        self.logger.log(line(0))
        longest = ANSWERS.longest_flush
        for asked, taken in (
            ("5", 5.0),
            (f"{longest - 1:.0f}", longest - 1),
            (f"{longest:.0f}", longest),
            (f"{longest + 1:.0f}", longest),
        ):
            self._waits(flush(asked), taken)
