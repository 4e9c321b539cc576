"""Metrics, health, the log of slow questions: what is told, and that it is true."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lb.server.collector import Collector
from lb.server.metrics import ServerMetrics
from lb.server.submission import Submission, Unstored
from lb.service.metrics import Distribution, Sampled, figures, registry
from lb.service.monitoring import PATIENCE, Check, Monitoring, NotReadyError, check_certificate
from lb.service.watch import Watch
from lb.store.interface import StoreError
from lb.wire.il import Major
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import registration, running


def here(function: Any, *arguments: Any) -> Deferred[Any]:
    return execute(function, *arguments)


class Storing(SynchronousTestCase):
    """Counters of the storing side."""

    def setUp(self) -> None:
        """A server that counts."""
        path = Path(self.mktemp())
        path.mkdir()
        self.counted = registry()
        self.metrics = ServerMetrics(self.counted)
        self.server = Server(path, tally=self.metrics)
        self.addCleanup(self.server.close)
        self.collector = Collector(self.server.ingest, here, tally=self.metrics)

    def _send(self, *lines: str, peer: Any = OWNER) -> dict[str, float]:
        self.successResultOf(self.collector.submit([Submission(line.encode(), peer) for line in lines]))
        return figures(self.counted)

    def test_events(self) -> None:
        """Stored, repeated and refused events are told apart, batches are counted once."""
        found = self._send(registration(), running(1), running(1), "no event")
        self.assertEqual(found['lb_events_answered_total{reply="ok"}'], 3)
        self.assertEqual(found['lb_events_answered_total{reply="protocol"}'], 1)
        self.assertEqual((found["lb_events_stored_total"], found["lb_events_repeated_total"]), (2, 1))
        self.assertEqual((found["lb_batch_events_count"], found["lb_batch_events_sum"]), (1, 4))
        self.assertEqual(found["lb_commit_seconds_count"], 1)
        found = self._send(registration(), running(1))
        self.assertEqual((found["lb_events_stored_total"], found["lb_events_repeated_total"]), (2, 3))
        found = self._send(running(2), peer=OTHER)
        self.assertEqual(found["lb_batch_events_count"], 3)
        self.assertEqual(sum(value for name, value in found.items() if name.startswith("lb_events_answered_total")), 7)

    def test_trouble(self) -> None:
        """A store that cannot write makes the server unready until it can again."""
        self.metrics.check_store()
        write, self.server.writer.write = self.server.writer.write, self._full  # type: ignore[method-assign]
        found = self._send(registration())
        self.assertEqual(found['lb_events_answered_total{reply="database"}'], 1)
        self.assertEqual(found["lb_commit_seconds_count"], 0)
        error = self.assertRaises(NotReadyError, self.metrics.check_store)
        self.assertIn("ENOSPC disk full", str(error))
        self.server.writer.write = write  # type: ignore[method-assign]
        self._send(registration())
        self.metrics.check_store()

    def _full(self, *arguments: Any, **named: Any) -> None:
        raise StoreError(errno.ENOSPC, "disk full")

    def test_every_reply(self) -> None:
        """Every kind of reply has its counter."""
        majors = [value for name, value in vars(Major).items() if name.isupper()]
        self.metrics.answered([Unstored(major, 0, "") for major in majors])
        answered = [name for name, value in figures(self.counted).items() if "answered_total" in name and value == 1]
        self.assertEqual(len(answered), len(majors))


class Figures(SynchronousTestCase):
    """Values by name."""

    def test_figures(self) -> None:
        """What is sampled is looked up when it is asked for; distributions give count and sum."""
        counted = CollectorRegistry()
        held = {("a",): 1.0}
        counted.register(Sampled("held", "what is held", lambda: held, ("where",)))
        counted.register(Sampled("level", "how much", lambda: len(held), counter=True))
        Histogram("took", "time", registry=counted).observe(2)
        Counter("came", "number", registry=counted).inc(3)
        held[("b",)] = 2.5
        self.assertEqual(
            figures(counted),
            {
                'held{where="a"}': 1.0,
                'held{where="b"}': 2.5,
                "level_total": 2.0,
                "took_count": 1.0,
                "took_sum": 2.0,
                "came_total": 3.0,
            },
        )


class Distributions(SynchronousTestCase):
    """Histograms of our own."""

    def test_as_their_library_counts(self) -> None:
        """What is told equals what the library's own histogram tells of the same values."""
        values = (0.0, 0.5, 1.0, 1.5, 7.0, 10.0, 11.0)
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        plain, by = Distribution("plain", "time", (1, 10)), Distribution("by", "time", (1, 10), "kind")
        for distribution in (plain, by):
            ours.register(distribution)
        library = Histogram("plain", "time", buckets=(1, 10), registry=theirs)
        labelled = Histogram("by", "time", ["kind"], buckets=(1, 10), registry=theirs)
        self.assertEqual(self._samples(ours), self._samples(theirs))
        for number, value in enumerate(values):
            plain.observe(value)
            library.observe(value)
            by.observe(value, "ab"[number % 2])
            labelled.labels("ab"[number % 2]).observe(value)
        self.assertEqual(self._samples(ours), self._samples(theirs))

    def _samples(self, counted: CollectorRegistry) -> set[tuple[Any, ...]]:
        samples = (sample for metric in counted.collect() for sample in metric.samples)
        return {
            (each.name, *sorted(each.labels.items()), each.value)
            for each in samples
            if not each.name.endswith("_created")
        }


class Port(SynchronousTestCase):
    """The monitoring port."""

    def setUp(self) -> None:
        """Nothing is wrong."""
        self.reactor = MemoryReactorClock()
        self.alive: dict[str, Check] = {"thread": lambda: succeed(None)}
        self.ready: dict[str, Check] = {"store": lambda: None}

    def _ask(self, path: str) -> StringTransport:
        counted = CollectorRegistry()
        Counter("came", "number", registry=counted).inc(3)
        monitoring = Monitoring(self.reactor, 9009, counted, self.alive, self.ready)
        monitoring.startService()
        port, factory, _, interface = self.reactor.tcpServers[-1]
        self.assertEqual((port, interface), (9009, "127.0.0.1"))
        protocol: Any = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return transport

    def test_metrics(self) -> None:
        """Metrics in the form that Prometheus reads."""
        head, _, body = self._ask("/metrics").value().partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head)
        found = {
            sample.name: sample.value for one in text_string_to_metric_families(body.decode()) for sample in one.samples
        }
        self.assertEqual(found["came_total"], 3)

    def test_well(self) -> None:
        """All is well: 200 and ok."""
        for path in ("/healthz", "/readyz"):
            value = self._ask(path).value()
            self.assertIn(b" 200 ", value)
            self.assertTrue(value.endswith(b"ok\n"))

    def test_not_ready(self) -> None:
        """What cannot take work lives all the same, and says why it cannot."""

        def full() -> None:
            raise NotReadyError("ENOSPC disk full")

        self.ready["store"] = full
        self.assertIn(b" 200 ", self._ask("/healthz").value())
        value = self._ask("/readyz").value()
        self.assertIn(b" 503 ", value)
        self.assertTrue(value.endswith(b"store: ENOSPC disk full\n"), value)

    def test_dead(self) -> None:
        """What gives no sign in time is not alive, what fails neither."""
        self.alive["stuck"] = Deferred
        self.alive["broken"] = lambda: fail(RuntimeError("stopped"))
        asked = [self._ask(path) for path in ("/healthz", "/readyz")]
        self.assertEqual([transport.value() for transport in asked], [b"", b""])
        self.reactor.advance(PATIENCE)
        for transport in asked:
            self.assertIn(b" 503 ", transport.value())
            self.assertIn(b"stuck: ", transport.value())
            self.assertIn(b"broken: stopped", transport.value())
            self.assertNotIn(b"thread: ", transport.value())

    def test_certificate(self) -> None:
        """A certificate is good until it expires; without one there is nothing to expire."""
        for expires, now, good in ((100.0, 99.9, True), (100.0, 100.0, False), (None, 1e9, True)):
            check = check_certificate(lambda: expires, lambda: now)  # noqa: B023  # called at once
            if good:
                check()
            else:
                self.assertRaises(NotReadyError, check)


class Slow(SynchronousTestCase):
    """The log of slow questions."""

    def _lines(self, seconds: float, slow: float, question: str | bytes = "/?query=owner=a") -> list[str]:
        now = [5.0]
        seen: list[tuple[str, float]] = []
        watch = Watch(lambda kind, took: seen.append((kind, took)), slow, lambda: now[0])
        began = watch.begin()
        now[0] += seconds
        with capturedLogs() as lines:
            watch.end(began, "page", "/CN=Me", question)
        self.assertEqual(seen, [("page", seconds)])
        return [line["log_format"].format(**line) for line in lines]

    def test_slow(self) -> None:
        """Beyond the bound a question is logged with who asked it, at the bound and without one it is not."""
        self.assertEqual(self._lines(2.5, 2.0), ["slow: page of /CN=Me took 2.500 s: /?query=owner=a"])
        self.assertEqual(self._lines(2.0, 2.0), [])
        self.assertEqual(self._lines(1e6, 0.0), [])

    def test_long(self) -> None:
        """P10: of a long question the beginning is logged."""
        (line,) = self._lines(2.5, 2.0, b"x" * 100_000)
        self.assertLess(len(line), 1_100)
