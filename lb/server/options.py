"""Options of `twistd lb`: those of notifications and administration, and what is the server's alone.

Nothing here opens anything but the files that are named; every mistake is a `usage.UsageError` that names the option.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.python import usage

from lb.broker.limits import CollectLimits
from lb.broker.source import Source, read_sources
from lb.broker.vouching import Vouching, read_vouching
from lb.model.errors import LBError
from lb.security.policy import Policy, PolicyError, load
from lb.server.admin import options as administration
from lb.server.database import Database, read_database
from lb.server.limits import QueryLimits, ServerLimits
from lb.server.notify.keeper import Site
from lb.server.notify.limits import NotifyDeliveryLimits, NotifyLimits
from lb.server.notify.options import NotifyOptions
from lb.server.notify.siteoption import read_sites
from lb.service.monitoring import WatchLimits
from lb.service.options import Repeated
from lb.state.generic.fold import Families
from lb.state.generic.loading import DescriptionError, load_directory, shipped
from lb.web.api.limits import APILimits


class Options(NotifyOptions):
    """Options of `twistd lb`."""

    synopsis = "[options]"
    longdesc = "The L&B bookkeeping server: collects events, keeps job states, answers queries."
    optParameters: ClassVar[list[list[Any]]] = [
        *NotifyOptions.optParameters,
        [
            "database",
            None,
            None,
            "sqlite:///PATH or postgresql://[USER@]HOST/NAME (default: lb.sqlite, in --state-dir)",
        ],
        ["policy", None, None, "policy file (default: who is authenticated may register and log)"],
        ["families", None, None, "directory of descriptions of job families (default: only those that come with lb)"],
        *administration.PARAMETERS,
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        *NotifyOptions.optFlags,
        ["grey-jobs", None, "accept events of jobs that are not registered yet"],
        *administration.FLAGS,
    ]
    option_defaults: ClassVar[Mapping[str, str]] = {**NotifyOptions.option_defaults, "port": "9000"}
    bounds: ClassVar[tuple[type, ...]] = (
        QueryLimits,
        ServerLimits,
        NotifyLimits,
        NotifyDeliveryLimits,
        *NotifyOptions.bounds,
        APILimits,
        WatchLimits,
        CollectLimits,
        administration.AdministrationLimits,
    )

    repeated: ClassVar[Mapping[str, Repeated]] = {
        **NotifyOptions.repeated,
        **administration.REPEATED,
        "site-notification": Repeated(
            "NAME=HOST:PORT[?query=CONDITIONS][?flags=F+F]: a registration for notifications kept by the server",
            "=",
        ),
        "collect": Repeated(
            "NAME:DESTINATION[,as=logger][,dead=DESTINATION][,durable=NAME]: events are collected there, at broker NAME"
        ),
        "broker-user": Repeated("BROKER:USER=SUBJECT[ FQAN:/GROUP…]: who a user is whom a broker vouches for", "="),
    }

    @property
    def database(self) -> Database:
        """Where jobs and events are stored."""
        try:
            return read_database(self["database"], self.state)
        except ValueError as error:
            raise usage.UsageError(f"--database {error}") from None

    def read_policy(self) -> Policy:
        """The policy of the file, or of a server without one."""
        try:
            return load(Path(self["policy"])) if self["policy"] else Policy.open()
        except PolicyError as error:
            raise usage.UsageError(str(error)) from None

    def read_sites(self, now: int) -> list[Site]:
        """The registrations for notifications that the site wants to have; `now`: seconds since the epoch."""
        try:
            return read_sites(self["site-notification"], now)
        except LBError as error:
            raise usage.UsageError(f"--site-notification {error.description}") from None

    def read_vouching(self) -> Vouching:
        """Who users of brokers are."""
        try:
            return read_vouching(self["broker-user"])
        except LBError as error:
            raise usage.UsageError(f"--broker-user: {error.description}") from None

    def read_sources(self, vouching: Vouching) -> list[Source]:
        """Where events are collected; from whom, it must be possible to know."""
        brokers = self.brokers
        try:
            sources = read_sources(self["collect"], brokers)
        except LBError as error:
            raise usage.UsageError(f"--collect: {error.description}") from None
        for source in sources:
            if not source.as_logger:
                option = f"--collect {source} without as=logger, which believes what events say"
                self.check_senders(option, source.broker, vouching)
        return sources

    def read_families(self) -> Families:
        """The job families that are known, those that come with lb among them."""
        try:
            return load_directory(Path(self["families"])) if self["families"] else shipped()
        except DescriptionError as error:
            raise usage.UsageError(f"--families: {error}") from None
