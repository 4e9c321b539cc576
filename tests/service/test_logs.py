"""What a line of a log holds in either form, and who is told to write it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from twisted.application.service import Application
from twisted.logger import ILogObserver, Logger, jsonFileLogObserver, textFileLogObserver
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from lb.service import logs
from lb.service.options import DaemonOptions


class Lines(SynchronousTestCase):
    """Events as JSON."""

    def setUp(self) -> None:
        self.events: list[Any] = []
        self.log = Logger(namespace="lb.room", observer=self.events.append)

    def _line(self) -> dict[str, Any]:
        text = logs.json_line(self.events.pop())
        assert text is not None
        self.assertEqual(text.count("\n"), 1)
        loaded: dict[str, Any] = json.loads(text)
        return loaded

    def test_values(self) -> None:
        """An object has time, level, room, message and the event's values, and nothing of Twisted's own."""
        self.log.warn("{count} of {peer} refused\n", count=3, peer="a\nb \udcff", kind=self)
        line = self._line()
        self.assertRegex(line.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")
        values = line.pop("values")
        self.assertEqual(line, {"level": "warn", "room": "lb.room", "message": "3 of a\nb \udcff refused\n"})
        self.assertEqual(values, {"count": 3, "peer": "a\nb \udcff", "kind": str(self)})

    def test_failure(self) -> None:
        """A failure comes with its traceback."""
        try:
            raise ValueError("mine")
        except ValueError:
            self.log.failure("no good")
        line = self._line()
        self.assertEqual((line["level"], line["message"]), ("critical", "no good"))
        self.assertIn("ValueError: mine", line["failure"])
        self.assertNotIn("values", line)

    def test_nothing(self) -> None:
        """An event without a text makes no line."""
        self.log.info("")
        self.assertIsNone(logs.json_line(self.events.pop()))

    def test_legacy(self) -> None:
        """What old log functions add is left out; an event without a time or a level still makes a line."""
        event = {"log_format": "hello", "message": (), "system": "-", "isError": 0, "time": 1.0}
        self.assertEqual(
            json.loads(logs.json_line(event) or ""),
            {"time": "1970-01-01T00:00:00.000000+00:00", "level": "info", "room": "-", "message": "hello"},
        )


class Choosing(SynchronousTestCase):
    """Who writes the log."""

    def test_twist(self) -> None:
        """twist writes lines, or objects where the daemon is told so."""
        runner: dict[str, Any] = {"logFile": None, "fileLogObserverFactory": jsonFileLogObserver}
        logs.choose("text", runner)
        self.assertIs(runner["fileLogObserverFactory"], textFileLogObserver)
        logs.choose("json", runner)
        file = io.StringIO()
        runner["fileLogObserverFactory"](file)({"log_format": "hello"})
        self.assertEqual(json.loads(file.getvalue())["message"], "hello")

    def test_twistd(self) -> None:
        """twistd keeps its own lines, its user's logger and the system's log."""
        for log_format, own in (("text", {}), ("json", {"logger": repr}), ("json", {"syslog": 1})):
            runner: dict[str, Any] = {"nodaemon": 1, "logger": None, **own}
            logs.choose(log_format, runner)
            self.assertEqual(runner["logger"], own.get("logger"))
            application: Any = Application("lb")
            logs.DaemonService(log_format, runner).setServiceParent(application)
            self.assertIsNone(application.getComponent(ILogObserver))

    def test_twistd_file(self) -> None:
        """Objects go where the log of twistd would go; without a runner nothing is chosen."""
        path = Path(self.mktemp()).absolute()
        application: Any = Application("lb")
        runner = {"nodaemon": 1, "logger": None, "logfile": str(path)}
        logs.DaemonService("json", runner).setServiceParent(application)
        application.getComponent(ILogObserver)({"log_format": "hello"})
        self.assertEqual(json.loads(path.read_text())["message"], "hello")
        alone: Any = Application("lb")
        logs.DaemonService("json", None).setServiceParent(alone)
        self.assertIsNone(alone.getComponent(ILogObserver))

    def test_option(self) -> None:
        """A format that is none is refused with those there are."""
        error = self.assertRaises(usage.UsageError, DaemonOptions().parseOptions, ["--log-format", "xml"])
        self.assertEqual(str(error), "--log-format xml: give text or json")
