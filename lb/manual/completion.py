"""Completion scripts by the name of their shell."""

from __future__ import annotations

from lb.manual import bash, fish, zsh
from lb.manual.tables import commands, daemons


def script(shell: str) -> str:
    """The script of ``bash``, ``zsh`` or ``fish``."""
    match shell:
        case "bash":
            return bash.script(commands(), daemons())
        case "zsh":
            return zsh.script(commands())
        case "fish":
            return fish.script(commands(), daemons())
    raise ValueError(f"no completion for {shell!r}")
