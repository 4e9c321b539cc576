"""What a logger tells of itself: lines by their answer, what waits for whom, what went wrong."""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from lb.logger.metrics import LoggerMetrics, check_spool
from lb.service.metrics import figures, registry
from lb.service.monitoring import NotReadyError
from lb.spool.limits import Limits as SpoolLimits
from lb.wire import dglog, il
from tests.logger.fixture import BAD, GOOD, Logger, line


class Metrics(SynchronousTestCase):
    """Figures of a logger."""

    def setUp(self) -> None:
        """A logger with two destinations, one of them away."""
        self.logger = Logger(self.mktemp(), spool_limits=SpoolLimits(waiting_bytes=2_000))
        self.addCleanup(self.logger.close)
        self.logger.servers[BAD].refusing = True
        self.counted = registry()
        self.metrics = LoggerMetrics(self.counted)
        logger = self.logger
        self.metrics.watch(
            logger.spool, lambda: logger.forwarder.failures, logger.port, logger.clock.seconds, lambda: 1_800_000_000.0
        )

    def _figures(self) -> dict[str, float]:
        for codes in self.logger.answered:
            self.metrics.answered(codes)
        self.logger.answered.clear()
        return figures(self.counted)

    def test_lines(self) -> None:
        """Lines are counted by what they were answered."""
        self.assertEqual(self._figures()['lb_lines_answered_total{answer="ok"}'], 0)
        self.logger.log(line(1), b"no line\n", line(2), b"neither\n")
        self.logger.log(line(3))
        found = self._figures()
        self.assertEqual(found['lb_lines_answered_total{answer="ok"}'], 3)
        self.assertEqual(sum(value for name, value in found.items() if name.startswith("lb_lines_answered_total")), 5)
        self.metrics.answered([errno.ENOSPC])
        self.assertEqual(self._figures()['lb_lines_answered_total{answer="ENOSPC"}'], 1)

    def test_destinations(self) -> None:
        """What waits, how long, and how often it failed is told for each destination."""
        self.logger.log(line(1), line(2, BAD), line(3, BAD))
        self.logger.servers[GOOD].reply(il.OK)
        self.logger.clock.advance(100)
        self.logger.writer.run()
        found = self._figures()
        self.assertEqual(found[f'lb_pending{{destination="{GOOD}"}}'], 0)
        self.assertEqual(found[f'lb_pending{{destination="{BAD}"}}'], 2)
        self.assertGreaterEqual(found[f'lb_oldest_seconds{{destination="{BAD}"}}'], 100)
        self.assertGreater(found[f'lb_spool_bytes{{destination="{BAD}"}}'], 400)
        self.assertGreater(found[f'lb_delivery_failures_total{{destination="{BAD}"}}'], 0)
        self.assertEqual(found[f'lb_delivery_failures_total{{destination="{GOOD}"}}'], 0)
        self.assertEqual(found['lb_connections{port="producers"}'], 1)
        self.assertEqual(found["lb_certificate_expiry_seconds"], 1_800_000_000)

    def test_quarantine(self) -> None:
        """A record that is set aside is counted."""
        self.logger.log(line(1))
        self.logger.servers[GOOD].reply(il.Reply(il.Major.PERM, 0, "no"))
        self.logger.writer.run()
        self.assertEqual(self._figures()[f'lb_quarantined_total{{destination="{GOOD}"}}'], 1)

    def test_ready(self) -> None:
        """A logger for whose disk too much waits is not ready, and is again when it is written."""
        check = check_spool(self.logger.spool)
        check()
        port, _ = self.logger.producer()
        for number in range(8):
            port.dataReceived(dglog.message(line(number)))
        self.assertGreater(self._figures()["lb_waiting_bytes"], 2_000)
        self.assertRaises(NotReadyError, check)
        self.logger.writer.run()
        check()
