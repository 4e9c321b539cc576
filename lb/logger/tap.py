"""`twistd lb-logger`: composes the logger of its parts; decides nothing itself."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.application.service import MultiService
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python import usage

from lb.broker.dial import SessionOpener
from lb.broker.options import BrokerOptions
from lb.logger.admission import Admission, TunnelPolicy, read_policy
from lb.logger.brokers import Brokers
from lb.logger.confirmations import Confirmations
from lb.logger.destinations import Destinations, read_patterns
from lb.logger.forwarder import Forwarder
from lb.logger.intake import Intake
from lb.logger.limits import AnswerLimits, DeliveryLimits, DestinationLimits, TunnelLimits
from lb.logger.metrics import LoggerMetrics, check_spool
from lb.logger.receiver import ProducerPort
from lb.model.errors import LBError
from lb.model.jobid import split_server
from lb.security.policy import PolicyError
from lb.security.tls import EndpointCredentials
from lb.service.bounds import Limits
from lb.service.descriptors import provide
from lb.service.exchange import ExchangeFactory
from lb.service.listening import Readiness, TLSPort
from lb.service.metrics import registry
from lb.service.monitoring import Monitoring, check_certificate
from lb.service.options import Repeated
from lb.spool.errors import SpoolError
from lb.spool.limits import Limits as SpoolLimits
from lb.spool.spool import Spool
from lb.wire import dglog, il

#: Seconds after which a thread gives up the interpreter's lock to one that waits, the spool's writer above all.
_SWITCH_INTERVAL: Final = 0.0005


class Options(BrokerOptions):
    """Options of `twistd lb-logger`."""

    synopsis = "[options]"
    longdesc = "The L&B logger: takes events from producers, stores them safely, forwards them to their servers."
    optParameters: ClassVar[list[list[Any]]] = [
        *BrokerOptions.optParameters,
        ["forward", None, None, "HOST:PORT of the server that gets all events (default: that of the job id)"],
        ["tunnel-policy", None, None, "file that says who may send messages to which destinations at brokers"],
    ]
    option_defaults: ClassVar[Mapping[str, str]] = {**BrokerOptions.option_defaults, "port": "9002"}
    bounds: ClassVar[tuple[type, ...]] = (
        Limits,
        DeliveryLimits,
        DestinationLimits,
        TunnelLimits,
        AnswerLimits,
        SpoolLimits,
    )
    repeated: ClassVar[Mapping[str, Repeated]] = {
        **BrokerOptions.repeated,
        "destination": Repeated("HOST[:PORT], with * and ?: a server whose events are taken (default: any)"),
    }

    @property
    def forward(self) -> str | None:
        """The server that gets all events, with its port; None for that of each job id."""
        named = self["forward"]
        if not named:
            return None
        try:
            host, port = split_server(named)
        except LBError as error:
            raise usage.UsageError(f"--forward: {error.description}") from None
        return f"{host}:{port}"

    @property
    def destinations(self) -> list[str]:
        """Patterns of servers whose events are taken; none: of all."""
        try:
            return read_patterns(self["destination"])
        except LBError as error:
            raise usage.UsageError(f"--destination: {error.description}") from None

    @property
    def tunnel_policy(self) -> TunnelPolicy:
        """Who may send messages where: with neither file nor rule, whoever has a certificate, to any broker above."""
        try:
            return read_policy(Path(self["tunnel-policy"])) if self["tunnel-policy"] else TunnelPolicy()
        except PolicyError as error:
            raise usage.UsageError(f"--tunnel-policy: {error}") from None


def makeService(options: Options) -> MultiService:
    """The logger as a service."""
    from twisted.internet import reactor

    sys.setswitchinterval(_SWITCH_INTERVAL)
    return options.service("lb-logger", lambda: compose(options, reactor))


def compose(options: Options, reactor: Any) -> MultiService:
    """The logger on a reactor; raises `usage.UsageError` for what cannot be used."""
    forward, brokers, policy = options.forward, options.brokers, options.tunnel_policy
    destinations = options.destinations
    credentials = options.credentials(reactor)
    limits, answering = options.limits(Limits), options.limits(AnswerLimits)
    delivering, tunnelling = options.limits(DeliveryLimits), options.limits(TunnelLimits)
    directory = str(options.state / "spool")
    storing = options.limits(SpoolLimits)
    provide(limits.connections + storing.destinations + storing.open_files)
    spool = Spool.threaded(directory, reactor, reactor.callFromThread, storing)
    try:
        spool.open()
    except (OSError, SpoolError) as error:
        raise usage.UsageError(f"spool {directory}: {error}") from None
    # Its threads look up names, which takes seconds where a name server is away: not at the cost of the others.
    reactor.suggestThreadPoolSize(delivering.lookups)
    confirmations = Confirmations(reactor, answering)
    reach = servers(credentials, reactor, delivering.connect)
    tunnels = Brokers(brokers, SessionOpener(reactor, credentials), reactor, confirmations, tunnelling)
    forwarder = Forwarder(spool, reach, confirmations, reactor, random.random, delivering, tunnels.tunnel)
    counted = registry()
    metrics = LoggerMetrics(counted)
    intake = Intake(
        spool,
        confirmations,
        reactor,
        receipt=os.getpid() * 1000,
        forward=forward,
        hasten=forwarder.hasten,
        admission=Admission(brokers, policy, tunnelling, lambda: forwarder.addresses),
        destinations=Destinations(destinations, options.limits(DestinationLimits), spool.__contains__),
        limits=answering,
        answered=metrics.answered,
    )

    def when_ready(resume: Callable[[], None]) -> None:
        spool.when_ready().addCallbacks(lambda _: resume(), lambda _: None)

    producers = ExchangeFactory(
        partial(ProducerPort, intake, limits),
        reactor,
        limits,
        congested=lambda: spool.congested,
        when_ready=when_ready,
    )
    host = options["host"]
    service = MultiService()
    for link in tunnels.links:
        link.setServiceParent(service)
    forwarder.setServiceParent(service)
    port = TLSPort(
        reactor, host, options["port"], producers, credentials.server(certificate_required=False, alpn=[dglog.ALPN])
    )
    port.setServiceParent(service)
    metrics.watch(spool, lambda: forwarder.failures, producers, reactor.seconds, lambda: credentials.expires)
    monitoring = None
    if options["metrics-port"] is not None:
        certificate = check_certificate(lambda: credentials.expires, reactor.seconds)
        ready = {"journals": check_spool(spool), "certificate": certificate}
        monitoring = Monitoring(
            reactor, options["metrics-port"], counted, {"disk": lambda: spool.run(lambda: None)}, ready
        )
        monitoring.setServiceParent(service)
    Readiness(
        lambda: (
            f"lb-logger ready: producers {host}:{port.bound}, spool {directory}"
            + (f" metrics http://127.0.0.1:{monitoring.bound}/" if monitoring is not None else "")
        )
    ).setServiceParent(service)
    return service


def servers(credentials: EndpointCredentials, reactor: Any, timeout: float) -> Callable[[str], IStreamClientEndpoint]:
    """How the store port of a destination (HOST:PORT of its main port) is reached; `timeout`: seconds to do so."""

    def endpoint(destination: str) -> IStreamClientEndpoint:
        host, port = split_server(destination)
        host = host.strip("[]")
        creator = credentials.client(host, alpn=[il.ALPN])
        reached: IStreamClientEndpoint = wrapClientTLS(
            creator, HostnameEndpoint(reactor, host, port + il.STORE_OFFSET, timeout=timeout)
        )
        return reached

    return endpoint
