"""Options about notifications that several commands share: which jobs, what a state carries, where to listen.

Each option about jobs is one group of conditions, its values are alternatives; nothing here opens a connection.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from lb.client.cli.numbers import YEAR, decimal, whole
from lb.client.cli.parser import read_job, readable, server
from lb.client.settings import Address, Settings, read_address
from lb.model import query
from lb.model.errors import invalid
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Attribute, Condition, Flag, Group, Operator, Value

_VO: Final = "VirtualOrganisation"
#: A number of seconds, for argparse.
seconds: Final = decimal(0, YEAR, "seconds")

# --- which jobs -------------------------------------------------------------------------------------------------


def _each(attribute: Attribute) -> Callable[[str], list[Value]]:
    """A reader of names that are separated by commas."""

    def read(text: str) -> list[Value]:
        return [query.read_value(attribute, name) for name in text.split(",")]

    return readable(read)


def add_conditions(parser: argparse.ArgumentParser, *, jobs: bool) -> None:
    """Options that say which jobs; `jobs`: with one for job ids."""
    group = parser.add_argument_group("which jobs: all that is given must hold")
    if jobs:
        group.add_argument(
            "--job", "-j", action="append", default=[], type=readable(read_job), metavar="JOBID", help="this job"
        )
    group.add_argument("--owner", "-o", action="append", default=[], metavar="DN", help="jobs of this owner")
    group.add_argument("--own", "-O", action="store_true", help="jobs of whoever asks")
    group.add_argument("--ns", "-n", action="append", default=[], metavar="ADDRESS", help="network server of the jobs")
    group.add_argument("--vo", "-v", action="append", default=[], metavar="NAME", help="virtual organisation")
    group.add_argument(
        "--state", "-S", type=_each(Attribute.STATUS), default=[], metavar="NAME,…", help="jobs in one of these states"
    )
    group.add_argument(
        "--type", "-E", type=_each(Attribute.JOB_TYPE), default=[], metavar="NAME,…", help="jobs of these types"
    )


def _equal(attribute: Attribute, values: Sequence[Value], name: str | None = None) -> tuple[Group, ...]:
    group = tuple(Condition(attribute, Operator.EQUAL, value, name=name) for value in values)
    return (group,) if group else ()


#: Only when the state is another one than before.
ON_CHANGE: Final[Group] = (Condition(Attribute.STATUS, Operator.CHANGED, None),)


def about_jobs(jobs: Sequence[JobId]) -> tuple[Group, ...]:
    """The condition that it is one of these jobs."""
    return _equal(Attribute.JOBID, jobs)


def groups_of(given: argparse.Namespace, identity: str) -> tuple[Group, ...]:
    """The conditions of `add_conditions`; `identity`: who asks."""
    owners = [*given.owner, *([identity] if given.own else [])]
    return (
        *_equal(Attribute.OWNER, owners),
        *_equal(Attribute.NETWORK_SERVER, given.ns),
        *_equal(Attribute.JDL_ATTR, given.vo, _VO),
        *_equal(Attribute.STATUS, given.state),
        *_equal(Attribute.JOB_TYPE, given.type),
    )


# --- what a state carries ---------------------------------------------------------------------------------------

#: Option, its short form, the flags it stands for, and what it does.
_CONTENT: Final = (
    ("--jdl", "-J", Flag.CLASSADD, "states with the job's description"),
    ("--bootstrap", "-B", Flag.BOOTSTRAP, "send the present states first"),
    ("--terminal", "-T", Flag.TERMINAL_STATES, "only Aborted, Cancelled, Cleared and Purged"),
    ("--history", "-H", Flag.HISTORY | Flag.TERMINAL_STATES, "states with all events of the job; implies --terminal"),
    ("--anonymous", "-N", Flag.ANONYMIZED, "owners as hashes"),
)


def add_content(parser: argparse.ArgumentParser) -> None:
    """Options that say what a state carries."""
    group = parser.add_argument_group("what is sent")
    for option, short, flags, about in _CONTENT:
        group.add_argument(
            option, short, dest="content", action="append_const", const=flags, default=[NO_FLAGS], help=about
        )
    group.add_argument("--flags", "-f", type=_bits, default=0, metavar="BITS", help="the same as a number")


def _bits(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= max(Flag) * 2 - 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no sum of flags")
    return number


def flags_of(given: argparse.Namespace) -> Flag:
    """The flags of `add_content`."""
    flags = Flag(given.flags)
    for each in given.content:
        flags |= each
    return flags


# --- where to listen --------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """What the options of `add_address` say: an address to register, an existing socket, or nothing."""

    address: str | None
    descriptor: int | None


def add_address(parser: argparse.ArgumentParser) -> None:
    """``--address`` and ``--socket``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--address",
        "-a",
        type=readable(_read_place),
        metavar="ADDRESS",
        help="where notifications are to arrive: HOST:PORT, or x-msg://BROKER/DESTINATION of the server's brokers",
    )
    group.add_argument("--socket", "-s", type=whole(0), metavar="FD", help="an open socket on which they are to arrive")


def _read_place(text: str) -> str:
    if "//" not in text:
        read_address(text, 0)
    return text


def place_of(given: argparse.Namespace) -> Place:
    """What the options say."""
    return Place(given.address, given.socket)


def listening_arguments(place: Place) -> dict[str, Any]:
    """The arguments of a receiver there; raises EINVAL for a URL, where nobody can listen."""
    if place.descriptor is not None:
        return {"listening": _existing(place.descriptor)}
    if place.address is None:
        return {}
    if "//" in place.address:
        raise invalid(f"{place.address}: nobody can listen on a URL; receive on a host:port")
    at = read_address(place.address, 0)
    return {"host": at.host, "port": at.port}


def passing_address(place: Place) -> str:
    """An address for a registration whose receiver comes later and binds it."""
    if place.address is not None:
        return place.address
    if place.descriptor is not None:
        with _existing(place.descriptor) as existing:
            host, port = existing.getsockname()[:2]
        return f"{host}:{port}"
    # As C clients do: a port that was free a moment ago, so that nobody is disturbed before the receiver binds.
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as passing:
        passing.bind(("", 0))
        host, port = passing.getsockname()[:2]
    return f"{host}:{port}"


def _existing(descriptor: int) -> socket.socket:
    try:
        return socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise invalid(f"file descriptor {descriptor} is no socket: {error.strerror}") from None


# --- which server, and until when -------------------------------------------------------------------------------


def add_server(parser: argparse.ArgumentParser) -> None:
    """``--server``."""
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_NOTIF_SERVER)"
    )


def server_for(given: Address | None, jobs: Sequence[JobId], settings: Settings) -> Address:
    """Where to register: as said, as set, the server of the first job, the server for queries."""
    if given is not None:
        return given
    if settings.notification_server is None and jobs:
        return Address(jobs[0].host, jobs[0].port)
    return settings.notification_server or settings.query_server


def add_validity(parser: argparse.ArgumentParser, default: float | None = None) -> None:
    """``--validity``."""
    usual = "as the server gives" if default is None else f"{default:.0f}"
    parser.add_argument(
        "--validity", "-t", type=seconds, default=default, metavar="SECONDS", help=f"how long (default: {usual})"
    )


def shown(valid: int) -> str:
    """``'2026-11-23 09:11:03 UTC' (1795425063)``, as the C command shows it."""
    try:
        moment = datetime.fromtimestamp(valid, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        moment = "later than any calendar"
    return f"'{moment}' ({valid})"
