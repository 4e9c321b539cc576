"""Documents name files, links and options that are there."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.logger.tap import Options as LoggerOptions
from lb.manual.tables import Command, commands, daemons
from lb.server.options import Options as ServerOptions

_ROOT = Path(__file__).parents[2]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_FILE = re.compile(r"`((?:lb|conf|tests|bench)/[\w./-]*)`")
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_OPTION = re.compile(r"`(?:--)?([a-z]+(?:-[a-z]+)+)`")
#: A call of ours in a block of commands: the command or service, its action where it has some, its options.
_CALL = re.compile(
    r"^(?:.* \| |[A-Z_]+=\S+ |runuser .*? )?(?:\S*/)?(lb|twistd)(?: -n)? ([a-z][\w-]*)(.*)$", re.MULTILINE
)
_LONG = re.compile(r"(?<=\s)--[a-z][\w-]*")
#: Names of programs that look like options.
_PROGRAMS = {"lb-logger"}


class DocumentTests(SynchronousTestCase):
    """What README.md and docs/ refer to."""

    def test_files(self) -> None:
        """Every file or directory of the tree that is named exists."""
        for document in _DOCUMENTS:
            for name in _FILE.findall(document.read_text("utf-8")):
                self.assertTrue((_ROOT / name).exists(), f"{document.name}: {name}")

    def test_links(self) -> None:
        """Every link within the tree leads somewhere."""
        for document in _DOCUMENTS:
            for name in _LINK.findall(document.read_text("utf-8")):
                self.assertTrue((document.parent / name).exists(), f"{document.name}: {name}")

    def test_options(self) -> None:
        """Every option that operations.md names is one of a daemon."""
        known = {parameter[0] for kind in (ServerOptions, LoggerOptions) for parameter in kind.optParameters}
        named = set(_OPTION.findall((_ROOT / "docs/operations.md").read_text("utf-8")))
        self.assertEqual(set(), named - known - _PROGRAMS)
        self.assertIn("spool-max-disk", named)

    def test_calls(self) -> None:
        """Commands in blocks of commands are called with options that they have."""
        services = {daemon.name: {f"--{setting.name}" for setting in daemon.settings} for daemon in daemons()}
        tops = {command.words[-1]: command for command in commands()}
        seen = 0
        for document in _DOCUMENTS:
            # Every second part is a block, one of commands when it does not begin with a language.
            blocks = [part for part in document.read_text("utf-8").split("```")[1::2] if part.startswith("\n")]
            for program, name, rest in (call for block in blocks for call in _CALL.findall(block.replace("\\\n", ""))):
                known = services[name] if program == "twistd" else _options(tops[name], rest)
                given = set(_LONG.findall(rest.partition("#")[0]))
                self.assertEqual(set(), given - known, f"{document.name}: {program} {name}{rest}")
                seen += 1
        self.assertGreater(seen, 15)


def _options(command: Command, rest: str) -> set[str]:
    """The options of a command, or of the action that comes first in the rest of its line."""
    actions = {action.words[-1]: action for action in command.actions}
    taken = actions[rest.split()[0]] if actions else command
    return {name for option in taken.options for name in option.names}
