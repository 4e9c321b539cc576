"""The ``lb`` command: one module a command, loaded when it is called.

Exit codes: 0 success, 1 the operation failed, 2 wrong usage, 130 interrupted. An error is one line, never a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Surroundings(NamedTuple):
    """What a command reads and writes besides its arguments."""

    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    #: Gets the parser of a command instead of its help being printed: manual and completion are made of it.
    shown: Callable[[ArgumentParser], None] | None = None


#: Command → its module in this package, and what it does.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "register": ("register", "register a job with its server"),
    "log": ("log", "log an event of a job"),
    "send": ("send", "send a message to a destination at a broker, through the logger"),
    "status": ("status", "show the states of jobs"),
    "events": ("events", "show the events of a job"),
    "history": ("history", "show the states that jobs went through"),
    "jobs": ("jobs", "list the own jobs"),
    "query": ("query", "find jobs or events by conditions"),
    "notify": ("notify", "register for notifications, and receive them"),
    "watch": ("watch", "follow jobs as their states change"),
    "agent": ("agent", "serve clients that speak to a broker only, with registrations at a server"),
    "replay": ("replay", "replay recorded event streams as fresh jobs"),
    "convert": ("convert", "make events of what Slurm or HTCondor have recorded of their jobs"),
    "top": ("top", "watch the own jobs in the terminal"),
    "stats": ("stats", "show rates and durations of jobs at computing elements"),
    "purge": ("purge", "remove jobs from a server"),
    "dump": ("dump", "have a server write events to a file"),
    "load": ("load", "have a server take in a dump or an archive"),
    "index": ("index", "show or change what a server indexes"),
    "config": ("config", "show how a server is configured"),
    "probe": ("probe", "tell a monitoring system whether a server answers"),
    "recompute": ("recompute", "check the stored states of a server, or repair them"),
    "pki": ("pki", "make the development PKI, issue certificates from it"),
    "completion": ("completion", "print the completion script of a shell"),
}

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = "".join(f"  {name:{width}}  {about}\n" for name, (_, about) in COMMANDS.items())
    return f"usage: lb [--version] COMMAND ...\n\ncommands:\n{lines}\nlb COMMAND --help tells more.\n"


def main(
    argv: Sequence[str] | None = None,
    *,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a command; returns the exit code. Everything not given is the process's own."""
    around = Surroundings(
        stdout or _own(sys.stdout), stderr or _own(sys.stderr), os.environ if environ is None else environ
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    who = f"lb {name}" if name in COMMANDS else "lb"
    try:
        code = _run(name, arguments[1:], around)
        around.stdout.flush()
        return code
    except KeyboardInterrupt:
        around.stderr.write(f"{who}: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has seen enough; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILURE
    except Exception as error:
        from lb.client.cli.errors import message_of

        message = message_of(error)
        if message is None:
            raise
        around.stderr.write(f"{who}: {message}\n")
        return FAILURE


def _own(stream: TextIO | None) -> TextIO:
    """A stream of the process: nowhere when it was closed; what its encoding does not have is written as escapes."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _run(name: str, arguments: list[str], around: Surroundings) -> int:
    if name in ("--help", "-h", "help"):
        around.stdout.write(_usage())
        return SUCCESS
    if name == "--version":
        from lb import __version__

        around.stdout.write(f"lb {__version__}\n")
        return SUCCESS
    if name not in COMMANDS:
        around.stderr.write(f"lb: {f'no command {name!r}' if name else 'no command given'}: lb --help lists them\n")
        return USAGE
    try:
        code: int = import_module(f"lb.client.cli.{COMMANDS[name][0]}").run(arguments, around)
        return code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else USAGE
