"""``lb log EVENT``: logs one event; its options are the attributes of the event type in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lb.broker.destination import Destination, read_destination
from lb.broker.url import BrokerURL, read_url
from lb.client.cli import SUCCESS, USAGE, Surroundings
from lb.client.cli.attributes import describe, read_source, read_time, reader
from lb.client.cli.errors import one_line
from lb.client.cli.output import write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, logger, open_client, read_job, readable
from lb.client.settings import find_settings
from lb.model.catalogue import BY_FOLDED_NAME, TYPES, EventType, Kind, Source
from lb.model.errors import LBError
from lb.model.event import Value
from lb.model.jobid import parse
from lb.model.seqcode import Sequence, flavour_of_flesh

#: Event type → the type, and what logging it is, as in `lb.client.cli.notify.ACTIONS`.
ACTIONS: Final = {type_.name: (type_, f"log an event {type_.name} ({type_.flesh})") for type_ in TYPES}

_USAGE = "usage: lb log EVENT --jobid JOBID [--sequence CODE] [--source NAME] [--ATTRIBUTE VALUE ...]\n"


def run(arguments: list[str], around: Surroundings) -> int:
    """Log an event through the logger; prints the sequence code for the next one."""
    name = arguments[0] if arguments else ""
    if name in ("help", "--help", "-h"):
        _list_types(around)
        return SUCCESS
    type_ = BY_FOLDED_NAME.get(name.lower())
    if type_ is None:
        what = f"no event type {name[:80]!r}" if name else "no event type given"
        around.stderr.write(one_line(f"lb log: {what}: lb log help lists them") + "\n")
        return USAGE
    return _log(type_, arguments[1:], around)


def _list_types(around: Surroundings) -> None:
    around.stdout.write(f"{_USAGE}lb log EVENT --help lists the attributes of an event type\n\n")
    rows = [(type_.name, type_.flesh, " ".join(a.name for a in type_.attributes)) for type_ in TYPES]
    write_table(around.stdout, ("EVENT", "FAMILY", "ATTRIBUTES"), rows)


def _parser(type_: EventType, around: Surroundings) -> Parser:
    parser = Parser(f"log {type_.name}", f"Log an event {type_.name} ({type_.flesh}).", around)
    parser.add_argument(
        "--jobid", "-j", dest="_jobid", type=readable(read_job), metavar="JOBID", help="the job (GLITE_WMS_JOBID)"
    )
    parser.add_argument(
        "--source",
        "-s",
        dest="_source",
        type=read_source,
        metavar="NAME",
        default=Source.UserInterface,
        help="the component that saw it (default: UserInterface)",
    )
    parser.add_argument(
        "--sequence", "-c", dest="_sequence", metavar="CODE", help="code of the event before (GLITE_WMS_SEQUENCE_CODE)"
    )
    parser.add_argument(
        "--dont-increment", "-I", dest="_as_is", action="store_true", help="use the sequence code as it is"
    )
    parser.add_argument("--instance", "-i", dest="_instance", metavar="TEXT", default="", help="instance of the source")
    parser.add_argument("--sync", "-p", dest="_sync", action="store_true", help="wait until the server has stored it")
    parser.add_argument(
        "--logger",
        "-m",
        dest="_logger",
        type=readable(logger),
        metavar="HOST[:PORT]",
        help="the logger (GLITE_WMS_LOG_DESTINATION)",
    )
    parser.add_argument(
        "--via",
        dest="_via",
        nargs=2,
        metavar=("BROKER_URL", "DESTINATION"),
        help="send it to a broker instead, from which the server collects events: amqp://HOST /queue/NAME",
    )
    parser.add_argument("--time", dest="_time", type=read_time, metavar="TIME", help="when it happened (default: now)")
    group = parser.add_argument_group("attributes")
    for attribute in type_.attributes:
        group.add_argument(
            f"--{attribute.name}",
            dest=f"attribute {attribute.name}",
            type=reader(attribute),
            required=attribute.mandatory,
            metavar="NAME" if attribute.kind in (Kind.CODED, Kind.LOGSRC) else "VALUE",
            help=describe(attribute).replace("%", "%%"),
        )
    add_output(parser)
    add_connection(parser)
    return parser


def _spelled(type_: EventType, arguments: list[str]) -> list[str]:
    """The arguments with the names of attributes as the catalogue spells them: case and hyphens do not matter."""
    names = {attribute.name.lower(): attribute.name for attribute in type_.attributes}

    def spell(argument: str) -> str:
        found = re.match(r"--([\w-]+)(?==|\Z)", argument)
        name = names.get(found[1].lower().replace("-", "_")) if found else None
        return argument if name is None or found is None else f"--{name}{argument[found.end() :]}"

    return [spell(argument) for argument in arguments]


def _broker(parser: Parser, given: Mapping[str, Any]) -> tuple[tuple[BrokerURL, ...], Destination] | None:
    """The broker, by all its URLs, and the destination there; None for the way through the logger."""
    if given["_via"] is None:
        return None
    for option in ("_sync", "_logger"):
        if given[option]:
            parser.error(f"--{option[1:]} is for the way through a logger, not with --via")
    urls, destination = given["_via"]
    try:
        return tuple(map(read_url, urls.split() or [urls])), read_destination(destination)
    except LBError as error:
        parser.error(f"--via: {error.description}")


def _log(type_: EventType, arguments: list[str], around: Surroundings) -> int:
    parser = _parser(type_, around)
    given = vars(options := parser.parse_args(_spelled(type_, arguments)))
    attributes: dict[str, Value] = {
        a.name: value for a in type_.attributes if (value := given[f"attribute {a.name}"]) is not None
    }
    settings = find_settings(around.environ)
    job = given["_jobid"] or (parse(settings.jobid) if settings.jobid else None)
    if job is None:
        parser.error("no job given, neither by --jobid nor by GLITE_WMS_JOBID")
    code = given["_sequence"] or settings.sequence_code
    sequence = Sequence(given["_source"], flavour_of_flesh(type_.flesh), code)
    if not given["_as_is"]:
        sequence.increment()
    via = _broker(parser, given)
    with open_client(options, around, logger=given["_logger"]) as client:
        event = client.session.producer.new_event(
            type_,
            job,
            given["_source"],
            code if given["_as_is"] and code else sequence.text,
            attributes,
            src_instance=given["_instance"],
            timestamp=given["_time"],
        )
        if via is None:
            client.log(event, synchronous=given["_sync"])
        else:
            client.log_via(*via, [event])
    sequence.increment()
    if given["json"]:
        write_json(around.stdout, {"jobId": str(job), "type": type_.name, "sequence": sequence.text})
    else:
        around.stdout.write(f"{sequence.text}\n")
    return SUCCESS
