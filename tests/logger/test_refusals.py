"""An event that is always refused "for now" does not block its destination; a server in trouble loses nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lb.logger.limits import DeliveryLimits
from lb.wire import il
from tests.logger.fixture import GOOD, Logger, answers, line

DOWN = il.Reply(il.Major.DBERR, 5, "cannot be stored now")
REFUSED = il.Reply(il.Major.PERM, 0, "check_auth()")
LIMIT = DeliveryLimits().refusals
#: Longer than any pause.
LONG = 2 * DeliveryLimits().longest_pause


class Refusing(SynchronousTestCase):
    """One destination, whose server replies as the test says."""

    limits = DeliveryLimits()

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.logger = Logger(self.directory, delivery=self.limits)
        self.server = self.logger.servers[GOOD]
        self.addCleanup(lambda: self.logger.close())

    def _restart(self, limits: DeliveryLimits) -> None:
        """Begin again with other bounds and nothing in the spool."""
        self.logger.close()
        self.limits = limits
        self.setUp()

    def _numbers(self) -> list[int]:
        """Dates of the lines that the server received over its newest connection since the last look."""
        return [int(text.partition(b"DATE=20240102030405.")[2][:6]) for text in self.server.received()]

    def _reply(self, *replies: il.Reply) -> list[int]:
        """Reply; what the server receives then."""
        self.server.reply(*replies)
        self.logger.writer.run()
        return self._numbers()

    def _next_try(self) -> list[int]:
        self.logger.clock.advance(LONG)
        self.logger.writer.run()
        return self._numbers()

    def _quarantine(self) -> str:
        return "".join(path.read_text() for path in Path(self.directory).rglob("quarantine/*.txt"))

    def _refuse(self, times: int, *, first: list[int]) -> None:
        """Refuse the first event so many times; each time the logger pauses and then begins with it."""
        for _ in range(times):
            self.assertEqual(self._reply(DOWN), [])
            self.assertTrue(self.server.connections[-1][1].aborted)
            self.assertEqual(self._next_try(), first)

    def test_given_up(self) -> None:
        """P5: after enough refusals and an acceptance of the next event it is in quarantine with the reason."""
        for pipelining in (False, True):
            self._restart(DeliveryLimits())
            self.server.pipelining = pipelining
            self.logger.log(*map(line, range(3)))
            window = [0, 1, 2] if pipelining else [0]
            self.assertEqual(self._numbers(), window)
            self._refuse(LIMIT - 1, first=window)
            self.assertEqual(self._quarantine(), "")
            self._refuse(1, first=[0])
            self.assertEqual(self._reply(DOWN), [1])
            self.assertEqual(self.logger.spool.pending, 3)
            self.assertEqual(self._reply(il.OK), [2])
            self.assertEqual(self._reply(il.OK), [])
            self.assertEqual(self.logger.spool.pending, 0)
            kept = self._quarantine()
            self.assertEqual(kept.count("\n"), 2)
            self.assertIn(f"refused {LIMIT + 1} times while others are accepted: 700/5 cannot be stored now", kept)
            self.assertIn("DATE=20240102030405.000000", kept)

    def test_pipelines_again(self) -> None:
        """Once the refused event is out of the way, the server gets whole windows again."""
        self.server.pipelining = True
        self.logger.log(*map(line, range(5)))
        self._numbers()
        self._refuse(LIMIT - 1, first=[0, 1, 2, 3, 4])
        self._refuse(1, first=[0])
        self._reply(DOWN)
        self.assertEqual(self._reply(il.OK), [2, 3, 4])

    def test_server_in_trouble(self) -> None:
        """P2: a server that refuses everything for hours loses nothing, and the first event stays the first (P4)."""
        self.logger.log(*map(line, range(3)))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        for _ in range(100):
            self.assertEqual(self._reply(DOWN), [1])
            self.assertEqual(self._reply(DOWN), [])
            self.assertTrue(self.server.connections[-1][1].aborted)
            self.assertEqual(self._next_try(), [0])
        self.assertEqual(self._reply(il.OK), [1])
        self.assertEqual(self._reply(il.OK), [2])
        self.assertEqual(self._reply(il.OK), [])
        self.assertEqual((self.logger.spool.pending, self._quarantine()), (0, ""))

    def test_recovered(self) -> None:
        """P2: an event that is accepted at last is forgotten as refused: the count begins again."""
        self.logger.log(*map(line, range(3)))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        self.assertEqual(self._reply(il.OK), [1])
        self._refuse(LIMIT, first=[1])
        self.assertEqual(self._reply(il.OK), [2])
        self.assertEqual(self._quarantine(), "")

    def test_alone(self) -> None:
        """An event with none behind it is kept and sent again; the next one to come is what proves it."""
        self.logger.log(line(0))
        self._numbers()
        self._refuse(2 * LIMIT, first=[0])
        self.logger.log(line(1))
        self.assertEqual(self._reply(DOWN), [1])
        self._reply(il.OK)
        self.assertEqual(self.logger.spool.pending, 0)
        self.assertIn("DATE=20240102030405.000000", self._quarantine())

    def test_server_closes(self) -> None:
        """A server that closes after each refusal, as the C server does, is asked about the next event at once."""
        self.logger.log(*map(line, range(2)))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        self.assertEqual(self._reply(DOWN), [1])
        connections = len(self.server.connections)
        self.server.close()
        self.logger.writer.run()
        self.assertEqual(len(self.server.connections), connections + 1)
        self.assertEqual(self._numbers(), [1])
        self._reply(il.OK)
        self.assertEqual(self.logger.spool.pending, 0)
        self.assertIn("DATE=20240102030405.000000", self._quarantine())

    def test_silence_is_no_refusal(self) -> None:
        """P2: a server that closes or is silent instead of a reply to the next event has accepted nothing."""
        self.logger.log(*map(line, range(2)))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        self._reply(DOWN)
        for _ in range(2):  # at once, then after a pause
            self.server.close()
            self.logger.writer.run()
        self.assertEqual(self._next_try(), [0])
        self._reply(DOWN)
        self.logger.clock.advance(DeliveryLimits().patience + 1)
        self.assertTrue(self.server.connections[-1][1].aborted)
        self.assertEqual(self._next_try(), [0])
        self.assertEqual((self.logger.spool.pending, self._quarantine()), (2, ""))

    def test_closed_instead_of_reply(self) -> None:
        """Connections closed without a reply, however many, are not counted as refusals."""
        self.logger.log(*map(line, range(2)))
        for _ in range(3 * LIMIT):
            self.assertEqual(self._numbers(), [0])
            self.server.close()
            self.logger.clock.advance(LONG)
            self.logger.writer.run()
        self.assertEqual(self._numbers(), [0])
        self.assertEqual(self._reply(DOWN), [])

    def test_next_refused_for_good(self) -> None:
        """A refusal for good is no acceptance: that event goes to quarantine, the one behind it is tried."""
        self.logger.log(*map(line, range(3)))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        self.assertEqual(self._reply(DOWN), [1])
        self.assertEqual(self._reply(REFUSED), [2])
        self.assertNotIn("DATE=20240102030405.000000", self._quarantine())
        self._reply(DOWN)
        self.assertEqual(self._next_try(), [0])
        self.assertEqual(self._reply(DOWN), [2])
        self._reply(il.OK)
        self.assertEqual(self.logger.spool.pending, 0)
        self.assertIn("DATE=20240102030405.000000", self._quarantine())

    def test_great_event(self) -> None:
        """The events behind are found also when the refused one fills a whole read."""
        great = line(0).replace(b'"wn"', b'"' + b"w" * 90_000 + b'"')
        self._restart(DeliveryLimits(window_bytes=1_000))
        self.logger.log(great, line(1))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        self.assertEqual(self._reply(DOWN), [1])
        self._reply(il.OK)
        self.assertEqual(self.logger.spool.pending, 0)

    def test_quarantine_fails(self) -> None:
        """P2: an event that cannot be put into quarantine is kept and sent again, what was accepted is not."""
        self.logger.log(*map(line, range(2)))
        self._numbers()
        self._refuse(LIMIT, first=[0])
        self._reply(DOWN)
        journal = self.logger.spool.queue(GOOD).journal
        with mock.patch.object(journal, "quarantine", side_effect=OSError(errno.ENOSPC, "full")):
            self._reply(il.OK)
        self.assertEqual(self.logger.spool.pending, 1)
        self.assertEqual(self._next_try(), [0])

    def test_never(self) -> None:
        """With --max-refusals 0 no event is given up."""
        self._restart(DeliveryLimits(refusals=0))
        self.logger.log(*map(line, range(2)))
        self._numbers()
        self._refuse(5 * LIMIT, first=[0])
        self.assertEqual(self._quarantine(), "")

    def test_limit(self) -> None:
        """P10: with n refusals allowed an event is still waited for at n, and given up with the next."""
        for limit in (1, 2, 3):
            self._restart(DeliveryLimits(refusals=limit))
            self.logger.log(*map(line, range(2)))
            self._numbers()
            self._refuse(limit, first=[0])
            self.assertEqual(self._reply(DOWN), [1])
            self._reply(il.OK)
            self.assertEqual(self.logger.spool.pending, 0)

    def test_waiting_producer(self) -> None:
        """A producer that waits for the server's word on the event hears when it is given up."""
        transport = self.logger.log(line(0, priority=1))
        self.logger.log(line(1))
        self._numbers()
        for _ in range(LIMIT):
            self._reply(DOWN)
            self.logger.forwarder.hasten(GOOD)
            self.logger.writer.run()
        self.assertEqual(answers(transport), [])
        self._reply(DOWN)
        self._reply(il.OK)
        self.assertEqual(answers(transport), [1418])
