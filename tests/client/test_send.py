"""Messages to brokers: what a producer hands to its logger, and what it is told."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.blocking import Client
from lb.client.outgoing import new_message, tunnelling_error
from lb.model.errors import Code
from lb.wire import tunnel
from lb.wire.tunnel import Message
from tests.client import peers
from tests.client.test_cli import Outcome, lb

TO = "x-msg://site/queue/a"


class MessageTests(SynchronousTestCase):
    """New messages."""

    def test_defaults(self) -> None:
        """Text is UTF-8 and plain text, bytes are bytes; each message has its own id and is kept by the broker."""
        text, data = (new_message(TO, body, now=5.5, host="ui") for body in ("žluť", b"\xff"))
        self.assertEqual((text.body.decode(), text.content_type), ("žluť", "text/plain; charset=utf-8"))
        self.assertEqual((data.body, data.content_type), (b"\xff", "application/octet-stream"))
        self.assertNotEqual(text.id, data.id)
        self.assertEqual((text.timestamp, text.expires, text.persistent, text.flags), (5_500_000, None, True, 4))

    def test_choices(self) -> None:
        """What is chosen is in the message; its life is counted from now."""
        made = new_message(
            TO, b"x", now=5, host="ui", content_type="a/b", headers={"h": "1"}, persistent=False, lifetime=0.5,
            priority=3, correlation_id="c", reply_to="/queue/r", id="i", synchronous=True,
        )  # fmt: skip
        expected = Message(
            TO, b"x", "i", 5_000_000, "ui", "a/b", {"h": "1"}, False, 5_500_000, 3, "c", "/queue/r", "", 6
        )
        self.assertEqual(made, expected)

    def test_answers(self) -> None:
        """Each answer of a logger is an error of its own, in words that name the destination."""
        self.assertIsNone(tunnelling_error(0, TO))
        for code, told, words in (
            (Code.EVENT_UNDEFINED, errno.EOPNOTSUPP, "1402, as the C implementation does"),
            (errno.ENOENT, errno.ENOENT, "--broker NAME=URL"),
            (errno.EPERM, errno.EACCES, "policy"),
            (errno.EINVAL, errno.EINVAL, "cannot use"),
            (errno.ENOSPC, errno.ENOSPC, "no room"),
            (errno.EAGAIN, errno.EAGAIN, "not confirmed yet"),
            (Code.IL_SYS, errno.EREMOTEIO, "quarantine"),
        ):
            error = tunnelling_error(code, TO)
            assert error is not None
            self.assertEqual(error.code, told)
            self.assertIn(words, error.description)
            self.assertIn(TO, error.description)
        other = tunnelling_error(Code.KEY_DUPLICITY, TO)
        assert other is not None
        self.assertEqual(other.code, errno.EINVAL)


class CommandTests(TestCase):
    """``lb send`` over TLS."""

    def setUp(self) -> None:
        self.code = 0
        self.logger = peers.logger_peer(reactor, lambda line: self.code, ours=True)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.logger.close()))
        self.environ = {
            "LB_STATE_DIR": str(peers.state_directory()),
            "GLITE_WMS_LOG_DESTINATION": str(self.logger.address),
            "GLOBUS_HOSTNAME": "ui.example.org",
        }

    def lb(self, *arguments: str) -> Deferred[Outcome]:
        return deferToThread(lb, *arguments, environ=self.environ)

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    @property
    def message(self) -> Message:
        """The last that the logger got."""
        return tunnel.read(self.logger.messages[-1])

    async def test_text(self) -> None:
        """A file of text goes as plain text; its id is printed."""
        outcome = await self.lb("send", TO, self.file("česky\n".encode()))
        self.assertEqual((outcome.code, outcome.stderr, outcome.stdout), (0, "", f"{self.message.id}\n"))
        self.assertEqual((self.message.body.decode(), self.message.destination), ("česky\n", TO))
        self.assertEqual(
            (self.message.content_type, self.message.host), ("text/plain; charset=utf-8", "ui.example.org")
        )

    async def test_everything(self) -> None:
        """Every option reaches the logger; --json tells id and destination."""
        body = bytes(range(256)) * 4000
        outcome = await self.lb(
            "send", TO, self.file(body), "--type", "a/b", "--header", "x=1=2", "--header", "y=", "--expires", "60",
            "--transient", "--priority", "9", "--correlation-id", "c", "--reply-to", "/queue/r", "--id", "i-1",
            "--sync", "--json",
        )  # fmt: skip
        self.assertEqual(outcome.json, {"id": "i-1", "destination": TO})
        found = self.message
        self.assertTrue(found.body == body)
        self.assertEqual(found.expires, found.timestamp + 60_000_000)
        self.assertEqual(
            (found.content_type, found.headers, found.persistent, found.priority, found.correlation_id, found.reply_to),
            ("a/b", {"x": "1=2", "y": ""}, False, 9, "c", "/queue/r"),
        )
        self.assertEqual((found.id, found.flags), ("i-1", 6))

    async def test_c_logger(self) -> None:
        """A C logger answers 1402 (as its reader of events does): one line says what that means, and what to do."""
        self.code = Code.EVENT_UNDEFINED
        outcome = await self.lb("send", TO, self.file(b"\0"))
        self.assertEqual(outcome.code, 1)
        self.assertRegex(
            outcome.stderr,
            r"\Alb send: Operation not supported: 127\.0\.0\.1:\d+: this logger forwards events only [^\n]* lb-logger "
            r"[^\n]*\n\Z",
        )

    async def test_mistakes(self) -> None:
        """What cannot be sent is said before anything leaves, with exit code 2 or 1."""
        for arguments, code, words in (
            (["send"], 2, "DESTINATION"),
            (["send", TO, "--header", "x"], 2, "NAME=VALUE"),
            (["send", TO, "--priority", "x"], 2, "no whole number from 0 to 9"),
            (["send", TO, "/nonexistent"], 1, "No such file or directory: /nonexistent"),
            (["send", TO, self.file(b""), "--priority", "10"], 2, "no whole number from 0 to 9"),
            (["send", TO, self.file(b""), "--header", "lb-user=/CN=a"], 1, "meaning of its own"),
        ):
            outcome = await self.lb(*arguments)
            self.assertEqual(outcome.code, code, arguments)
            self.assertIn(words, outcome.stderr)
            self.assertEqual(outcome.stderr.count("\n"), 1)
        self.assertEqual(self.logger.messages, [])

    async def test_api(self) -> None:
        """Messages from a program: one with `send`, many with `log_many` beside events."""

        def send() -> int:
            with Client(environ=self.environ) as client:
                client.send(new_message(TO, "one", now=1, host="h"))
                many: Any = (tunnel.write(new_message(TO, f"{n}", now=1, host="h")) for n in range(100))
                return client.log_many(many)

        self.assertEqual(await deferToThread(send), 100)
        bodies = [tunnel.read(line).body for line in self.logger.messages]
        self.assertEqual(bodies, [b"one", *(b"%d" % n for n in range(100))])
