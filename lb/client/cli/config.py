"""``lb config``: shows how a server is configured, as far as whoever asks may know (spec: wire-web.md §8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.output import visible, write_json
from lb.client.cli.parser import Parser, add_connection, add_output, readable, server

if TYPE_CHECKING:
    from lb.client.cli.reaching import Reach

_PAGE: Final = "/?configuration?text"


def run(arguments: list[str], around: Surroundings) -> int:
    """Print the server's page for scripts: a line a fact."""
    about = "Show how a server is configured: name=value lines; administrators are told more."
    parser = Parser("config", about, around)
    parser.add_argument(
        "--server", "-m", type=readable(server), metavar="HOST:PORT", help="which server (GLITE_WMS_QUERY_SERVER)"
    )
    add_output(parser)
    add_connection(parser)
    given = parser.parse_args(arguments)

    from lb.client.cli.reaching import reach

    async def ask(way: Reach) -> str:
        return await way.page(way.settings.query_server, _PAGE)

    lines = [line for line in reach(given, around, ask, query_server=given.server).splitlines() if line]
    if given.json:
        write_json(around.stdout, {name: visible(value) for name, _, value in (line.partition("=") for line in lines)})
        return SUCCESS
    for line in lines:
        around.stdout.write(f"{visible(line)}\n")
    return SUCCESS
