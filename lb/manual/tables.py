"""Every command and every option as plain values: what pages and completion scripts are made of.

Commands of ``lb`` show their argparse parsers, daemons their tables of options and bounds; nothing is written twice.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Final, NamedTuple

from lb.bound import Bound, Unit, bounds_of
from lb.client.cli import COMMANDS, Surroundings
from lb.logger.tap import Options as LoggerOptions
from lb.model.catalogue import BY_NAME
from lb.server.options import Options as ServerOptions
from lb.service.options import DaemonOptions


class Fill(Enum):
    """What a shell may offer for a value that is not one of a few words."""

    NOTHING = "nothing"
    FILES = "files"
    DIRECTORIES = "directories"


class Group(NamedTuple):
    """A heading in the help of a command, and what is said below it."""

    title: str
    about: str


NO_GROUP: Final = Group("", "")


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or with no `names` an argument that is known by its place."""

    names: tuple[str, ...]
    #: What stands for its value, a word for each when it has several; empty: it takes none.
    value: str
    about: str
    #: The words that it may be; empty: anything.
    words: tuple[str, ...] = ()
    fill: Fill = Fill.NOTHING
    required: bool = False
    #: How many words its value has, if it takes one.
    count: int = 1
    repeated: bool = False
    group: Group = NO_GROUP


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the words that call it, what it does, what it takes; `actions` are commands of one word more."""

    words: tuple[str, ...]
    #: In a line, and as a sentence.
    about: str
    description: str
    options: tuple[Option, ...] = ()
    arguments: tuple[Option, ...] = ()
    actions: tuple[Command, ...] = ()

    @property
    def name(self) -> str:
        """As it is called."""
        return " ".join(self.words)

    def walk(self) -> Iterator[Command]:
        """This command and its actions."""
        yield self
        for action in self.actions:
            yield from action.walk()


@dataclass(frozen=True, slots=True)
class Setting:
    """An option of a daemon, which may also stand in its file."""

    name: str
    #: What stands for its value; empty: a flag.
    value: str
    about: str
    #: In words, which values are taken; empty: the meaning says so.
    wanted: str = ""
    #: As it would be written in the file; empty: none.
    default: str = ""
    repeated: bool = False
    #: Between key and value of an entry, when it may be a table in the file.
    separator: str | None = None
    in_file: bool = True


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon as ``twistd`` knows it."""

    name: str
    description: str
    settings: tuple[Setting, ...]


@cache
def commands() -> tuple[Command, ...]:
    """The commands of ``lb``, in the order of its help."""
    return tuple(_command(name, module, about) for name, (module, about) in COMMANDS.items())


@cache
def daemons() -> tuple[Daemon, ...]:
    """The services of ``twistd``."""
    return tuple(Daemon(name, kind.longdesc, _settings(kind)) for name, kind in _DAEMONS.items())


_DAEMONS: Final[dict[str, type[ServerOptions] | type[LoggerOptions]]] = {
    "lb": ServerOptions,
    "lb-logger": LoggerOptions,
}

# --- commands ---------------------------------------------------------------------------------------------------


def _command(name: str, module: str, about: str) -> Command:
    actions = getattr(import_module(f"lb.client.cli.{module}"), "ACTIONS", None)
    if actions is None:
        return _parsed(("lb", name), about, _parser(module, []))
    return Command(
        ("lb", name),
        about,
        f"{about[0].upper()}{about[1:]}.",
        actions=tuple(
            _parsed(("lb", name, action), what, _parser(module, [action])) for action, (_, what) in actions.items()
        ),
    )


def _parser(module: str, words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser that would print the help of a command."""
    found: list[argparse.ArgumentParser] = []
    nowhere = io.StringIO()
    around = Surroundings(nowhere, nowhere, {}, found.append)
    with suppress(SystemExit):
        import_module(f"lb.client.cli.{module}").run([*words, "--help"], around)
    (parser,) = found
    return parser


def _parsed(words: tuple[str, ...], about: str, parser: argparse.ArgumentParser) -> Command:
    options: list[Option] = []
    arguments: list[Option] = []
    for group in parser._action_groups:
        for action in group._group_actions:
            option = _option(words, parser, action, _heading(group))
            (options if option.names else arguments).append(option)
    return Command(words, about, parser.description or "", tuple(options), tuple(arguments))


def _heading(group: argparse._ArgumentGroup) -> Group:
    if group.title in ("options", "positional arguments"):
        return NO_GROUP
    return Group(group.title or "", group.description or "")


def _option(words: tuple[str, ...], parser: argparse.ArgumentParser, action: argparse.Action, group: Group) -> Option:
    known = tuple(map(str, action.choices or ())) or _codes(words, action)
    value = ""
    if action.nargs != 0:
        shown = (action.metavar,) if isinstance(action.metavar, str) else action.metavar or ()
        value = " ".join(shown) or "|".join(known) or action.dest.upper()
    return Option(
        tuple(action.option_strings),
        value,
        parser._get_formatter()._expand_help(action) if action.help else "",
        known,
        _FILLS.get(value, Fill.NOTHING),
        action.required,
        (isinstance(action.nargs, int) and action.nargs) or 1,
        action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction),
        group,
    )


#: What placeholders of values ask for.
_FILLS: Final = {"FILE": Fill.FILES, "PATH": Fill.FILES, "DIR": Fill.DIRECTORIES}


def _codes(words: tuple[str, ...], action: argparse.Action) -> tuple[str, ...]:
    """The names of a coded attribute, which ``lb log`` takes in any case and so not as choices."""
    type_ = BY_NAME.get(words[-1]) if words[:2] == ("lb", "log") else None
    name = next((each.removeprefix("--") for each in action.option_strings), "")
    attribute = type_.by_name.get(name) if type_ is not None else None
    return tuple(attribute.codes) if attribute is not None else ()


# --- daemons ----------------------------------------------------------------------------------------------------

#: Unit of a bound → what stands for its value.
_VALUES: Final = {Unit.COUNT: "NUMBER", Unit.BYTES: "SIZE", Unit.SECONDS: "SECONDS", Unit.RATE: "SIZE"}


def _settings(kind: type[DaemonOptions]) -> tuple[Setting, ...]:
    bounds = {bound.option: bound for each in kind.bounds for bound in bounds_of(each).values()}
    flags = [Setting(name, "", about) for name, _, about in kind.optFlags]
    return tuple(flags + [_setting(kind, bounds.get(each[0]), each[0], each[3]) for each in kind.optParameters])


def _setting(kind: type[DaemonOptions], bound: Bound | None, name: str, about: str) -> Setting:
    if bound is not None:
        number = bound.shown if bound.shown.replace(".", "").isdigit() else f'"{bound.shown}"'
        return Setting(name, _VALUES[bound.unit], bound.help, bound.wanted, number)
    if (repeated := kind.repeated.get(name)) is not None:
        return Setting(name, "TEXT", about, repeated=True, separator=repeated.separator)
    value = "NUMBER" if name in kind.numbers else "TEXT"
    default = kind.option_defaults.get(name, "")
    if default and value == "TEXT":
        default = f'"{default}"'
    return Setting(name, value, about, default=default, in_file=name != "config")
