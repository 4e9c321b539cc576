"""Pages in a real browser: nothing complains, and what changes is seen without anybody's doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import TestCase

from lb.model.jobid import parse
from lb.security.policy import Policy
from lb.server.assembly import Assembly
from lb.server.changes import Changes
from lb.server.collector import Collector
from lb.server.feed import Feed
from lb.web.api.service import API
from lb.web.site import site
from lb.wire import ulm
from lb.wire.jsonevent import Defaults, read_event
from tests.peers.chromium import Chromium
from tests.peers.packages import CHROMIUM, absence
from tests.server.fixture import OWNER, Server
from tests.web.fixture import Here, questions, replay
from tests.web.test_api_stream import registration, running
from tests.web.test_registrations import Given
from tests.web.test_vectors import Counted

reactor: Any = _reactor

NOTE = "document.querySelector('.live')?.textContent"
ROWS = "document.querySelectorAll('tbody tr').length"


class Browser(TestCase):
    """Chromium in front of the site, without TLS: whoever connects is the owner."""

    skip = absence(CHROMIUM)
    timeout = 90

    def setUp(self) -> Any:
        """A site on a loopback port, and a browser."""
        path = Path(self.mktemp())
        path.mkdir()
        self.server = Server(path, Policy.open())
        self.addCleanup(self.server.close)
        collector = Collector(self.server.ingest, Here().call)
        changes = Changes(self.server.reader, Assembly(self.server.reader, lambda: self.server.policy, "salt"))
        feed = Feed(Here(), changes, lambda: self.server.writer.last_change, reactor, lambda call: call())
        feed.startService()
        self.addCleanup(feed.stopService)
        self.server.stored = feed.stored
        jobs = questions(self.server)
        api = API(jobs, collector, feed, reactor)
        self.channels: list[Any] = []
        factory = site(jobs, reactor, lambda transport: OWNER, api=api, registrations=Given(), usage=Counted([]))
        build = factory.buildProtocol

        def noted(address: Any) -> Any:
            self.channels.append(build(address))
            return self.channels[-1]

        factory.buildProtocol = noted  # type: ignore[method-assign]
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.addCleanup(self._cut)
        self.url = f"http://127.0.0.1:{port.getHost().port}"
        self.browser = Chromium(reactor)
        self.addCleanup(self.browser.stop)
        return Deferred.fromCoroutine(self.browser.open())

    def _cut(self) -> None:
        """End all connections."""
        for channel in self.channels:
            if channel.transport is not None and channel.transport.connected:
                channel.transport.abortConnection()
        self.channels.clear()

    def _log(self, *documents: dict[str, Any]) -> None:
        defaults = Defaults(int(reactor.seconds() * 1_000_000), "wn")
        lines = []
        for document in documents:
            event = read_event(document, defaults)
            event.user = OWNER.name
            lines.append(ulm.write(event))
        self.assertEqual({reply.major for reply in self.server.send_all(lines)}, {0})

    async def test_nothing_complains(self) -> None:
        """No page of any kind breaks the strict policy, throws, or misses something that it loads."""
        collection = parse(replay(self.server, "collection-100")).unique
        unique = parse(replay(self.server, "job-resubmitted")).unique
        for path in (
            "/",
            f"/{unique}",
            f"/{collection}",
            f"/{unique}?flags=history",
            "/?configuration",
            "/?stats",
            "/NOTIF:",
        ):
            await self.browser.go(self.url + path)
            self.assertTrue(await self.browser.value("document.querySelector('h1').textContent"), path)
            color = await self.browser.value("getComputedStyle(document.querySelector('.brand')).textDecorationLine")
            self.assertEqual(color, "none", path)
        self.assertEqual(self.browser.complaints, [])

    async def test_narrow(self) -> None:
        """On a telephone nothing stands out at the side: what is wide scrolls in itself."""
        await self.browser.command(
            "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False
        )
        collection = parse(replay(self.server, "collection-100")).unique
        unique = parse(replay(self.server, "job-resubmitted")).unique
        for path in ("/", f"/{unique}", f"/{collection}", "/NOTIF:", "/?configuration", "/?stats"):
            await self.browser.go(self.url + path)
            self.assertLessEqual(await self.browser.value("document.documentElement.scrollWidth"), 390, path)
            if path == "/":  # its columns fit
                inside = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)"
                self.assertLessEqual(await self.browser.value(f"{inside}(document.querySelector('.scroll'))"), 0)
        self.assertEqual(self.browser.complaints, [])

    async def test_job(self) -> None:
        """A job's page shows its new state, and its reader is told."""
        self._log(registration("a"))
        await self.browser.go(f"{self.url}/a")
        await self.browser.until(f"{NOTE} === 'Live'")
        self.assertIn("Submitted", await self.browser.value("document.title"))
        self._log(running("a"))
        await self.browser.until("document.title.startsWith('Running')")
        self.assertEqual(await self.browser.value("document.querySelector('main .badge').textContent"), "Running")
        self.assertIn("updated", await self.browser.value(NOTE))
        self.assertEqual(self.browser.complaints, [])

    async def test_crowd(self) -> None:
        """The number of a hundred events at one instant stands within its circle on the timeline."""
        self._log(registration("a"))
        tag = {
            "type": "UserTag",
            "jobId": "https://localhost:9000/a",
            "value": "x",
            "timestamp": "2026-11-25T10:00:00Z",
        }
        self._log(*({**tag, "name": f"n{number}", "host": f"h{number}"} for number in range(100)))
        await self.browser.go(f"{self.url}/a")
        inside = "(({ text, circle }) => circle - text)"
        sizes = "Object.fromEntries(['text', 'circle'].map((name) => [name, %s.querySelector(name).getBBox().width]))"
        drawn = "document.querySelector('.dot:has(text)')"
        self.assertEqual(await self.browser.value(f"{drawn}.querySelector('text').textContent"), "99+")
        self.assertGreater(await self.browser.value(f"{inside}({sizes.replace('%s', drawn)})"), 0)

    async def test_list(self) -> None:
        """A list gets its new rows, and what its reader opened stays open."""
        self._log(registration("a"))
        await self.browser.go(f"{self.url}/")
        await self.browser.until(f"{NOTE} === 'Live'")
        await self.browser.value("document.querySelector('details').open = true")
        self._log(registration("b"))
        await self.browser.until(f"{ROWS} === 2")
        self.assertTrue(await self.browser.value("document.querySelector('details').open"))
        self.assertEqual(self.browser.complaints, [])

    async def test_none_left(self) -> None:
        """A list whose last job leaves it says so, and an empty one shows its first job."""
        await self.browser.go(f"{self.url}/")
        await self.browser.until(f"{NOTE} === 'Live'")
        self.assertIn("no jobs here yet", await self.browser.value("document.querySelector('.reason').textContent"))
        self._log(registration("a"))
        await self.browser.until(f"{ROWS} === 1")
        await self.browser.go(f"{self.url}/?query=jobid=https://localhost:9000/a&status=submitted")
        await self.browser.until(f"{NOTE} === 'Live'")
        self._log(running("a"))
        await self.browser.until(f"{ROWS} === 0")
        self.assertIn("No job", await self.browser.value("document.querySelector('.reason').textContent"))

    async def test_script(self) -> None:
        """With the script times tell how long ago they were, and an id can be copied; both also after a change."""
        self._log(registration("a"))
        await self.browser.go(f"{self.url}/a")
        await self.browser.until(f"{NOTE} === 'Live'")
        for _ in range(2):
            self.assertTrue(await self.browser.value("document.querySelector('.facts .ago').textContent"))
            self.assertTrue(
                await self.browser.value("[...document.querySelectorAll('main time')].every((t) => t.title)")
            )
            self.assertEqual(await self.browser.value("document.querySelectorAll('.copy').length"), 1)
            self._log(running("a"))
            await self.browser.until("document.title.startsWith('Running')")
        self.assertEqual(self.browser.complaints, [])

    async def test_behind_another_tab(self) -> None:
        """A page that nobody sees gives its connection back, and shows what it missed when it is seen again."""
        self._log(registration("a"))
        await self.browser.go(f"{self.url}/")
        await self.browser.until(f"{NOTE} === 'Live'")
        seen = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
        seen += "document.dispatchEvent(new Event('visibilitychange'));"
        (stream,) = [each for channel in self.channels for each in channel.requests if b"/stream" in each.uri]
        ended = stream.notifyFinish()
        await self.browser.value(seen.replace("%s", "true"))
        await self.assertFailure(ended, ConnectionDone)
        self._log(registration("b"))
        await self.browser.value(seen.replace("%s", "false"))
        await self.browser.until(f"{ROWS} === 2")
        self.assertEqual(self.browser.complaints, [])

    async def test_connection_lost(self) -> None:
        """What changed while the connection was away is there when it is back."""
        self._log(registration("a"))
        await self.browser.go(f"{self.url}/")
        await self.browser.until(f"{NOTE} === 'Live'")
        self._cut()
        self._log(registration("b"))
        await self.browser.until(f"{ROWS} === 2")
        self.assertIn("Live", await self.browser.value(NOTE))
