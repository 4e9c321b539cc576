"""The completion script for bash: tables of options, words and values, and one function that walks over them.

The script asks no program while somebody types; it needs bash 4.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from lb.manual.tables import Command, Daemon, Option

_HEAD: Final = "# bash completion for lb and its daemons, made by: lb completion bash\n"

#: Keys of _lb_about: "COMMAND" lists its options, "COMMAND OPTION" how its value is filled in, "COMMAND N" its Nth
#: argument (from 1, * for all further ones), "COMMAND ." the words that lead on. A value is one of these:
#: "files", "directories", "nothing", "words" with the words behind it, or "COUNT" for a value of so many words.
_WALK: Final = r"""
# Offers what begins with $2: of the kind $1.
_lb_fill() {
    local kind=$1 word=$2
    case $kind in
        files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        directories) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
        "words "*) mapfile -t COMPREPLY < <(compgen -W "${kind#words }" -- "$word") ;;
    esac
}

# Completes $2 behind the words $3 ..., which follow the command $1; bash makes "=" a word of its own.
_lb_walk() {
    local command=$1 word=$2 option='' place=0 left=0 each
    shift 2
    for each; do
        if [[ $each == '=' ]]; then
            continue
        elif [[ $left -gt 0 ]]; then
            left=$((left - 1))
        elif [[ -n ${_lb_about["$command ."]-} && " ${_lb_about["$command ."]#words } " == *" $each "* ]]; then
            command+=" $each"
        elif [[ $each == -* && -n $each ]]; then
            option=$each
            case ${_lb_about["$command $each"]-} in
                '') ;;
                [0-9]*) left=${_lb_about["$command $each"]} ;;
                *) left=1 ;;
            esac
        else
            place=$((place + 1))
        fi
    done
    if [[ $word == '=' ]]; then
        word=''
    fi
    if [[ $left -gt 0 ]]; then
        _lb_fill "${_lb_about["$command $option"]}" "$word"
    elif [[ $word == -* ]]; then
        _lb_fill "words ${_lb_about["$command"]-}" "$word"
    elif [[ -n ${_lb_about["$command ."]-} ]]; then
        [[ $place == 0 ]] && _lb_fill "${_lb_about["$command ."]}" "$word"
    else
        place=$((place + 1))
        _lb_fill "${_lb_about["$command $place"]-${_lb_about["$command *"]-nothing}}" "$word"
    fi
}

_lb() {
    COMPREPLY=()
    _lb_walk lb "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[@]:1:COMP_CWORD-1}"
}

# Options of our services only: what stands before their names is twistd's.
_lb_twistd() {
    local place
    COMPREPLY=()
    for ((place = 1; place < COMP_CWORD; place++)); do
        if [[ -n ${_lb_about["twistd ${COMP_WORDS[place]}"]-} ]]; then
            _lb_walk "twistd ${COMP_WORDS[place]}" "${COMP_WORDS[COMP_CWORD]}" \
                "${COMP_WORDS[@]:place+1:COMP_CWORD-place-1}"
            return
        fi
    done
    _lb_fill "${_lb_about["twistd ."]}" "${COMP_WORDS[COMP_CWORD]}"
}

complete -F _lb lb
complete -o default -F _lb_twistd twistd
"""


def script(commands: Sequence[Command], daemons: Sequence[Daemon]) -> str:
    """The script, to be read by ``source`` or put where bash-completion looks."""
    table = {"lb .": _words([command.words[-1] for command in commands]), "lb": "--help --version"}
    for command in commands:
        for each in command.walk():
            table.update(_entries(each))
    table["twistd ."] = _words([daemon.name for daemon in daemons])
    for daemon in daemons:
        name = f"twistd {daemon.name}"
        table[name] = " ".join(f"--{setting.name}" for setting in daemon.settings)
        table.update({f"{name} --{setting.name}": "files" for setting in daemon.settings if setting.value})
    lines = [f"    [{shlex.quote(key)}]={shlex.quote(value)}\n" for key, value in table.items()]
    return f"{_HEAD}\ndeclare -gA _lb_about=(\n{''.join(lines)})\n{_WALK}"


def _entries(command: Command) -> dict[str, str]:
    name = command.name
    options = [each for option in command.options for each in option.names]
    found = {name: " ".join(options or ["--help"])}
    if command.actions:
        found[f"{name} ."] = _words([action.words[-1] for action in command.actions])
    for option in command.options:
        if option.value:
            found.update({f"{name} {each}": _value(option) for each in option.names})
    for place, argument in enumerate(command.arguments, 1):
        found[f"{name} {'*' if argument.repeated else place}"] = _value(argument)
    return found


def _words(words: Sequence[str]) -> str:
    return "words " + " ".join(words)


def _value(option: Option) -> str:
    if option.words:
        return _words(option.words)
    return str(option.count) if option.count > 1 else option.fill.value
