"""``lb agent BROKER CONTROL``: a registration agent for some server, wherever it runs.

It serves until it is stopped. What it registers belongs to its own certificate at the server, which has to let it read
the jobs of those whom it serves.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.arrivals import ended_by_signals
from lb.client.cli.parser import Parser, add_connection, open_client
from lb.client.cli.subscription import add_server, server_for
from lb.model.errors import LBError


def run(arguments: list[str], around: Surroundings) -> int:
    """Serve until a signal comes."""
    parser = _parser(around)
    given = parser.parse_args(arguments)
    from lb.broker.agent import read_control  # the brokers' libraries need some time to load
    from lb.broker.notifications import DEFAULT_PREFIXES, Topics
    from lb.broker.url import read_brokers
    from lb.broker.vouching import read_vouching
    from lb.security.state_directory import state_directory

    try:
        ((name, urls),) = read_brokers([given.broker]).items()
        control = read_control(f"{name}:{given.control}", {name})
        vouching = read_vouching(f"{name}:{user}" for user in given.user)
    except LBError as error:
        parser.error(error.description)
    topics = Topics((name,), given.topic_prefix or DEFAULT_PREFIXES)
    state = given.state_dir or state_directory(around.environ, Path.home(), os.getuid())
    book = given.book or state / f"agent-{name}.book"
    book.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_client(given, around) as client, ended_by_signals():
        server = server_for(given.server, (), client.session.settings)

        def serves(_: object) -> None:
            around.stderr.write(f"lb agent: serves {given.control} at {', '.join(map(str, urls))} for {server}\n")
            around.stderr.flush()

        async def begin(session: Any) -> Any:
            agent = session.agent(control, urls, vouching, book, topics.allows, server=server, named=given.named)
            agent.serves.addCallback(serves)
            return agent

        agent = client.run(begin)
        try:
            threading.Event().wait()
        finally:

            async def end(session: Any) -> None:
                await agent.stopService()

            client.run(end)
    return SUCCESS


def _parser(around: Surroundings) -> Parser:
    parser = Parser("agent", "Take requests on registrations for notifications from a destination at a broker.", around)
    parser.add_argument("broker", metavar="NAME=URL", help="the broker; several URLs with blanks between them")
    parser.add_argument("control", metavar="DESTINATION", help="where requests come to: /queue/NAME, …")
    parser.add_argument(
        "--user",
        "-u",
        action="append",
        required=True,
        metavar="USER=SUBJECT",
        help="who a user of the broker is; may be repeated, nobody else is served",
    )
    parser.add_argument(
        "--named", metavar="NAME", help="what the server calls this broker (default: it is the server's default one)"
    )
    parser.add_argument(
        "--topic-prefix",
        action="append",
        metavar="PREFIX",
        help="beginning of topics that may get answers (default: grid.emi.); may be repeated",
    )
    parser.add_argument("--book", type=Path, metavar="FILE", help="what it remembers (default: in the state directory)")
    add_server(parser)
    add_connection(parser)
    return parser
