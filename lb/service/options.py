"""Options of both daemons: the command line over a TOML file over the defaults, and where things are kept.

No option is needed. Every mistake is a `usage.UsageError` that names the option, the file and what would be right.
"""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.internet.interfaces import IReactorTime
from twisted.python import usage

from lb.security import pki
from lb.security.credentials import Credential, CredentialError, Surroundings, for_daemon, load, trust_directory
from lb.security.identity import end_entity
from lb.security.names import slash_form
from lb.security.state_directory import state_directory
from lb.security.tls import EndpointCredentials


class DaemonOptions(usage.Options):
    """Options that `twistd lb` and `twistd lb-logger` share; values not given are None until `postOptions`."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", None, None, "TOML file with the same names as these options; options win over it"],
        [
            "state-dir",
            None,
            None,
            "where everything is kept (default: $LB_STATE_DIR, /var/lib/lb for root, ~/.local/state/lb)",
        ],
        ["host", None, None, "address to listen on (default: 127.0.0.1)"],
        ["port", None, None, "port to listen on"],
        [
            "cert",
            None,
            None,
            "certificate file (default: X509_USER_CERT, host certificates, a development certificate)",
        ],
        ["key", None, None, "private key file"],
        [
            "ca-dir",
            None,
            None,
            "directory or file of trusted authorities (default: X509_CERT_DIR and customary places)",
        ],
    ]
    #: Defaults, by option; options without one stay None.
    option_defaults: ClassVar[Mapping[str, str]] = {"host": "127.0.0.1"}
    #: Options that take a number.
    numbers: ClassVar[frozenset[str]] = frozenset({"port"})
    #: Name in our own certificate, once `credentials` has been asked for.
    own_name: str = ""

    def postOptions(self) -> None:
        """Fill in what the command line left open, from the file and the defaults; check numbers."""
        known = {parameter[0] for parameter in self.optParameters}
        for name, value in self._file().items():
            if name not in known:
                raise usage.UsageError(f"{self['config']}: unknown option {name}; there are {', '.join(sorted(known))}")
            if self[name] is None:
                self[name] = value if isinstance(value, list) else str(value)
        for name, value in self.option_defaults.items():
            if self[name] is None:
                self[name] = value
        for name in self.numbers:
            if self[name] is not None:
                self[name] = _number(name, self[name])

    def _file(self) -> dict[str, Any]:
        if self["config"] is None:
            return {}
        try:
            with open(self["config"], "rb") as file:
                return tomllib.load(file)
        except OSError as error:
            raise usage.UsageError(f"--config {self['config']}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise usage.UsageError(f"--config {self['config']}: {error}") from None

    @property
    def state(self) -> Path:
        """The state directory; made, private to the account, when it is missing."""
        named = self["state-dir"]
        path = Path(named) if named else state_directory(os.environ, Path.home(), os.getuid())
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise usage.UsageError(
                f"--state-dir {path}: {error.strerror}; give a directory that can be written"
            ) from None
        return path

    def credentials(self, clock: IReactorTime) -> EndpointCredentials:
        """Our certificate and whom we trust; a development PKI is made in the state directory when nothing is given."""
        surroundings = Surroundings(os.environ, Path.home(), os.getuid())
        directory = self.state / "pki"
        try:
            made = pki.ensure(directory)
            credential = for_daemon(
                surroundings,
                time.time(),
                certificate=_path(self["cert"]),
                key=_path(self["key"]),
                fallback=Credential(made.host.certificate, made.host.key),
            )
            pair = load(credential, time.time())
            self.own_name = slash_form(end_entity([pair.certificate, *pair.chain]))
            anchors = trust_directory(
                surroundings, explicit=_path(self["ca-dir"]), fallback=made.authorities, credential=credential
            )
            return EndpointCredentials(credential, anchors, clock)
        except CredentialError as error:
            raise usage.UsageError(str(error)) from None


_MAX_PORT: Final = 65535


def _number(name: str, value: Any) -> int:
    try:
        number = int(value)
    except ValueError:
        raise usage.UsageError(f"--{name} {value}: give a number") from None
    if not 0 <= number <= _MAX_PORT:
        raise usage.UsageError(f"--{name} {value}: give a number from 0 to {_MAX_PORT}")
    return number


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
