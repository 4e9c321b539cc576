"""Where things are and how long to wait: explicit settings, then the environment of the C clients, then defaults.

Each parameter is looked for as ``GLITE_WMS_<NAME>``, then ``EDG_WL_<NAME>`` (spec: model.md §6.13, wire-query.md §10).
Nothing here opens a file or a connection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from lb.model.errors import LBError, invalid
from lb.model.jobid import split_server
from lb.model.query import Results
from lb.wire.il import STORE_OFFSET

LOGGER_PORT: Final = 9002
SERVER_PORT: Final = 9000
_PREFIXES: Final = ("GLITE_WMS_", "EDG_WL_")
#: Longest time-out that makes sense, seconds: the cap of registrations with many subjobs.
MAX_TIMEOUT: Final = 86_400.0


class Address(NamedTuple):
    """Host (a name or an address, IPv6 in brackets) and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def store(self) -> Address:
        """The port for events beside a server's port for queries."""
        return Address(self.host, self.port + STORE_OFFSET)


def read_address(text: str, default_port: int) -> Address:
    """Read ``HOST[:PORT]``, with or without ``https://`` before it; raises EINVAL."""
    host, port = split_server(text.strip().removeprefix("https://").rstrip("/"), default_port)
    if not host or any(character in host for character in " /\t\n"):
        raise invalid(f"{text[:255]!r} is not host:port")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return Address(host, port)


def _address(default_port: int) -> Callable[[str], Address]:
    return lambda text: read_address(text, default_port)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        raise invalid(f"{text[:80]!r} is not a number of seconds up to {MAX_TIMEOUT:.0f}")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid(f"{text[:80]!r} is not a number of nine digits at most")
    return int(text)


def _results(text: str) -> Results:
    try:
        return Results[text.strip().upper()]
    except KeyError:
        raise invalid(f"{text[:80]!r} is none of None, All, Limited") from None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a client; times in seconds."""

    logger: Address = Address("localhost", LOGGER_PORT)
    #: For queries that name no job, and for new job ids.
    query_server: Address = Address("localhost", SERVER_PORT)
    notification_server: Address | None = None
    #: Ask `query_server` even about jobs of other servers.
    query_server_override: bool = False
    #: Ask servers over Perspective Broker, on the port that belongs to the one for queries.
    perspective_broker: bool = False
    log_timeout: float = 120.0
    log_sync_timeout: float = 120.0
    query_timeout: float = 120.0
    notification_timeout: float = 120.0
    #: Most results of a query, 0 = as many as the server gives; and what to do when there are more.
    jobs_limit: int = 0
    events_limit: int = 0
    results: Results = Results.UNDEFINED
    #: Most kept connections.
    connections: int = 50
    #: Name of this machine in events; empty = find out.
    host: str = ""
    #: Job and code that a running job finds in its environment.
    jobid: str | None = None
    sequence_code: str | None = None


class Parameter(NamedTuple):
    field: str
    variables: tuple[str, ...]
    read: Callable[[str], Any]


def _parameter(field: str, name: str, read: Callable[[str], Any]) -> Parameter:
    return Parameter(field, tuple(prefix + name for prefix in _PREFIXES), read)


PARAMETERS: Final = (
    _parameter("logger", "LOG_DESTINATION", _address(LOGGER_PORT)),
    _parameter("query_server", "QUERY_SERVER", _address(SERVER_PORT)),
    _parameter("notification_server", "NOTIF_SERVER", _address(SERVER_PORT)),
    _parameter("query_server_override", "QUERY_SERVER_OVERRIDE", lambda text: text.strip().lower() == "yes"),
    _parameter("log_timeout", "LOG_TIMEOUT", _seconds),
    _parameter("log_sync_timeout", "LOG_SYNC_TIMEOUT", _seconds),
    _parameter("query_timeout", "QUERY_TIMEOUT", _seconds),
    _parameter("notification_timeout", "NOTIF_TIMEOUT", _seconds),
    _parameter("jobs_limit", "QUERY_JOBS_LIMIT", _count),
    _parameter("events_limit", "QUERY_EVENTS_LIMIT", _count),
    _parameter("results", "QUERY_RESULTS", _results),
    _parameter("connections", "CONNPOOL_SIZE", lambda text: max(1, _count(text))),
    _parameter("jobid", "JOBID", str),
    _parameter("sequence_code", "SEQUENCE_CODE", str),
    Parameter("host", ("GLOBUS_HOSTNAME",), str),
)


def find_settings(environ: Mapping[str, str], explicit: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force: `explicit` ones by field name (None = not given), the environment, the defaults.

    Raises EINVAL that names the variable whose value makes no sense.
    """
    found: dict[str, Any] = {name: value for name, value in (explicit or {}).items() if value is not None}
    for parameter in PARAMETERS:
        if parameter.field in found:
            continue
        for variable in parameter.variables:
            text = environ.get(variable)
            if text:
                try:
                    found[parameter.field] = parameter.read(text)
                except LBError as error:
                    raise invalid(f"{variable}: {error.description}") from None
                break
    return Settings(**found)
