"""Options of both daemons: the command line over a TOML file over the defaults, and where things are kept.

No option is needed. Every mistake is a `usage.UsageError` that names the option, the file and what would be right.
Bounds and repeated options are tables: the command line, the file, the checks and the help are made from them.
"""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from twisted.application.service import IService
from twisted.internet.interfaces import IReactorTime
from twisted.python import usage

from lb.bound import Bound, bounds_of
from lb.security import pki
from lb.security.credentials import Credential, CredentialError, Surroundings, for_daemon, load, trust_directory
from lb.security.identity import end_entity
from lb.security.names import slash_form
from lb.security.state_directory import state_directory
from lb.security.tls import EndpointCredentials
from lb.security.voms import voms_directory
from lb.service import logs
from lb.service.starting import Later, ending, splits_off


@dataclass(frozen=True, slots=True)
class Repeated:
    """An option that may be given many times; in the file a list, or a table of KEY = "VALUE" when it has a separator.

    Its value is a list of texts, of KEY`separator`VALUE when it came from a table.
    """

    meaning: str
    separator: str | None = None

    def read(self, value: object) -> list[str]:
        """The texts of a value in the file; ValueError with what would be right."""
        if isinstance(value, str):
            return [value]
        if isinstance(value, dict) and self.separator is not None:
            value = [f"{key}{self.separator}{each}" if isinstance(each, str) else each for key, each in value.items()]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            table = f" or a table of KEY = {_QUOTED}" if self.separator is not None else ""
            raise ValueError(f"give a list of texts{table}")
        return value


class DaemonOptions(usage.Options):
    """Options that `twistd lb` and `twistd lb-logger` share; values not given are None until `postOptions`.

    A subclass adds to the tables: `optParameters` and `optFlags` as Twisted has them, `bounds` and `repeated`.
    """

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
        [
            "voms-dir",
            None,
            None,
            "directory of the VOMS servers believed, VO/HOST.lsc (default: X509_VOMS_DIR, /etc/grid-security/vomsdir)",
        ],
        [
            "metrics-port",
            None,
            None,
            "port of the loopback address for metrics and health, plain HTTP (default: none)",
        ],
        ["log-format", None, None, "text, or json: one object an event (default: text)"],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["sha1-proxies", None, "accept proxies signed with SHA-1, as voms-proxy-init 2 and other C tools make them"],
    ]
    #: Defaults, by option; options without one stay None.
    option_defaults: ClassVar[Mapping[str, str]] = {"host": "127.0.0.1", "log-format": "text"}
    #: Options that take a number.
    numbers: ClassVar[frozenset[str]] = frozenset({"port", "metrics-port"})
    #: Dataclasses of bounds (`lb.bound`), each an option; `limits` gives their values.
    bounds: ClassVar[tuple[type, ...]] = ()
    #: Options that may be given many times, by name; `self[name]` is a list of texts.
    repeated: ClassVar[Mapping[str, Repeated]] = {}
    #: Name in our own certificate, once `credentials` has been asked for.
    own_name: str = ""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        help_texts = {bound.option: bound.help for bound in cls._bounds()}
        for name, repeated in cls.repeated.items():
            help_texts[name] = f"{repeated.meaning}; may be repeated"
            setattr(cls, "opt_" + name.replace("-", "_"), _collecting(name, help_texts[name]))
        present = {parameter[0] for parameter in cls.optParameters}
        added = [[name, None, None, text] for name, text in help_texts.items() if name not in present]
        cls.optParameters = [*cls.optParameters, *added]

    @classmethod
    def _bounds(cls) -> list[Bound]:
        return [bound for kind in cls.bounds for bound in bounds_of(kind).values()]

    def limits(self, kind: type[_T]) -> _T:
        """The bounds of one of the dataclasses in `bounds`, as they were chosen."""
        return kind(**{name: self[bound.option] for name, bound in bounds_of(kind).items()})

    def parseOptions(self, options: Any = None) -> None:
        """Read the command line; under twistd and twist what is wrong with it ends the process by one line."""
        if self._runner is None:
            super().parseOptions(options)
            return
        with ending(self._runner.subCommand):
            super().parseOptions(options)

    def postOptions(self) -> None:
        """Fill in what the command line left open, from the file and the defaults; check numbers."""
        origins = self._take_file()
        for name, value in self.option_defaults.items():
            if self[name] is None:
                self[name] = value
        for name in self.repeated:
            if self[name] is None:
                self[name] = []
        for name in self.numbers:
            if self[name] is not None:
                self[name] = _number(origins.get(name, f"--{name} {self[name]}"), self[name])
        for bound in self._bounds():
            name = bound.option
            if self[name] is None:
                self[name] = bound.default
                continue
            try:
                self[name] = bound.read(self[name])
            except ValueError as error:
                raise usage.UsageError(f"{origins.get(name, f'--{name} {self[name]}')}: {error}") from None

        if self["log-format"] not in logs.FORMATS:
            origin = origins.get("log-format", f"--log-format {self['log-format']}")
            raise usage.UsageError(f"{origin}: give {' or '.join(logs.FORMATS)}")
        logs.choose(self["log-format"], self._runner)

    @property
    def _runner(self) -> Any:
        """The options of twistd or twist, None when there is none."""
        return getattr(self, "parent", None)

    def service(self, name: str, make: Callable[[], IService]) -> logs.DaemonService:
        """What all services of the daemon belong to; `make` makes them and raises `usage.UsageError`.

        `name`: of the daemon. Ends the process with an error for people when they cannot be made.
        """
        service = logs.DaemonService(self["log-format"], self._runner)
        if splits_off(self._runner):
            Later(make).setServiceParent(service)
        else:
            with ending(name):
                make().setServiceParent(service)
        return service

    def _take_file(self) -> dict[str, str]:
        """Take the values of the file that the command line does not replace; where each came from, for errors."""
        flags = {flag[0] for flag in self.optFlags}
        known = {parameter[0] for parameter in self.optParameters} - {"config"} | flags
        origins: dict[str, str] = {}
        for name, value in self._file().items():
            if name not in known:
                raise usage.UsageError(f"{self['config']}: unknown option {name}; there are {', '.join(sorted(known))}")
            origin = f"{self['config']}: {name} = {value}"
            if name in flags:
                if not isinstance(value, bool):
                    raise usage.UsageError(f"{origin}: give true or false")
                self[name] = int(self[name] or value)
                continue
            try:
                value = self.repeated[name].read(value) if name in self.repeated else _single(value)
            except ValueError as error:
                raise usage.UsageError(f"{origin}: {error}") from None
            if self[name] is None:
                self[name] = value
                origins[name] = origin
        return origins

    def _file(self) -> dict[str, Any]:
        if self["config"] is None:
            return {}
        try:
            with open(self["config"], "rb") as file:
                return tomllib.load(file)
        except OSError as error:
            raise usage.UsageError(f"--config {self['config']}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
            voms = voms_directory(os.environ, _path(self["voms-dir"]))
            return EndpointCredentials(credential, anchors, clock, voms=voms, sha1_proxies=bool(self["sha1-proxies"]))
        except CredentialError as error:
            raise usage.UsageError(str(error)) from None


_T = TypeVar("_T")
_MAX_PORT: Final = 65535
_QUOTED: Final = '"VALUE"'


def _collecting(name: str, help_text: str) -> Callable[[DaemonOptions, str], None]:
    """What Twisted calls for each occurrence of a repeated option."""

    def take(self: DaemonOptions, value: str) -> None:
        self[name] = [*(self[name] or ()), value]

    take.__doc__ = help_text
    return take


def _single(value: object) -> str:
    """The text of a value that stands alone in the file."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("give one text or number")
    return str(value)


def _number(origin: str, value: Any) -> int:
    try:
        number = int(value)
    except ValueError:
        raise usage.UsageError(f"{origin}: give a number") from None
    if not 0 <= number <= _MAX_PORT:
        raise usage.UsageError(f"{origin}: give a number from 0 to {_MAX_PORT}")
    return number


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
