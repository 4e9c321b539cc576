"""`twistd lb`: composes the bookkeeping server of its parts; decides nothing itself."""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.python import usage

from lb.broker.agent_requests import AgentLimits
from lb.broker.dial import SessionOpener
from lb.broker.limits import CollectLimits, LinkLimits, PublisherLimits
from lb.broker.notifications import TopicLimits
from lb.broker.source import Source, read_sources
from lb.broker.vouching import Vouching, read_vouching
from lb.model.errors import LBError
from lb.rpc.plain import OFFSET as PB_OFFSET
from lb.rpc.port import PBFactory
from lb.rpc.realm import Offered
from lb.security.policy import Action, Policy, PolicyError, load
from lb.server.admin import options as administration
from lb.server.admin.facts import AdministrativeFacts
from lb.server.admin.service import AdministrationService
from lb.server.assembly import Assembly
from lb.server.brokersources import BrokerSources
from lb.server.changes import Changes
from lb.server.collecting import LOGGER_ACTIONS
from lb.server.collector import Collector
from lb.server.feed import Feed
from lb.server.ingest import Ingest
from lb.server.jobcache import JobCache
from lb.server.limits import QueryLimits, ServerLimits
from lb.server.lookup import Limits as AnswerLimits
from lb.server.lookup import Lookup
from lb.server.maintenance import Maintenance
from lb.server.metrics import ServerMetrics
from lb.server.notify import requestport
from lb.server.notify.agents import agents
from lb.server.notify.brokers import Brokers
from lb.server.notify.keeper import Site
from lb.server.notify.limits import NotifyDeliveryLimits, NotifyLimits
from lb.server.notify.options import NotifyOptions
from lb.server.notify.registrar import ServerRegistrar
from lb.server.notify.service import Notifications
from lb.server.notify.siteoption import read_sites
from lb.server.notify.socketline import receivers
from lb.server.quarantine import Quarantine
from lb.server.query import Questions
from lb.server.queryconnection import QueryFactory
from lb.server.queryport import Answering, QueryPort
from lb.server.recomputation import Recomputation
from lb.server.renewal import renewal
from lb.server.storeport import StorePort
from lb.server.tally import Tallies
from lb.server.usage import CountedRequests, Usage
from lb.service.descriptors import provide
from lb.service.exchange import ExchangeFactory
from lb.service.listening import Readiness, TLSPort
from lb.service.metrics import figures, registry
from lb.service.monitoring import Monitoring, WatchLimits, check_certificate
from lb.service.options import Repeated
from lb.service.watch import Watch
from lb.service.worker import Worker
from lb.spool.filesystem import OSFileSystem
from lb.state.generic.fold import Families
from lb.state.generic.loading import DescriptionError, load_directory, shipped
from lb.store.interface import StoreError
from lb.store.sqlite import SQLiteStore
from lb.web import wsdl
from lb.web.api.limits import APILimits
from lb.web.api.service import API
from lb.web.jobs import ServerInfo
from lb.web.site import site
from lb.wire import il, recompute

#: The store port is this much above the main port (spec: wire-logging.md §1.1).
STORE_OFFSET: Final = 1

#: Seconds after which a thread gives up the interpreter's lock to one that waits. The writing thread waits for it
#: after each statement: Python's 5 ms would be added to every commit of a busy server. Much less, and threads change
#: turns more than they work.
_SWITCH_INTERVAL: Final = 0.002
#: Objects made before the youngest ones are looked through for garbage. Nothing on the way of an event goes round in
#: references; Python's 700 would cost a tenth of the time an event takes, more beside many registrations.
_GARBAGE: Final = 10_000


class Options(NotifyOptions):
    """Options of `twistd lb`."""

    synopsis = "[options]"
    longdesc = "The L&B bookkeeping server: collects events, keeps job states, answers queries."
    optParameters: ClassVar[list[list[Any]]] = [
        *NotifyOptions.optParameters,
        ["database", None, None, "sqlite:///PATH (default: lb.sqlite in the state directory)"],
        ["policy", None, None, "policy file (default: who is authenticated may register and log)"],
        ["families", None, None, "directory of descriptions of job families (default: only those that come with lb)"],
        *administration.PARAMETERS,
    ]
    optFlags: ClassVar[list[list[Any]]] = [
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
    def database(self) -> Path:
        """The file of the SQLite database."""
        url = self["database"]
        if url is None:
            return self.state / "lb.sqlite"
        parts = urlsplit(url)
        if parts.scheme != "sqlite" or parts.netloc or len(parts.path) < 2:
            raise usage.UsageError(f"--database {url}: give sqlite:///PATH, with four slashes for an absolute path")
        return Path(parts.path[1:])

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
            if not source.as_logger and not vouching.knows_some(source.broker):
                raise usage.UsageError(
                    f"--collect {source}: no user of broker {source.broker} is known; "
                    f"give --broker-user {source.broker}:USER=SUBJECT, or as=logger to believe what events say"
                )
        return sources

    def read_families(self) -> Families:
        """The job families that are known, those that come with lb among them."""
        try:
            return load_directory(Path(self["families"])) if self["families"] else shipped()
        except DescriptionError as error:
            raise usage.UsageError(f"--families: {error}") from None


class Backend(Service):
    """The store and the two threads that use it; closed when everything that came in is written."""

    def __init__(
        self,
        store: SQLiteStore,
        writing: Worker,
        reading: Worker,
        collector: Collector,
        administered: AdministrationService,
    ) -> None:
        self._store = store
        self._writing = writing
        self._reading = reading
        self._collector = collector
        self._administered = administered

    @inlineCallbacks
    def stopService(self) -> Any:
        super().stopService()
        yield self._administered.stop()
        yield self._collector.when_idle()
        self._reading.stop()
        self._writing.stop()
        self._store.close()


def makeService(options: Options) -> MultiService:
    """The server as a service."""
    from twisted.internet import reactor

    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(_GARBAGE)
    service = compose(options, reactor)
    # Code, tables, and the registrations that were there are no garbage: they are not looked through again.
    gc.collect()
    gc.freeze()
    return service


def compose(options: Options, reactor: Any) -> MultiService:
    """The server on a reactor; raises `usage.UsageError` for what cannot be used."""
    credentials = options.credentials(reactor)
    policy = options.read_policy().permitting(options.own_name, Action.READ_ALL, Action.PURGE)
    brokers, vouching = options.brokers, options.read_vouching()
    sources = options.read_sources(vouching)
    if any(source.as_logger for source in sources):
        policy = policy.permitting(options.own_name, *LOGGER_ACTIONS)
    limits, storing = options.limits(QueryLimits), options.limits(ServerLimits)
    delivery = options.limits(NotifyDeliveryLimits)
    provide(3 * limits.connections + delivery.connections)  # on each of its ports, and to receivers
    families = options.read_families()
    try:
        store = SQLiteStore(options.database)
        writer, reader = store.writer(), store.reader(renewal(families))
    except StoreError as error:
        raise usage.UsageError(f"--database: {error}") from None
    writing, reading = Worker(reactor, "lb-writer"), Worker(reactor, "lb-reader")
    quarantine = Quarantine(str(options.state / "quarantine"), OSFileSystem(), reactor.seconds)

    def set_aside(body: bytes, reason: str) -> Deferred[None]:
        return writing.call(quarantine.append, body, reason)

    counted = registry()
    metrics = ServerMetrics(counted)
    counting = administration.mode(options, "count-server-stats", 1)
    used = Usage(writer.marks, writing, reactor, lambda: policy, restricted=counting == 2) if counting else None

    def asked(kind: str, seconds: float) -> None:
        metrics.asked(kind, seconds)
        if used is not None:
            used.asked(kind)

    watch = Watch(asked, options.limits(WatchLimits).slow_query)
    answers = AnswerLimits(storing.answer_jobs, storing.answer_events, administration.mode(options, "no-index", 0))
    questions = Questions(reading, Lookup(reader, lambda: policy, store.salt, answers))
    topics = options.topics
    outlets = Brokers(
        options.brokers,
        topics,
        SessionOpener(reactor, credentials),
        reactor,
        limits=options.limits(TopicLimits),
        publishing=options.limits(PublisherLimits),
        linking=options.limits(LinkLimits),
    )
    notifications = Notifications(
        reactor,
        writer,
        writing,
        store.outbox_reader(),
        lambda: policy,
        questions.jobs,
        receivers(credentials, reactor, delivery.connect),
        random.random,
        set_aside,
        host=socket.gethostname(),
        salt=store.salt,
        limits=options.limits(NotifyLimits),
        delivery=delivery,
        brokers=outlets,
        renewal=renewal(families),
        sites=options.read_sites(int(reactor.seconds())),
        owner=options.own_name,
        port=options["port"],
    )
    changes = Changes(reader, Assembly(reader, lambda: policy, store.salt))
    feed = Feed(reading, changes, lambda: writer.last_change, reactor, reactor.callFromThread)
    cache = JobCache(storing.cached_jobs, storing.cached_text)
    statistics = administration.mode(options, "count-statistics", 1)
    ingest = Ingest(
        writer,
        lambda: policy,
        reactor.seconds,
        grey_jobs=bool(options["grey-jobs"]),
        max_subjobs=storing.subjobs,
        cache=cache,
        host=socket.gethostname(),
        user=options.own_name,
        families=families,
        announce=notifications.announcement,
        tally=metrics if used is None else Tallies(metrics, used),
        stored=feed.stored,
        reuse_purged=bool(options["reuse-purged"]),
        statistics=bool(statistics),
    )
    administering = options.limits(administration.AdministrationLimits)
    administered = AdministrationService(
        writer,
        writing,
        store.reader(renewal(families)),
        cache,
        lambda: policy,
        reactor,
        administration.places(options),
        families=families,
        max_subjobs=storing.subjobs,
        own_name=options.own_name,
        announce=notifications.announcement,
        ages=administration.ages(options),
        interval=administering.retention_interval,
        statistics=statistics,
    )
    outlets.watch(counted)
    collector = Collector(ingest, writing.call, storing, metrics)
    collecting = BrokerSources(
        sources,
        brokers,
        vouching,
        SessionOpener(reactor, credentials),
        collector,
        set_aside,
        reactor,
        options.own_name,
        limits=options.limits(CollectLimits),
        link_limits=options.limits(LinkLimits),
        publisher_limits=options.limits(PublisherLimits),
    )
    collecting.watch(counted)
    serving = agents(
        options.read_controls(vouching),
        brokers,
        SessionOpener(reactor, credentials),
        vouching,
        ServerRegistrar(notifications.subscriptions, f"{socket.gethostname()}:{options['port']}"),
        topics,
        options.state,
        writing,
        reactor,
        limits=options.limits(AgentLimits),
        linking=options.limits(LinkLimits),
        registry=counted,
    )
    api = API(
        questions,
        collector,
        feed,
        reactor,
        options.limits(APILimits),
        figures=lambda: figures(counted),
        registrations=notifications.subscriptions,
    )
    pages = site(
        questions,
        reactor,
        server_info=ServerInfo(
            identity=options.own_name,
            brokers=tuple(str(url) for urls in options.brokers.values() for url in urls),
            prefixes=topics.prefixes if options.brokers else (),
        ),
        api=api,
        watch=watch,
        registrations=notifications.subscriptions,
        administration=AdministrativeFacts(
            lambda: policy,
            Path(options["policy"]) if options["policy"] else None,
            options.database,
            administration.places(options),
            writer.marks,
            writing,
        ),
        usage=used,
        wsdl=wsdl.prefixes(os.environ),
    )
    registering: requestport.Performing = notifications.subscriptions
    if used is not None:
        registering = CountedRequests(notifications.subscriptions, used)
        used.watch("notifs_legacy", lambda: notifications.sent - outlets.sent)
        used.watch("notis_msg", lambda: outlets.sent)
    maintenance = Maintenance(writing, Recomputation(writer, ingest), lambda: policy, options.own_name)
    others: dict[str, Answering] = {
        recompute.PATH: lambda request, peer, address: maintenance.recompute(request, peer),
        requestport.PATH: requestport.RequestPort(registering).answer,
        **administered.answers,
    }
    main = QueryFactory(QueryPort(questions, others, administering.answer_bytes), pages, reactor, limits, watch)
    events = ExchangeFactory(
        partial(StorePort, collector, limits),
        reactor,
        limits,
        congested=lambda: collector.congested,
        when_ready=collector.when_ready,
    )
    host, port = options["host"], options["port"]
    service = options.service()
    Backend(store, writing, reading, collector, administered).setServiceParent(service)
    administered.setServiceParent(service)
    if used is not None:
        used.setServiceParent(service)
    feed.setServiceParent(service)
    notifications.setServiceParent(service)
    for part in (*outlets.links, *serving):
        part.setServiceParent(service)
    main_port = TLSPort(reactor, host, port, main, credentials.server(certificate_required=False))
    main_port.setServiceParent(service)
    store_port = TLSPort(
        reactor,
        host,
        port + STORE_OFFSET if port else 0,
        events,
        credentials.server(certificate_required=False, alpn=[il.ALPN]),
    )
    store_port.setServiceParent(service)
    offered = Offered(questions, feed, reactor, options.limits(APILimits).streams, watch)
    perspectives = PBFactory(offered, limits)
    pb_port = TLSPort(
        reactor, host, port + PB_OFFSET if port else 0, perspectives, credentials.server(certificate_required=False)
    )
    pb_port.setServiceParent(service)
    notifications.watch(counted)
    metrics.watch(
        collector,
        {"writing": writing, "reading": reading},
        {"main": main, "store": events, "perspective broker": perspectives},
        lambda: credentials.expires,
    )
    collecting.setServiceParent(service)
    monitoring = None
    if options["metrics-port"] is not None:
        alive = {"writing": lambda: writing.call(lambda: None), "reading": lambda: reading.call(lambda: None)}
        certificate = check_certificate(lambda: credentials.expires, reactor.seconds)
        ready = {"store": metrics.check_store, "certificate": certificate}
        monitoring = Monitoring(reactor, options["metrics-port"], counted, alive, ready)
        monitoring.setServiceParent(service)
    Readiness(
        lambda: (
            f"lb ready: https://{host}:{main_port.bound}/ events {host}:{store_port.bound}"
            f" perspective broker {host}:{pb_port.bound} state {options.state}"
            + (f" metrics http://127.0.0.1:{monitoring.bound}/" if monitoring is not None else "")
        )
    ).setServiceParent(service)
    return service
