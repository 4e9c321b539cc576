"""``lb pki``: the development PKI of a state directory."""

from __future__ import annotations

import os
from pathlib import Path

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, add_output


def run(arguments: list[str], around: Surroundings) -> int:
    """Make the PKI, or issue a certificate from it; prints where the files are."""
    parser = Parser("pki", "Make the development PKI, or issue a further user certificate from it.", around)
    parser.add_argument("action", choices=("init", "issue"), help="what to do")
    parser.add_argument("name", nargs="?", metavar="NAME", help="issue: the name of the user, CN of the certificate")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="state directory (default: LB_STATE_DIR or the customary one)"
    )
    add_output(parser)
    given = parser.parse_args(arguments)
    if (given.action == "issue") != (given.name is not None):
        parser.error("issue needs a NAME" if given.action == "issue" else "init takes no NAME")

    from lb.security import pki
    from lb.security.state_directory import state_directory

    state = given.state_dir or state_directory(around.environ, Path.home(), os.getuid())
    directory = state / "pki"
    if given.action == "issue":
        issued = pki.issue(directory, given.name)
        files = {"certificate": issued.certificate, "key": issued.key}
    else:
        made = pki.ensure(directory)
        files = {
            "authority": made.authority,
            "authorities": made.authorities,
            "certificate": made.user.certificate,
            "key": made.user.key,
        }
    if given.json:
        write_json(around.stdout, {name: str(path) for name, path in files.items()})
    else:
        for name, path in files.items():
            around.stdout.write(f"{name + ':':13}{path}\n")
    return SUCCESS
