"""``lb notify ACTION``: registrations for notifications, and receiving them as the C command does (spec: cli.md §3)."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any, Final

from lb.client.cli import SUCCESS, USAGE, Surroundings
from lb.client.cli.arrivals import add_fields, ended_by_signals, print_arrivals, receiving
from lb.client.cli.errors import one_line
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, add_connection, add_output, open_client, read_job, readable
from lb.client.cli.subscription import (
    ON_CHANGE,
    about_jobs,
    add_address,
    add_conditions,
    add_content,
    add_server,
    add_validity,
    flags_of,
    groups_of,
    listening_arguments,
    passing_address,
    place_of,
    seconds,
    server_for,
    shown,
)
from lb.model import notifid
from lb.wire.documents import iso_time

#: Seconds that `receive` runs, and asks the registrations to be valid.
_RUNNING: Final = 600.0
_VALIDITY: Final = 3600.0


def run(arguments: list[str], around: Surroundings) -> int:
    """Do what the first argument says."""
    name = arguments[0] if arguments else ""
    if name in ("help", "--help", "-h"):
        width = max(map(len, ACTIONS))
        lines = "".join(f"  {action:{width}}  {about}\n" for action, (_, about) in ACTIONS.items())
        around.stdout.write(f"usage: lb notify ACTION ...\n\nactions:\n{lines}\nlb notify ACTION --help tells more.\n")
        return SUCCESS
    if name not in ACTIONS:
        what = f"no action {name[:80]!r}" if name else "no action given"
        around.stderr.write(one_line(f"lb notify: {what}: lb notify --help lists them") + "\n")
        return USAGE
    act, about = ACTIONS[name]
    parser = Parser(f"notify {name}", f"{about[0].upper()}{about[1:]}.", around)
    return act(parser, arguments[1:], around)


def _new(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    add_conditions(parser, jobs=True)
    parser.add_argument("--changes", "-c", action="store_true", help="only when the state is another one than before")
    add_content(parser)
    add_address(parser)
    add_server(parser)
    add_validity(parser)
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    if not any((given.job, given.owner, given.own, given.ns, given.vo, given.state, given.type)):
        parser.error("say which jobs (--job, --owner, --own, --ns, --vo, --state, --type)")
    address = passing_address(place_of(given))
    with open_client(given, around) as client:
        session = client.session
        groups = about_jobs(given.job) + groups_of(given, session.identity)
        if given.changes:
            groups = (*groups, ON_CHANGE)
        identity = notifid.create(str(server_for(given.server, given.job, session.settings)))
        made = client.run(
            lambda session: session.notifications.new(
                identity, groups, address=address, flags=flags_of(given), validity=_until(given.validity)
            )
        )
    if given.json:
        write_json(around.stdout, {"notifId": str(made.notifid), "valid": _iso(made.valid)})
    else:
        around.stdout.write(f"notification ID: {made.notifid}\nvalid: {shown(made.valid)}\n")
    return SUCCESS


def _bind(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    parser.add_argument("notifid", nargs="+", metavar="ID")
    add_address(parser)
    add_validity(parser)
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    identities = [notifid.parse(text) for text in given.notifid]
    address = passing_address(place_of(given))
    with open_client(given, around) as client:
        for identity in identities:
            _show_valid(
                client.run(
                    lambda session, identity=identity: session.notifications.bind(
                        identity, address, _until(given.validity)
                    )
                ),
                given.json,
                around,
            )
    return SUCCESS


def _change(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    parser.add_argument("notifid", metavar="ID")
    parser.add_argument("jobid", nargs="*", type=readable(read_job), metavar="JOBID", help="the jobs from now on")
    add_conditions(parser, jobs=False)
    parser.add_argument("--changes", "-c", action="store_true", help="only when the state is another one than before")
    add_connection(parser)
    given = parser.parse_args(arguments)
    identity = notifid.parse(given.notifid)
    with open_client(given, around) as client:
        groups = about_jobs(given.jobid) + groups_of(given, client.session.identity)
        if given.changes:
            groups = (*groups, ON_CHANGE)
        if not groups:
            parser.error("say which jobs")
        client.run(lambda session: session.notifications.change(identity, groups))
    return SUCCESS


def _refresh(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    parser.add_argument("notifid", metavar="ID")
    add_validity(parser)
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    identity = notifid.parse(given.notifid)
    with open_client(given, around) as client:
        made = client.run(lambda session: session.notifications.refresh(identity, _until(given.validity)))
    _show_valid(made, given.json, around)
    return SUCCESS


def _drop(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    parser.add_argument("notifid", metavar="ID")
    add_connection(parser)
    given = parser.parse_args(arguments)
    identity = notifid.parse(given.notifid)
    with open_client(given, around) as client:
        client.run(lambda session: session.notifications.drop(identity))
    return SUCCESS


def _list(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    add_server(parser)
    parser.add_argument("--all", "-A", action="store_true", help="those of everybody, for administrators")
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    with open_client(given, around) as client:
        found = client.run(lambda session: session.notifications.listed(given.server, all_owners=given.all))
    if given.json:
        write_json(around.stdout, [str(identity) for identity in found])
    else:
        around.stdout.writelines(f"{identity}\n" for identity in found)
    return SUCCESS


def _show(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    parser.add_argument("notifid", nargs="+", metavar="ID")
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    identities = [notifid.parse(text) for text in given.notifid]
    with open_client(given, around) as client:
        for identity in identities:
            facts = client.run(lambda session, identity=identity: session.notifications.facts(identity))
            facts["Notif_id"] = str(identity)
            if given.json:
                write_json(around.stdout, facts)
            else:
                width = max(map(len, facts))
                around.stdout.writelines(
                    one_line(f"{name.replace('_', ' ').lower():{width}}  {value}".rstrip()) + "\n"
                    for name, value in facts.items()
                )
    return SUCCESS


def _receive(parser: Parser, arguments: list[str], around: Surroundings) -> int:
    parser.add_argument("notifid", nargs="*", metavar="ID", help="registrations to bind to here (default: none)")
    add_address(parser)
    add_validity(parser, _VALIDITY)
    parser.add_argument(
        "--for",
        "-i",
        dest="running",
        type=seconds,
        default=_RUNNING,
        metavar="SECONDS",
        help=f"end after so long (default: {_RUNNING:.0f})",
    )
    parser.add_argument("--refresh", "-r", action="store_true", help="keep the registrations valid")
    parser.add_argument("--sender", action="append", default=[], metavar="DN", help="also believe this sender")
    add_fields(parser, "--fields", "-f")
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)
    identities = [notifid.parse(text) for text in given.notifid]
    where = listening_arguments(place_of(given))
    with open_client(given, around) as client, ended_by_signals():
        receiving_here = _Receiving(client, identities, where, given)
        try:
            for valid in receiving_here.bind():
                around.stderr.write(f"notification is valid until: {shown(valid)}\n")
            arrivals = receiving(client, receiving_here.receiver)
            late = print_arrivals(around, arrivals, given.fields, json=given.json, running=given.running)
        except BaseException:
            # What was not printed for certain comes again.
            receiving_here.close(taken=False)
            raise
        receiving_here.close(taken=True)
    if not late:
        return SUCCESS
    around.stderr.write("lb notify: Connection timed out (edg_wll_NotifReceive: poll() timed out)\n")
    return errno.ETIMEDOUT


class _Receiving:
    """A receiver of this process, the registrations bound to it, and what keeps them valid."""

    def __init__(self, client: Any, identities: list[Any], where: dict[str, Any], given: Any) -> None:
        self._client = client
        self._identities = identities
        self._given = given
        self._leases: list[Any] = []

        async def listen(session: Any) -> Any:
            return session.receiver(known=identities or None, believed=given.sender, **where)

        self.receiver = client.run(listen)

    def bind(self) -> list[int]:
        """Until when each registration is valid."""

        async def bind(session: Any) -> list[int]:
            valid = []
            for identity in self._identities:
                bound = await session.notifications.bind(identity, self.receiver.address, _until(self._given.validity))
                valid.append(bound.valid)
                if self._given.refresh:
                    self._leases.append(session.lease(bound, self.receiver, seconds=self._given.validity))
            return valid

        valid: list[int] = self._client.run(bind)
        return valid

    def close(self, *, taken: bool) -> None:
        """Listen no more; the registrations stay."""

        async def close(session: Any) -> None:
            for lease in self._leases:
                lease.stop()
            await self.receiver.close(taken=taken)

        self._client.run(close)


def _until(validity: float | None) -> int | None:
    """The time to ask for."""
    return None if validity is None else round(time.time() + validity)


def _iso(valid: int) -> str:
    return iso_time(valid * 1_000_000)


def _show_valid(made: Any, json: bool, around: Surroundings) -> None:
    if json:
        write_json(around.stdout, {"notifId": str(made.notifid), "valid": _iso(made.valid)})
    else:
        around.stdout.write(f"valid until: {shown(made.valid)}\n")


#: Action → what does it, and what that is.
ACTIONS: Final[dict[str, tuple[Callable[[Parser, list[str], Surroundings], int], str]]] = {
    "new": (_new, "register for notifications"),
    "bind": (_bind, "have notifications sent to another address"),
    "change": (_change, "change the jobs that a registration is about"),
    "refresh": (_refresh, "extend the validity of a registration"),
    "drop": (_drop, "end a registration"),
    "list": (_list, "print the ids of registrations"),
    "show": (_show, "print what a server knows of registrations"),
    "receive": (_receive, "print notifications as they arrive"),
}
