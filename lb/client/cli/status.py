"""``lb status JOBID…``: shows the states of jobs."""

from __future__ import annotations

import json
from typing import Any

from lb.client.cli import FAILURE, SUCCESS, Surroundings, compat
from lb.client.cli.errors import message_of
from lb.client.cli.output import write_json, write_table
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, read_job, readable
from lb.model.errors import LBError, invalid
from lb.model.query import NO_FLAGS, Flag, read_flags, write_flags
from lb.wire.documents import status_document

_FLAGS = write_flags(Flag.CLASSADD | Flag.CHILDREN)
#: What the C command asks for.
_COMPAT_FLAGS = Flag.CLASSADD | Flag.CHILDREN | Flag.CHILDSTAT
_HISTOGRAMS = Flag.CHILDHIST_FAST | Flag.CHILDHIST_THOROUGH


def run(arguments: list[str], around: Surroundings) -> int:
    """Show the states of jobs; a job that cannot be shown does not keep the others from being shown."""
    parser = Parser("status", "Show the states of jobs.", around)
    parser.add_argument("jobid", nargs="+", type=readable(read_job), metavar="JOBID")
    parser.add_argument(
        "--flags",
        type=readable(_read_flags),
        metavar="NAME+…",
        help="what a state carries, joined by +: classadd, children, childstat, history, … "
        f"(default: {_FLAGS}, with --compat also childstat)",
    )
    compat.add_compat(parser, "job_status")
    add_output(parser)
    add_connection(parser, asking=True)
    given = parser.parse_args(arguments)
    if given.compat and given.json:
        parser.error("choose one of --compat and --json")
    flags = _COMPAT_FLAGS if given.compat else read_flags(_FLAGS)
    if given.flags is not None:
        flags = given.flags
    documents: list[dict[str, Any]] = []
    failed = False
    with open_client(given, around) as client:
        for job in given.jobid:
            try:
                status = client.status(job, flags)
            except LBError as error:
                failed = True
                line = compat.failure("lb status", "edg_wll_JobStatus", error) if given.compat else None
                around.stderr.write(line or f"lb status: {job}: {message_of(error)}\n")
                continue
            if given.compat:
                around.stdout.write(compat.status_block(status, histogram=bool(flags & _HISTOGRAMS)))
            elif given.json:
                documents.append(status_document(status))
            else:
                show(status_document(status), around)
    if given.json:
        write_json(around.stdout, documents)
    return FAILURE if failed else SUCCESS


def _read_flags(text: str) -> Flag:
    """The flags of ``name+name``; unlike servers, who may be older, a name that nobody knows is refused."""
    for name in text.split("+"):
        if not read_flags(name):
            raise invalid(f"{name[:80]!r} is no flag: give some of {', '.join(write_flags(~NO_FLAGS).split('+'))}")
    return read_flags(text)


def show(document: dict[str, Any], around: Surroundings) -> None:
    """A table of the document of a state, then one of each child's."""
    rows = [(name, _text(value)) for name, value in document.items() if name != "children_states"]
    write_table(around.stdout, ("ATTRIBUTE", "VALUE"), rows, title=f"{document.get('jobId', '')}")
    around.stdout.write("\n")
    for child in document.get("children_states", ()):
        show(child, around)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(f"{name}: {entry}" for name, entry in value.items())
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return json.dumps(value)
