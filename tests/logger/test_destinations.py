"""P10, P5: made-up servers in job ids take nobody's place in the spool but their producer's."""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from lb.logger import destinations
from lb.logger.destinations import Destinations, read_patterns
from lb.logger.limits import DestinationLimits
from lb.model.errors import LBError
from lb.security.identity import Identity
from lb.wire import dglog
from tests.logger.fixture import BAD, GOOD, Logger, answers, line

ALICE, BOB = "/CN=Alice", "/CN=Bob"


class Places(SynchronousTestCase):
    """Decisions on their own."""

    def setUp(self) -> None:
        self.present = {"old:1"}

    def _admitted(self, places: Destinations, destination: str, user: str = ALICE) -> int:
        """The answer; what is admitted is stored."""
        try:
            places.admit(destination, user)
        except LBError as error:
            return error.code
        self.present.add(destination)
        places.settled()
        return 0

    def test_share(self) -> None:
        """A producer brings as many new servers as the bound, one more is refused; those that are there are not."""
        places = Destinations((), DestinationLimits(of_one=2), self.present.__contains__)
        asked = [self._admitted(places, each) for each in ("old:1", "a:1", "b:1", "c:1", "a:1", "old:1")]
        self.assertEqual(asked, [0, 0, 0, errno.ENOSPC, 0, 0])
        self.assertEqual([self._admitted(places, "c:1", BOB), self._admitted(places, "c:1")], [0, 0])

    def test_gone(self) -> None:
        """A server whose events are delivered and whose place is free makes room for another; 0 bounds nothing."""
        places = Destinations((), DestinationLimits(of_one=1), self.present.__contains__)
        self.assertEqual([self._admitted(places, "a:1"), self._admitted(places, "b:1")], [0, errno.ENOSPC])
        self.present.discard("a:1")
        self.assertEqual([self._admitted(places, "b:1"), self._admitted(places, "a:1")], [0, errno.ENOSPC])
        free = Destinations((), DestinationLimits(of_one=0), self.present.__contains__)
        self.assertEqual({self._admitted(free, f"h{number}:1") for number in range(300)}, {0})

    def test_memory(self) -> None:
        """What is remembered of destinations is bounded by those that are there."""
        self.patch(destinations, "_REMEMBERED", 10)
        places = Destinations((), DestinationLimits(of_one=0), self.present.__contains__)
        for number in range(100):
            self._admitted(places, f"h{number}:1")
            self.present.clear()
        self.assertLessEqual(len(places._brought), 10)

    def test_patterns(self) -> None:
        """Servers that no pattern allows are refused, whoever asks; letters are compared without their case."""
        places = Destinations(read_patterns(["*.Good.example", "one:9000"]), present=self.present.__contains__)
        asked = {each: self._admitted(places, each) for each in ("LB.good.example:1", "one:9000", "one:9001", "good:1")}
        self.assertEqual(list(asked.values()), [0, 0, errno.EPERM, errno.EPERM])


class Producing(SynchronousTestCase):
    """Decisions as producers hear them."""

    def _logger(self, of_one: int) -> Logger:
        logger = Logger(self.mktemp(), destinations=DestinationLimits(of_one=of_one))
        self.addCleanup(logger.close)
        return logger

    def test_refused(self) -> None:
        """A line for one server too many costs its own answer, those around it are stored and delivered."""
        logger = self._logger(1)
        transport = logger.log(line(0), line(1, BAD), line(2))
        self.assertEqual(answers(transport), [0, errno.ENOSPC, 0])
        self.assertEqual([queue.destination for queue in logger.spool.queues()], [GOOD])

    def test_at_once(self) -> None:
        """Servers that come in one write are counted before they have their places; one without a place is not."""
        logger = self._logger(2)
        transport = logger.log(*(line(number, BAD if number else GOOD) for number in range(3)), line(3, "x" * 2000))
        self.assertEqual(answers(transport), [0, 0, 0, errno.ENOSPC])
        logger = self._logger(1)
        refused = answers(logger.log(line(0, "x" * 2000)))
        self.assertEqual((refused, answers(logger.log(line(1)))), ([errno.EINVAL], [0]))

    def test_whose(self) -> None:
        """P7: shares are those of certificates, and of all anonymous producers together."""
        logger = self._logger(1)
        taken = []
        for name, server in ((ALICE, GOOD), (ALICE, BAD), (None, BAD), (None, "h:1"), (BOB, BAD)):
            port, transport = logger.producer(Identity(name))
            port.dataReceived(dglog.message(line(0, server)))
            logger.writer.run()
            taken += answers(transport)
        self.assertEqual(taken, [0, errno.ENOSPC, 0, errno.ENOSPC, 0])
