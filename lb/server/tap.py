"""`twistd lb`: composes the bookkeeping server of its parts; decides nothing itself."""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.application.service import MultiService
from twisted.internet.interfaces import IProtocolFactory
from twisted.python import usage

from lb.rpc.plain import OFFSET as PB_OFFSET
from lb.rpc.port import PBFactory
from lb.rpc.realm import Offered
from lb.security.policy import Action
from lb.server.admin import options as administration
from lb.server.admin.facts import AdministrativeFacts
from lb.server.admin.service import AdministrationService
from lb.server.assembly import Assembly
from lb.server.backend import Backend
from lb.server.brokered import Brokered
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
from lb.server.notify.limits import NotifyDeliveryLimits, NotifyLimits
from lb.server.notify.registrar import ServerRegistrar
from lb.server.notify.service import Notifications
from lb.server.notify.socketline import receivers
from lb.server.options import Options
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
from lb.service.watch import Watch
from lb.store.interface import StoreError
from lb.web import wsdl
from lb.web.api.limits import APILimits
from lb.web.api.service import API
from lb.web.jobs import ServerInfo
from lb.web.site import site
from lb.wire import il, recompute

#: Seconds after which a thread gives up the interpreter's lock to one that waits. The writing thread waits for it
#: after each statement: Python's 5 ms would be added to every commit of a busy server. Much less, and threads change
#: turns more than they work.
_SWITCH_INTERVAL: Final = 0.002
#: Objects made before the youngest ones are looked through for garbage. Nothing on the way of an event goes round in
#: references; Python's 700 would cost a tenth of the time an event takes, more beside many registrations.
_GARBAGE: Final = 10_000


def makeService(options: Options) -> MultiService:
    """The server as a service."""
    from twisted.internet import reactor

    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(_GARBAGE)

    def make() -> MultiService:
        service = compose(options, reactor)
        # Code, tables, and the registrations that were there are no garbage: they are not looked through again.
        gc.collect()
        gc.freeze()
        return service

    return options.service("lb", make)


def compose(options: Options, reactor: Any) -> MultiService:
    """The server on a reactor; raises `usage.UsageError` for what cannot be used."""
    credentials = options.credentials(reactor)
    policy = options.read_policy().permitting(options.own_name, Action.READ_ALL, Action.PURGE)
    brokered = Brokered(options, credentials, reactor)
    if any(source.as_logger for source in brokered.sources):
        policy = policy.permitting(options.own_name, *LOGGER_ACTIONS)
    limits, storing = options.limits(QueryLimits), options.limits(ServerLimits)
    delivery = options.limits(NotifyDeliveryLimits)
    provide(3 * limits.connections + delivery.connections)  # on each of its ports, and to receivers
    families = options.read_families()
    try:
        backend = Backend(options.database, options.state / "quarantine", families, reactor)
    except StoreError as error:
        raise usage.UsageError(f"--database: {error}") from None
    writer, writing, reader, reading = backend.writer, backend.writing, backend.reader, backend.reading
    counted = registry()
    metrics = ServerMetrics(counted)
    counting = administration.mode(options, "count-server-stats", 1)
    used = Usage(writer.marks, writing, reactor, lambda: policy, restricted=counting == 2) if counting else None

    def asked(kind: str, seconds: float) -> None:
        metrics.asked(kind, seconds)
        if used is not None:
            used.asked(kind)

    watch = Watch(asked, options.limits(WatchLimits).slow_query)
    no_index = administration.mode(options, "no-index", 0)
    answers = AnswerLimits(storing.answer_jobs, storing.answer_events, no_index, storing.status_bytes)
    questions = Questions(reading, Lookup(reader, lambda: policy, backend.salt, answers))
    outlets = brokered.outlets(counted)
    notifications = Notifications(
        reactor,
        writer,
        writing,
        backend.outbox_reader(),
        lambda: policy,
        questions.jobs,
        receivers(credentials, reactor, delivery.connect),
        random.random,
        backend.set_aside,
        host=socket.gethostname(),
        salt=backend.salt,
        limits=options.limits(NotifyLimits),
        delivery=delivery,
        brokers=outlets,
        renewal=renewal(families),
        sites=options.read_sites(int(reactor.seconds())),
        owner=options.own_name,
        port=options["port"],
    )
    changes = Changes(reader, Assembly(reader, lambda: policy, backend.salt, storing.status_bytes))
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
        backend.another_reader(),
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
    collector = Collector(ingest, writing.call, storing, metrics)
    backend.wait_for(administered.stop)
    backend.wait_for(collector.when_idle)
    collecting = brokered.collecting(collector, backend.set_aside, counted)
    registrar = ServerRegistrar(notifications.subscriptions, f"{socket.gethostname()}:{options['port']}")
    serving = brokered.agents(registrar, writing, counted)
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
            brokers=tuple(str(url) for urls in brokered.brokers.values() for url in urls),
            prefixes=brokered.topics.prefixes if brokered.brokers else (),
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
    service = MultiService()
    counters = [used] if used is not None else []
    for part in (backend, administered, *counters, feed, notifications, *outlets.links, *serving):
        part.setServiceParent(service)

    def listen(factory: IProtocolFactory, offset: int = 0, alpn: Sequence[bytes] = ()) -> TLSPort:
        creator = credentials.server(certificate_required=False, alpn=alpn)
        listening = TLSPort(reactor, host, port + offset if port else 0, factory, creator)
        listening.setServiceParent(service)
        return listening

    main_port = listen(main)
    store_port = listen(events, il.STORE_OFFSET, [il.ALPN])
    offered = Offered(questions, feed, reactor, options.limits(APILimits).streams, watch)
    perspectives = PBFactory(offered, limits)
    pb_port = listen(perspectives, PB_OFFSET)
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
