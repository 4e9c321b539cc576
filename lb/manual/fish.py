"""The completion script for fish: a line an option, each for the words that lead to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lb.manual.tables import Command, Daemon, Fill, Option

_HEAD: Final = """\
# fish completion for lb and its daemons, made by: lb completion fish

# Whether the words of the command line so far are these; with --only: these and no other.
function __lb_words
    set -l given (commandline -opc)[2..]
    if test "$argv[1]" = --only
        test "$given" = "$argv[2..]"
        return
    end
    test (count $given) -ge (count $argv); and test "$given[1..$(count $argv)]" = "$argv"
end

# Whether a service of twistd is among the words.
function __lb_service
    contains -- $argv[1] (commandline -opc)
end

complete -c lb -f
"""

_FILLS: Final = {
    Fill.NOTHING: "",
    Fill.FILES: " -F",
    Fill.DIRECTORIES: " -a '(__fish_complete_directories)'",
}


def script(commands: Sequence[Command], daemons: Sequence[Daemon]) -> str:
    """The script, to be read by ``source`` or put as ``lb.fish`` where fish looks for completions."""
    lines = [
        *_lead((), commands),
        *(f"complete -c lb -n '__lb_words --only' -l {name}" for name in ("help", "version")),
    ]
    for command in commands:
        for each in command.walk():
            lines += _lead(each.words[1:], each.actions)
            lines += _taken(each)
    for daemon in daemons:
        for setting in daemon.settings:
            value = " -r" if setting.value else ""
            about = _quote(setting.about)
            lines.append(f"complete -c twistd -n '__lb_service {daemon.name}' -l {setting.name}{value} -d {about}")
    return _HEAD + "\n".join(lines) + "\n"


def _lead(words: Sequence[str], commands: Sequence[Command]) -> Iterator[str]:
    condition = " ".join(("__lb_words --only", *words))
    for command in commands:
        yield f"complete -c lb -n '{condition}' -a {command.words[-1]} -d {_quote(command.about)}"


def _taken(command: Command) -> Iterator[str]:
    start = f"complete -c lb -n '__lb_words {' '.join(command.words[1:])}'"
    for option in command.options:
        names = " ".join(f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in option.names)
        # -x: only what is offered may follow; -r: something must.
        needed = "" if not option.value else " -r" if option.fill is Fill.FILES else " -x"
        yield f"{start} {names}{needed}{_offered(option)} -d {_quote(option.about)}"
    for argument in command.arguments:
        if offered := _offered(argument):
            yield f"{start}{offered}"


def _offered(option: Option) -> str:
    if option.words:
        return f" -a {_quote(' '.join(option.words))}"
    return _FILLS[option.fill]


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
