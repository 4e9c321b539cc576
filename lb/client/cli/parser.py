"""Arguments that several commands share, and a parser whose errors are one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lb.client.cli import USAGE, Surroundings
from lb.client.cli.numbers import decimal
from lb.client.settings import LOGGER_PORT, MAX_TIMEOUT, SERVER_PORT, Address, read_address
from lb.model.errors import LBError
from lb.model.jobid import JobId, parse

_T = TypeVar("_T")


class Parser(argparse.ArgumentParser):
    """Reads the arguments of one command."""

    def __init__(self, command: str, about: str, around: Surroundings, **more: Any) -> None:
        super().__init__(prog=f"lb {command}", description=about, allow_abbrev=False, **more)
        self._around = around

    def error(self, message: str) -> NoReturn:
        """End with a usage error: one line that says what is wrong and where help is."""
        self._around.stderr.write(f"{self.prog}: {message}: {self.prog} --help tells how\n")
        raise SystemExit(USAGE)

    def print_help(self, file: object = None) -> None:
        """Print what the command takes."""
        if self._around.shown is not None:
            self._around.shown(self)
            return
        self._around.stdout.write(self.format_help())


def readable(read: Callable[[str], _T]) -> Callable[[str], _T]:
    """A reader for argparse: its `LBError` becomes a usage error in its own words."""

    def convert(text: str) -> _T:
        try:
            return read(text)
        except LBError as error:
            raise argparse.ArgumentTypeError(error.description) from None

    return convert


def read_job(text: str) -> JobId:
    """A job id; raises EINVAL."""
    return parse(text.strip())


def server(text: str) -> Address:
    """``HOST[:PORT]`` of a server; raises EINVAL."""
    return read_address(text, SERVER_PORT)


def logger(text: str) -> Address:
    """``HOST[:PORT]`` of a logger; raises EINVAL."""
    return read_address(text, LOGGER_PORT)


def add_output(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_connection(parser: argparse.ArgumentParser, *, asking: bool = False) -> None:
    """Credentials and time-outs; `asking`: for a command that reads, and may do so over Perspective Broker."""
    group = parser.add_argument_group("connection")
    group.add_argument("--cert", type=Path, metavar="FILE", help="own certificate (with --key)")
    group.add_argument("--key", type=Path, metavar="FILE", help="its private key; the same file for a proxy")
    group.add_argument("--ca-dir", type=Path, metavar="PATH", help="directory or file of trusted authorities")
    group.add_argument("--state-dir", type=Path, metavar="DIR", help="where a development PKI may be found")
    if asking:
        group.add_argument("--pb", action="store_true", help="ask over Perspective Broker instead of HTTPS")
    patience = decimal(0, MAX_TIMEOUT, "seconds")
    group.add_argument("--timeout", type=patience, metavar="SECONDS", help="for each request (default: 120)")


def open_client(arguments: argparse.Namespace, around: Surroundings, **settings: Any) -> Any:
    """A `lb.client.blocking.Client` as the arguments of `add_connection` say; `settings`: more explicit ones."""
    from lb.client.blocking import Client  # the reactor and TLS, which need some time to load

    timeout = arguments.timeout
    names = ("log_timeout", "log_sync_timeout", "query_timeout", "notification_timeout")
    over_pb = getattr(arguments, "pb", False) or None
    explicit = {**dict.fromkeys(names, timeout), "perspective_broker": over_pb, **settings}
    return Client(
        environ=around.environ,
        explicit=explicit,
        certificate=arguments.cert,
        key=arguments.key,
        authorities=arguments.ca_dir,
        state=arguments.state_dir,
    )
