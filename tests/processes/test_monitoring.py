"""The monitoring port of running daemons: every figure can be looked up, and what is well is told so."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.processes.daemon import PATIENCE, Daemon


class Monitoring(SynchronousTestCase):
    """`--metrics-port` of both daemons."""

    def _started(self, name: str) -> str:
        """A daemon, and the address of its port."""
        daemon = Daemon(name, Path(self.mktemp()).absolute(), "--port", "0", "--metrics-port", "0")
        self.addCleanup(daemon.stop)
        found = re.search(r"metrics (http://127\.0\.0\.1:\d+/)", daemon.start())
        assert found is not None
        return found[1]

    def _get(self, url: str) -> str:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def test_both(self) -> None:
        """lb-test-nagios-probe 1 and 2: both are well and ready, and tell what their documentation lists."""
        documented = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
        tables = documented.partition("| figure of the server |")[2].partition("| figure of the logger |")
        for name, table in (("lb", tables[0]), ("lb-logger", tables[2].partition("\n\n")[0])):
            url = self._started(name)
            for path in ("healthz", "readyz"):
                self.assertEqual(self._get(url + path), "ok\n", (name, path))
            told = {
                sample.name
                for family in text_string_to_metric_families(self._get(f"{url}metrics"))
                for sample in (family, *family.samples)
            }
            listed = re.findall(r"`(lb_\w+?)(?:_total)?(?:\{.*?\})?`", table)
            self.assertGreater(len(listed), 5)
            self.assertEqual([each for each in listed if each not in told], [], name)
