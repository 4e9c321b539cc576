"""Options: the command line over the file over the defaults, and mistakes in words."""

from __future__ import annotations

from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from lb.service.options import DaemonOptions


class Options(SynchronousTestCase):
    """What a daemon was told."""

    def _options(self, *arguments: str, file: str | None = None) -> DaemonOptions:
        options = DaemonOptions()
        given = list(arguments)
        if file is not None:
            path = self.mktemp()
            Path(path).write_text(file)
            given += ["--config", path]
        options.parseOptions(given)
        return options

    def test_precedence(self) -> None:
        """The command line wins over the file, the file over the default."""
        options = self._options("--port", "1234", file='port = 99\nhost = "::1"\n')
        self.assertEqual((options["port"], options["host"]), (1234, "::1"))
        self.assertEqual(self._options()["host"], "127.0.0.1")

    def test_mistakes(self) -> None:
        """Unknown names, numbers that are none and files that cannot be read are errors that name themselves."""
        for arguments, file, text in (
            ((), "prot = 1", "unknown option prot"),
            (("--port", "x"), None, "--port x: give a number"),
            (("--port", "65536"), None, "from 0 to 65535"),
            (("--config", "absent.toml"), None, "--config absent.toml"),
            ((), "port = ", "--config"),
        ):
            error = self.assertRaises(usage.UsageError, self._options, *arguments, file=file)
            self.assertIn(text, str(error))
