"""How a daemon's log is written: lines for people, or one small JSON object an event.

Twisted's runners (`twistd`, `twist`) begin the log and say where it goes; they are told here what to write there.
Nothing here decides what is logged.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from twisted.application.service import MultiService
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent, textFileLogObserver
from twisted.python.logfile import LogFile

#: What `--log-format` may be.
FORMATS: Final = ("text", "json")

#: What the log functions of old put into events beside the values of the caller.
_LEGACY: Final = frozenset({"message", "time", "system", "isError", "why", "failure", "format", "logLevel"})
_PLAIN: Final = (str, int, float, bool, type(None))


def json_line(event: LogEvent) -> str | None:
    """An event as an object: time, level, room, message, its values, a traceback; None when it says nothing."""
    message, failure = formatEvent(event), event.get("log_failure")
    if not message and failure is None:
        return None
    level, room = event.get("log_level"), event.get("log_namespace", "-")
    record: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0.0), UTC).isoformat(timespec="microseconds"),
        "level": level.name if level is not None else "info",
        "room": "twisted" if room == "log_legacy" else room,
        "message": message,
    }
    values = {
        name: value if isinstance(value, _PLAIN) else str(value)
        for name, value in event.items()
        if not name.startswith("log_") and name not in _LEGACY
    }
    if values:
        record["values"] = values
    if failure is not None:
        record["failure"] = failure.getTraceback()
    return json.dumps(record) + "\n"


def _json(file: TextIO) -> FileLogObserver:
    return FileLogObserver(file, json_line)


_OBSERVERS: Final[dict[str, Callable[[TextIO], Any]]] = {"text": textFileLogObserver, "json": _json}


def choose(log_format: str, runner: MutableMapping[str, Any] | None) -> None:
    """Have twist, if the runner with these options is it, write its log so: else it writes all that Twisted knows."""
    if runner is not None and "logFile" in runner:
        runner["fileLogObserverFactory"] = _OBSERVERS[log_format]
        runner["logFormat"] = log_format


class DaemonService(MultiService):
    """All services of a daemon; tells twistd, whose application it becomes part of, how to write the log."""

    def __init__(self, log_format: str, runner: Mapping[str, Any] | None) -> None:
        """`runner`: the options of twistd."""
        super().__init__()
        self._format = log_format
        self._runner = runner

    def setServiceParent(self, parent: Any) -> None:
        runner = self._runner
        # Its own form is text, and its user may have chosen an observer or the system's log.
        if self._format != "text" and runner is not None and not runner.get("logger") and not runner.get("syslog"):
            parent.setComponent(ILogObserver, _OBSERVERS[self._format](_twistd_file(runner)))
        super().setServiceParent(parent)


def _twistd_file(runner: Mapping[str, Any]) -> Any:
    """The file that twistd would log to; SIGUSR1 rotates it."""
    name = runner.get("logfile")
    if runner.get("nodaemon") and name in (None, "", "-"):
        return sys.stdout
    if name == "-":
        sys.exit("a daemon cannot log to standard output: give --logfile or --nodaemon")
    file: Any = LogFile.fromFullPath(name or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(number: int, frame: object) -> None:
            from twisted.internet import reactor

            reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

        signal.signal(signal.SIGUSR1, rotate)
    return file
