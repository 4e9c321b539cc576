"""lb probe and lb config: what monitoring systems and administrators ask of a server (spec: cli.md §5.4, §6)."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lb.wire import http
from tests.client import peers
from tests.client.test_cli import Outcome, lb
from tests.processes.house import House


class ReachingTests(TestCase):
    """The commands against a server and a logger behind real ports."""

    def setUp(self) -> None:
        self.pages = {
            "/?version": http.response(200, b"3.0.18"),
            "/?configuration?text": http.response(
                200, b"server_version=3.0.18\nserver_indices=STD_owner\nx=a\x1b[2J=b\n"
            ),
        }
        self.server = peers.query_peer(reactor, lambda request: self.pages.get(request.path))
        self.logger = peers.logger_peer(reactor)
        for peer in (self.server, self.logger):
            self.addCleanup(lambda peer=peer: Deferred.fromCoroutine(peer.close()))

    def lb(self, *arguments: str, **environ: str) -> Deferred[Outcome]:
        around = {
            "LB_STATE_DIR": str(peers.state_directory()),
            "GLITE_WMS_QUERY_SERVER": str(self.server.address),
            **environ,
        }
        return deferToThread(lb, *arguments, environ=around)

    async def test_well(self) -> None:
        """A server and a logger that answer are well; the logger is told nothing (lb-test-nagios-probe 1, 2)."""
        outcome = await self.lb("probe", "--logger", str(self.logger.address))
        self.assertEqual((outcome.code, outcome.stderr), (0, ""))
        self.assertRegex(outcome.stdout, r"\AOK\|time=\d+\.\d{3}s\n\Z")
        self.assertEqual(self.logger.messages, [])
        self.assertEqual([request.path for request in self.server.messages], ["/?version"])
        told = (await self.lb("probe", "--json")).json
        self.assertEqual((told["state"], told["version"]), ("OK", "3.0.18"))

    async def test_slow(self) -> None:
        """An answer that takes longer than may be is a warning."""
        outcome = await self.lb("probe", "--warn", "0.000001")
        self.assertEqual(outcome.code, 1)
        self.assertRegex(outcome.stdout, r"\AWARNING: took \d[^\n]+\n\Z")

    async def test_down(self) -> None:
        """Nobody there, nobody who answers, and nobody in time are DOWN, in the words of the C probe."""
        nobody = "127.0.0.1:1"
        for arguments, why in (
            (("--server", nobody), "Unable to Get Server Version: Connection refused"),
            (("--logger", nobody), "Event Delivery Chain (Logger/Interlogger) Not Running: Connection refused"),
        ):
            outcome = await self.lb("probe", *arguments)
            self.assertEqual((outcome.code, outcome.stderr), (2, ""), arguments)
            self.assertTrue(outcome.stdout.startswith(f"DOWN: {why}"), outcome.stdout)
            self.assertEqual(outcome.stdout.count("\n"), 1)
        self.pages["/?version"] = http.response(500, b"")
        self.assertEqual((await self.lb("probe", "--json")).json["state"], "DOWN")
        del self.pages["/?version"]
        self.assertEqual((await self.lb("probe")).code, 2)

    async def test_no_handshake(self) -> None:
        """A port where somebody listens who speaks no TLS is no logger."""
        factory = peers.Factory.forProtocol(peers.Protocol)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        outcome = await self.lb("probe", "--timeout", "0.2", "--logger", f"127.0.0.1:{port.getHost().port}")
        self.assertEqual(outcome.code, 2)
        self.assertIn("Not Running: Connection timed out", outcome.stdout)

    async def test_unknown(self) -> None:
        """What says nothing about the service is UNKNOWN: wrong usage, wrong settings, no credentials."""
        self.assertEqual((await self.lb("probe", "--bogus")).code, 3)
        for environ in (
            {"GLITE_WMS_QUERY_TIMEOUT": "soon", "GLITE_WMS_QUERY_SERVER": "a b"},
            {"X509_USER_CERT": "/no", "X509_USER_KEY": "/no"},
        ):
            outcome = await self.lb("probe", **environ)
            self.assertEqual(outcome.code, 3, outcome)
            self.assertRegex(outcome.stdout, r"\AUNKNOWN: [^\n]+\n\Z")

    async def test_config(self) -> None:
        """The facts of a server are lines, or JSON; nothing in them acts on a terminal."""
        outcome = await self.lb("config")
        self.assertEqual(outcome.stdout, "server_version=3.0.18\nserver_indices=STD_owner\nx=a\\x1b[2J=b\n")
        self.assertEqual((await self.lb("config", "--json")).json["x"], "a\\x1b[2J=b")
        self.pages["/?configuration?text"] = http.response(401, b"")
        outcome = await self.lb("config")
        self.assertEqual((outcome.code, outcome.stdout), (1, ""))
        self.assertRegex(outcome.stderr, r"\Alb config: [^\n]+\n\Z")


class ChainTests(House):
    """A job of the probe, at a server and a logger as they are started by their users."""

    def lb(self, *arguments: str) -> Outcome:
        environ = {
            "LB_STATE_DIR": str(self.state),
            "GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}",
            "GLITE_WMS_LOG_DESTINATION": f"localhost:{self.logger_port}",
        }
        return lb(*arguments, environ=environ)

    def test_chain(self) -> None:
        """A job lives and is removed; without a logger events do not arrive, without a server nothing does."""
        outcome = self.lb("probe", "--register")
        self.assertEqual((outcome.code, outcome.stderr), (0, ""), outcome.stdout)
        self.assertRegex(outcome.stdout, r"\AOK\|time=")
        self.assertEqual({job["state"] for job in self.lb("jobs", "--json").json} - {"Cleared"}, set())
        self.assertEqual(self.lb("notify", "list", "--json").json, [])
        self.logger.kill()
        outcome = self.lb("probe", "--register", "--timeout", "2")
        self.assertEqual(outcome.code, 2)
        self.assertTrue(outcome.stdout.startswith("DOWN: Event Delivery Chain (Logger/Interlogger) Not Running: "))
        self.assertEqual(self.lb("notify", "list", "--json").json, [])
        self.server.kill()
        outcome = self.lb("probe", "--register", "--timeout", "2")
        self.assertEqual(outcome.code, 2)
        self.assertTrue(outcome.stdout.startswith("DOWN: Unable to Get Server Version: "), outcome.stdout)
