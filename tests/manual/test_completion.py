"""Completion scripts know every command and option, and shells that read them offer these."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from lb.client.cli.completion import SHELLS
from lb.manual.completion import script
from lb.manual.tables import commands, daemons
from tests.client.test_cli import lb
from tests.peers.packages import FISH, ZSH, absence

#: Called with a command line: says in a line what the script offers for its last word.
_ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
if [[ $1 == twistd ]]; then _lb_twistd; else _lb; fi
printf '%s\\n' "${COMPREPLY[@]}"
"""


class ScriptTests(SynchronousTestCase):
    """What is in the scripts."""

    def test_printed(self) -> None:
        """`lb completion` prints the script of each shell, and refuses any other."""
        for shell in SHELLS:
            self.assertEqual((0, script(shell), ""), lb("completion", shell))
        self.assertEqual(2, lb("completion", "tcsh").code)
        self.assertRaises(ValueError, script, "tcsh")

    def test_complete(self) -> None:
        """Every command, option and choice is in every script; options of daemons where twistd's are completed."""
        for shell in SHELLS:
            words = set(re.findall(r"[\w-]+", script(shell)))
            for command in (each for top in commands() for each in top.walk()):
                wanted = {*command.words[1:]}
                for option in (*command.options, *command.arguments):
                    wanted |= {*option.names, *option.words}
                if shell == "fish":
                    wanted = {each.lstrip("-") for each in wanted}
                self.assertEqual(set(), wanted - words, f"{shell}: {command.name}")
            if shell != "zsh":
                dashes = "" if shell == "fish" else "--"
                names = {f"{dashes}{setting.name}" for daemon in daemons() for setting in daemon.settings}
                self.assertEqual(set(), names - words, shell)


class BashTests(SynchronousTestCase):
    """What a real bash offers."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.script = self.directory / "lb.bash"
        self.script.write_text(script("bash"), "utf-8")
        (self.directory / "user cert.pem").touch()
        (self.directory / "state").mkdir()

    def offered(self, *words: str) -> set[str]:
        """The words that are offered for the last one; the script runs in the test's own directory."""
        asked = subprocess.run(
            ["bash", "--norc", "-c", _ASK, "ask", self.script.name, *words],
            cwd=self.directory,
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual("", asked.stderr)
        return set(filter(None, asked.stdout.split("\n")))

    def test_commands(self) -> None:
        """Commands, their actions and event types are offered where they stand."""
        self.assertEqual({command.words[-1] for command in commands()}, self.offered("lb", ""))
        self.assertEqual({"status"}, self.offered("lb", "stat") - {"stats"})
        self.assertEqual({"--help", "--version"}, self.offered("lb", "-"))
        self.assertLessEqual({"new", "bind", "receive"}, self.offered("lb", "notify", ""))
        self.assertIn("Running", self.offered("lb", "log", "R"))
        self.assertEqual(set(), self.offered("lb", "no such command", ""))

    def test_options(self) -> None:
        """Every option of every command is offered behind it, and no other."""
        for command in (each for top in commands() for each in top.walk() if not each.actions):
            # One shell for each event type would take long; they are made alike.
            if command.words[:2] == ("lb", "log") and command.words[-1] not in ("Running", "Done"):
                continue
            known = {name for option in command.options for name in option.names}
            self.assertEqual(known, self.offered(*command.words, "-"), command.name)

    def test_values(self) -> None:
        """Values are offered as words, files, directories or not at all, behind a blank or an equals sign."""
        for words in (("--level", "S"), ("--json", "--level", "=", "S")):
            self.assertEqual({"SECURITY", "SYSTEM"}, self.offered("lb", "events", *words))
        self.assertIn("DEBUG", self.offered("lb", "events", "--level", "="))
        self.assertEqual(
            {"OK", "FAILED", "CANCELLED", "KILLED"}, self.offered("lb", "log", "Done", "--status_code", "")
        )
        self.assertEqual({"user cert.pem"}, self.offered("lb", "jobs", "--cert", "us"))
        self.assertEqual({"state"}, self.offered("lb", "jobs", "--state-dir", ""))
        self.assertEqual(set(), self.offered("lb", "jobs", "--server", ""))

    def test_arguments(self) -> None:
        """Arguments are counted: options and their values are none."""
        self.assertEqual({"init", "issue"}, self.offered("lb", "pki", "--json", "--state-dir", "x", ""))
        self.assertEqual(set(), self.offered("lb", "pki", "issue", ""))
        self.assertEqual({"lb.bash"}, self.offered("lb", "send", "/queue/jobs", "lb"))
        self.assertEqual(set(), self.offered("lb", "send", "lb"))
        self.assertEqual({"lb.bash"}, self.offered("lb", "replay", "a", "b", "lb"))

    def test_values_of_two_words(self) -> None:
        """An option whose value is two words takes both: no option is offered before they are there."""
        via = ("lb", "log", "Running", "--via")
        self.assertEqual(set(), self.offered(*via, "--js"))
        self.assertEqual(set(), self.offered(*via, "amqp://localhost", "--js"))
        self.assertEqual({"--json"}, self.offered(*via, "amqp://localhost", "/queue/lb", "--js"))

    def test_daemons(self) -> None:
        """Behind the name of a service of twistd stand its options; before it, what twistd has is left to others."""
        for daemon in daemons():
            names = {f"--{setting.name}" for setting in daemon.settings}
            self.assertEqual(names, self.offered("twistd", "-n", daemon.name, "--"))
        self.assertEqual({"lb-logger"}, self.offered("twistd", "-n", "lb-"))
        self.assertEqual({"lb.bash"}, self.offered("twistd", "lb", "--config", "lb"))


class OtherShellTests(SynchronousTestCase):
    """What zsh and fish make of their scripts."""

    def run_shell(self, shell: str, text: str) -> str:
        with tempfile.TemporaryDirectory() as home:
            file = Path(home, "script")
            file.write_text(script(shell), "utf-8")
            environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
            arguments = [shell, *{"zsh": ["-f"], "fish": ["--no-config"]}[shell], "-c", text.format(file)]
            ran = subprocess.run(arguments, env=environment, capture_output=True, check=True, text=True)
            self.assertEqual("", ran.stderr)
            return ran.stdout

    @skipIf(absence(ZSH), absence(ZSH))
    def test_zsh(self) -> None:
        """zsh reads the script and knows the command by it."""
        said = self.run_shell("zsh", "autoload -Uz compinit && compinit -u -D && source {} && print $_comps[lb]")
        self.assertEqual("_lb\n", said)

    @skipIf(absence(FISH), absence(FISH))
    def test_fish(self) -> None:
        """fish offers commands, actions, options and values."""
        asked = {
            "lb regi": "register",
            "lb notify dr": "drop",
            "lb notify new --owne": "--owner",
            "lb events --level EMERG": "EMERGENCY",
            "lb pki is": "issue",
            "twistd lb --grey": "--grey-jobs",
        }
        lines = "; ".join(f'complete -C "{words}"' for words in asked)
        said = self.run_shell("fish", f"source {{}}; {lines}")
        self.assertEqual([*asked.values()], [line.split("\t")[0] for line in said.splitlines()])
