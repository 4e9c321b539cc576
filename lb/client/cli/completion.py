"""``lb completion SHELL``: the script that lets a shell complete commands and options."""

from __future__ import annotations

from typing import Final

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.parser import Parser

SHELLS: Final = ("bash", "zsh", "fish")


def run(arguments: list[str], around: Surroundings) -> int:
    """Print the script."""
    parser = Parser("completion", "Print the completion script of a shell.", around)
    parser.add_argument("shell", choices=SHELLS, help="which; source <(lb completion bash) uses it at once")
    given = parser.parse_args(arguments)

    from lb.manual.completion import script  # all commands and daemons, which need some time to load

    around.stdout.write(script(given.shell))
    return SUCCESS
