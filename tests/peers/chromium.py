"""A private headless Chromium with a profile of its own, driven over the pipe of its debugging protocol."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.peers.packages import CHROMIUM, locate
from tests.peers.process import private_directory

#: What Chromium reads commands from and writes to (``--remote-debugging-pipe``).
_COMMANDS, _ANSWERS = 3, 4
#: Kinds of messages that a page without mistakes never causes.
_COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Chromium(ProcessProtocol):
    """One browser with one page."""

    def __init__(self, reactor: Any) -> None:
        self._buffer = b""
        self._number = 0
        self._asked: dict[int, Deferred[Any]] = {}
        self._session: str | None = None
        self._waiting: dict[str, list[Deferred[Any]]] = {}
        self.complaints: list[Any] = []
        self.ended: Deferred[None] = Deferred()
        program = str(locate(CHROMIUM))
        words = [program, "--headless", "--disable-gpu", "--remote-debugging-pipe", "--window-size=1200,900"]
        words.append(f"--user-data-dir={private_directory()}")
        if os.getuid() == 0:
            words.append("--no-sandbox")  # it refuses to be root's otherwise
        files: dict[int, Any] = {0: "w", 1: "r", 2: "r", _COMMANDS: "w", _ANSWERS: "r"}
        reactor.spawnProcess(self, program, words, env=os.environ, childFDs=files)

    async def open(self) -> None:
        """Have a page, and hear what goes wrong on it."""
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> Deferred[Any]:
        """Fires with the result of a command of the debugging protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self.transport.writeToChild(_COMMANDS, json.dumps(message).encode() + b"\0")  # type: ignore[union-attr]
        asked: Deferred[Any] = Deferred()
        self._asked[self._number] = asked
        return asked

    async def go(self, url: str) -> None:
        """Load a page whole."""
        loaded: Deferred[Any] = Deferred()
        self._waiting.setdefault("Page.loadEventFired", []).append(loaded)
        await self.command("Page.navigate", url=url)
        await loaded

    async def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited when it is a promise."""
        found = await self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true, looking whenever the page changes."""
        looked = "{ subtree: true, childList: true, characterData: true, attributes: true }"
        await self.value(
            "new Promise((done) => {"
            f" const look = () => {{ if ({condition}) {{ watch.disconnect(); done(true); }} }};"
            f" const watch = new MutationObserver(look); watch.observe(document, {looked}); look(); }})"
        )

    def stop(self) -> Deferred[None]:
        """End it; fires when it has ended."""
        self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        return self.ended

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD != _ANSWERS:
            return
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for message in map(json.loads, messages):
            self._heard(message)

    def _heard(self, message: Any) -> None:
        asked = self._asked.pop(message.get("id"), None)
        if asked is not None:
            if "error" in message:
                asked.errback(AssertionError(message["error"]))
            else:
                asked.callback(message["result"])
            return
        method = message.get("method", "")
        if method in _COMPLAINTS:
            self.complaints.append(message["params"])
        for waiting in self._waiting.pop(method, ()):
            waiting.callback(message["params"])

    def processEnded(self, reason: Failure) -> None:
        for asked in self._asked.values():
            asked.errback(reason)
        self.ended.callback(None)
