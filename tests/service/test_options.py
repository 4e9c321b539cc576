"""Options: the command line over the file over the defaults, and mistakes in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from lb.service.options import DaemonOptions, Repeated


class Tried(DaemonOptions):
    """Options of every kind."""

    optFlags: ClassVar[list[list[Any]]] = [*DaemonOptions.optFlags, ["loud", None, "say more"]]
    repeated: ClassVar[Mapping[str, Repeated]] = {
        "peer": Repeated("peers to know", separator="="),
        "word": Repeated("words"),
    }


class Options(SynchronousTestCase):
    """What a daemon was told."""

    def _options(
        self, *arguments: str, file: str | None = None, kind: type[DaemonOptions] = DaemonOptions
    ) -> DaemonOptions:
        options = kind()
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

    def test_flags(self) -> None:
        """A flag is set by the command line or by true in the file; anything but true and false is refused."""
        for arguments, file, value in (
            (["--loud"], "", 1),
            ([], "loud = true", 1),
            ([], "loud = false", 0),
            ([], "", 0),
        ):
            self.assertEqual(self._options(*arguments, file=file, kind=Tried)["loud"], value)
        error = self.assertRaises(usage.UsageError, self._options, file="loud = 1", kind=Tried)
        self.assertIn("loud = 1: give true or false", str(error))

    def test_repeated(self) -> None:
        """An option of many values: repeated on the command line; a text, a list or a table in the file."""
        for arguments, file, values in (
            ([], "", []),
            (["--peer", "a=1", "--peer", "b=2"], "", ["a=1", "b=2"]),
            ([], 'peer = "a=1"', ["a=1"]),
            ([], 'peer = ["a=1", "b=2"]', ["a=1", "b=2"]),
            ([], '[peer]\na = "1"\nb = "2"', ["a=1", "b=2"]),
            (["--peer", "c=3"], 'peer = ["a=1"]', ["c=3"]),
        ):
            self.assertEqual(self._options(*arguments, file=file, kind=Tried)["peer"], values)
        self.assertEqual(self._options("--word", "x", kind=Tried)["word"], ["x"])

    def test_repeated_mistakes(self) -> None:
        """Values of other kinds are refused with what would be right; a table only where keys have a meaning."""
        for file, text in (
            ("peer = 1", 'peer = 1: give a list of texts or a table of KEY = "VALUE"'),
            ("peer = [1]", "give a list"),
            ("[peer]\na = 1", "give a list"),
            ('peer = ["a=1", 2]', "give a list"),
            ('[word]\na = "1"', "give a list of texts"),
        ):
            error = self.assertRaises(usage.UsageError, self._options, file=file, kind=Tried)
            self.assertIn(text, str(error))

    def test_help(self) -> None:
        """The help shows repeated options as such, and once."""
        shown = Tried().getUsage(width=200)
        self.assertEqual(shown.count("--peer="), 1)
        self.assertIn("peers to know; may be repeated", shown)
