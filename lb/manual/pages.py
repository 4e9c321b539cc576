"""The pages of the manual: one for ``lb``, one for each of its commands, one for each daemon, one for their file.

What options mean comes from the tables; here is only what no table says: codes, variables, files, signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lb.client.settings import PARAMETERS
from lb.manual.page import Block, Example, Heading, Page, Paragraph, Synopsis, Terms
from lb.manual.tables import Command, Daemon, Group, Option, Setting, commands, daemons

_CODES: Final = (
    ("0", "success"),
    ("1", "the operation failed; a line on standard error says what, where and what to do"),
    ("2", "wrong usage"),
    ("130", "interrupted"),
)
#: Command → codes of its own.
_OWN_CODES: Final = {"lb notify": (("110", "lb notify receive: nothing came in the given time"),)}

#: Field of `lb.client.settings.Settings` → what it is for.
MEANINGS: Final = {
    "logger": "HOST:PORT of the logger (default: localhost:9002)",
    "query_server": "HOST:PORT of the server for new job ids and queries that name no job (default: localhost:9000)",
    "notification_server": "HOST:PORT of the server for registrations for notifications (default: the one for queries)",
    "query_server_override": "yes: the server for queries is asked about jobs of other servers, too",
    "log_timeout": "seconds for an event to be taken (default: 120)",
    "log_sync_timeout": "seconds for an event to be stored by its server (default: 120)",
    "query_timeout": "seconds for a query (default: 120)",
    "notification_timeout": "seconds for a request about notifications (default: 120)",
    "jobs_limit": "most jobs of an answer (default: as many as the server gives)",
    "events_limit": "most events of an answer (default: as many as the server gives)",
    "results": "None, All or Limited: what an answer contains when there are more",
    "connections": "most connections that are kept open (default: 50)",
    "jobid": "the job of events that name none",
    "sequence_code": "the sequence code of the event before",
    "host": "name of this machine in events (default: its own)",
}

_CREDENTIALS: Final = (
    ("X509_USER_PROXY", "proxy certificate with its key"),
    ("X509_USER_CERT, X509_USER_KEY", "certificate and private key"),
    ("X509_CERT_DIR", "directory of trusted authorities"),
    ("LB_STATE_DIR", "state directory, where a development PKI may be found"),
)

_UNITS: Final = Terms(
    (
        ("NUMBER", "a whole number"),
        ("SIZE", "bytes, or with K, M, G (powers of 1024) behind the number; in the file then quoted"),
        ("SECONDS", "a number of seconds, also a fraction"),
    )
)


def pages() -> tuple[Page, ...]:
    """All pages; each name is there once."""
    return (
        _overview(commands(), daemons()),
        *map(_command, commands()),
        *map(_daemon, daemons()),
        _file(daemons()),
    )


# --- commands ---------------------------------------------------------------------------------------------------


def _overview(known: Sequence[Command], services: Sequence[Daemon]) -> Page:
    variables = tuple((", ".join(each.variables), MEANINGS[each.field]) for each in PARAMETERS)
    return Page(
        "lb",
        1,
        "register jobs, log their events, ask for their states",
        (
            Heading("Synopsis"),
            Synopsis("lb", "[--version] COMMAND …"),
            Heading("Description"),
            Paragraph(
                "Each command tells with --help what it takes. Options come before or after arguments; a value may "
                "follow its option as a word of its own or behind an equals sign."
            ),
            Heading("Commands"),
            Terms(tuple((f"{'-'.join(command.words)}(1)", command.about) for command in known)),
            Heading("Exit status"),
            Terms(_CODES),
            Heading("Environment"),
            Paragraph("Options win over variables. The first of several names that is set counts."),
            Terms((*variables, *_CREDENTIALS)),
            Heading("See also"),
            Paragraph(", ".join(f"twistd-{service.name}(8)" for service in services) + ", lb.toml(5)"),
        ),
    )


def _command(command: Command) -> Page:
    blocks: list[Block] = [Heading("Synopsis")]
    if command.actions:
        blocks.append(Synopsis(command.name, f"{_kind(command)} …"))
    else:
        blocks.append(_synopsis(command))
    blocks += [Heading("Description"), Paragraph(command.description)]
    if command.actions:
        shared = [option for option in command.actions[0].options if all(option in a.options for a in command.actions)]
        for action in command.actions:
            blocks += [
                Heading(action.name),
                _synopsis(action),
                Paragraph(action.description),
                *_taken(action, [option for option in action.options if option not in shared]),
            ]
        blocks += [Heading("Options of all"), *_groups(shared)]
    else:
        blocks += [Heading("Options"), *_taken(command, command.options)]
    blocks += [
        Heading("Exit status"),
        Terms((*_CODES, *_OWN_CODES.get(command.name, ()))),
        Heading("See also"),
        Paragraph("lb(1), for the environment"),
    ]
    return Page("-".join(command.words), 1, command.about, tuple(blocks))


def _kind(command: Command) -> str:
    return "EVENT" if command.words[-1] == "log" else "ACTION"


def _synopsis(command: Command) -> Synopsis:
    needed = [f"{option.names[0]} {option.value}" for option in command.options if option.required]
    arguments = [
        (argument.value if argument.required else f"[{argument.value}]") + (" …" if argument.repeated else "")
        for argument in command.arguments
    ]
    return Synopsis(command.name, " ".join((*needed, "[OPTION …]", *arguments)))


def _taken(command: Command, options: Iterable[Option]) -> Iterator[Block]:
    if command.arguments:
        yield Terms(tuple((argument.value, argument.about) for argument in command.arguments))
    yield from _groups(options)


def _groups(options: Iterable[Option]) -> Iterator[Block]:
    """Options under the headings that they have in the help."""
    by_group: dict[Group, list[Option]] = {}
    for option in options:
        by_group.setdefault(option.group, []).append(option)
    for group, members in by_group.items():
        if group.title:
            yield Heading(group.title[0].upper() + group.title[1:], within=True)
        if group.about:
            yield Paragraph(group.about)
        yield Terms(tuple((_spelled(option), _about(option)) for option in members))


def _spelled(option: Option) -> str:
    return ", ".join(f"{name} {option.value}" if option.value else name for name in option.names)


def _about(option: Option) -> str:
    words = "" if not option.words or set(option.words) <= set(option.about.split(", ")) else ", ".join(option.words)
    more = [each for each in (words and f"one of {words}", option.required and "required") if each]
    return "; ".join([option.about, *more]) if option.about else "; ".join(more)


# --- daemons ----------------------------------------------------------------------------------------------------

_SIGNALS: Final = Terms((("SIGTERM, SIGINT", "answer what is being written, close, end"),))


def _daemon(daemon: Daemon) -> Page:
    name = f"twistd-{daemon.name}"
    return Page(
        name,
        8,
        daemon.description.split(":")[0],
        (
            Heading("Synopsis"),
            Synopsis("twistd", f"[-n] {daemon.name} [--OPTION VALUE …]"),
            Heading("Description"),
            Paragraph(daemon.description),
            Paragraph(
                "No option is needed. All of them may stand in a TOML file (--config, lb.toml(5)); options win over "
                "the file. With -n, twistd stays in the foreground; its own options are in "
                "twistd(1). What the daemon cannot use, a port, a file, a value, ends it at once with an error that "
                "names it. It is ready when it says so on standard error, and to systemd."
            ),
            Heading("Values"),
            _UNITS,
            Heading("Options"),
            Terms(tuple((_called(setting), _explained(setting)) for setting in daemon.settings)),
            Heading("Signals"),
            _SIGNALS,
            Heading("See also"),
            Paragraph("lb(1), lb.toml(5), twistd(1)"),
        ),
    )


def _called(setting: Setting) -> str:
    return f"--{setting.name} {setting.value}" if setting.value else f"--{setting.name}"


def _explained(setting: Setting) -> str:
    default = setting.default.strip('"')
    said = f"{setting.about} (default: {default})" if default and "(default" not in setting.about else setting.about
    return f"{said}; {setting.wanted}" if setting.wanted else said


def _file(services: Sequence[Daemon]) -> Page:
    """The configuration file: what all daemons take, then what each takes."""
    names = [{setting.name for setting in service.settings} for service in services]
    shared = set.intersection(*names)
    blocks: list[Block] = [
        Heading("Description"),
        Paragraph(
            "A file in TOML, given to a daemon with --config. Each name is that of an option of the command line, "
            "which wins over the file. Unknown names and values out of range end the daemon with an error. The file "
            "of the server is customarily called lb.toml, that of the logger lb-logger.toml."
        ),
        Example('host = "::"\nmax-connections = 4000\nmax-message = "100M"\n'),
        _UNITS,
    ]
    both = [setting for setting in services[0].settings if setting.name in shared]
    blocks += [Heading("Names that all daemons know"), _entries(both)]
    for service in services:
        own = [setting for setting in service.settings if setting.name not in shared]
        blocks += [Heading(f"Names that {service.name} knows"), _entries(own)]
    seen = ", ".join(f"twistd-{service.name}(8)" for service in services)
    blocks += [Heading("See also"), Paragraph(f"{seen}, lb(1)")]
    return Page("lb.toml", 5, "configuration of the daemons of lb", tuple(blocks))


def _entries(settings: Iterable[Setting]) -> Terms:
    return Terms(tuple((_written(setting), _explained(setting)) for setting in settings if setting.in_file))


def _written(setting: Setting) -> str:
    if not setting.value:
        return f"{setting.name} = true or false"
    if setting.repeated:
        table = ' or { KEY = "TEXT", … }' if setting.separator else ""
        return f'{setting.name} = ["TEXT", …]{table}'
    value = {"TEXT": '"TEXT"', "SIZE": 'NUMBER or "SIZE"'}.get(setting.value, setting.value)
    return f"{setting.name} = {value}"
