"""The completion script for zsh: a function a command, as ``_arguments`` wants it.

Daemons are not in it: zsh's own completion of twistd asks their options themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lb.manual.tables import Command, Fill, Option

_HEAD: Final = """\
#compdef lb
# zsh completion for lb, made by: lb completion zsh

"""
#: Read by `source`, the function is made known; found in a directory of functions, it is called.
_TAIL: Final = """
if [[ ${funcstack[1]} == _lb ]]; then
    _lb "$@"
else
    compdef _lb lb
fi
"""
_FILLS: Final = {Fill.NOTHING: "", Fill.FILES: "_files", Fill.DIRECTORIES: "_files -/"}


def script(commands: Sequence[Command]) -> str:
    """The script, to be read by ``source`` or put as ``_lb`` into a directory of ``$fpath``."""
    functions = "".join(_function(each) for command in commands for each in command.walk())
    start = _leading("_lb", "command", [(command.words[-1], command.about) for command in commands])
    return f"{_HEAD}{functions}{start}{_TAIL}"


def _named(command: Command) -> str:
    return "_" + "_".join(command.words)


def _function(command: Command) -> str:
    if command.actions:
        return _leading(_named(command), "action", [(action.words[-1], action.about) for action in command.actions])
    specs = [_option(option) for option in command.options]
    specs += [_argument(place, argument) for place, argument in enumerate(command.arguments, 1)]
    lines = "".join(f" \\\n        {spec}" for spec in specs)
    return f"{_named(command)}() {{\n    _arguments -s -S :{lines}\n}}\n\n"


def _leading(name: str, kind: str, words: list[tuple[str, str]]) -> str:
    """A function that offers words, or goes on in the function of the one that was chosen."""
    described = "".join(f"\n            {_quote(f'{word}:{about}')}" for word, about in words)
    return (
        f"{name}() {{\n"
        "    if (( CURRENT == 2 )); then\n"
        f"        local -a words_of_lb=({described}\n        )\n"
        f"        _describe {kind} words_of_lb\n"
        f"    elif (( $+functions[{name}_${{words[2]}}] )); then\n"
        f"        local next={name}_${{words[2]}}\n"
        "        shift words\n"
        "        (( CURRENT-- ))\n"
        "        $next\n"
        "    fi\n"
        "}\n\n"
    )


def _option(option: Option) -> str:
    repeated = "*" if option.repeated else ""
    others = f"({' '.join(option.names)})" if len(option.names) > 1 and not option.repeated else ""
    values = [f":{_escape(word)}:" for word in option.value.split()] if option.count > 1 else [f":{_value(option)}"]
    text = f"[{_escape(option.about)}]" + ("".join(values) if option.value else "")
    # Long options may have their value behind "=" as well.
    joined = option.value and option.count == 1
    names = [f"{each}=" if joined and each.startswith("--") else each for each in option.names]
    return " ".join(_quote(f"{others}{repeated}{name}{text}") for name in names)


def _argument(place: int, argument: Option) -> str:
    return _quote(f"{'*' if argument.repeated else place}:{_value(argument)}")


def _value(option: Option) -> str:
    words = f"({' '.join(option.words)})" if option.words else _FILLS[option.fill]
    return f"{_escape(option.value)}:{words}"


def _escape(text: str) -> str:
    return "".join(f"\\{character}" if character in "[]:\\" else character for character in text)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
