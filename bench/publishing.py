"""Rows of notifications to brokers: store port, outbox, broker; each counts when a consumer of the broker has it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from time import perf_counter

from bench.consuming import consumer, to_activemq, to_rabbitmq
from bench.frame import SERVER, Measurement, Row
from bench.load import ask, pipelined
from bench.site import Site, check
from lb.model import notifid
from lb.model.query import Attribute, Condition, Operator
from lb.wire import http, il
from lb.wire.lbxml.registrations import Function, Request, write_request
from tests.processes.daemon import replies

_EVENTS = 20_000
_JOBS = 100
_TOPIC = "grid.emi.bench"
_PADDING = "x" * 300
#: When an event was made, in the body of its notification.
_MADE = re.compile(rb'"statusReason" : "([\d.]+) ')


def published(site: Site, name: str, stomp_port: int, pid: int, url: str) -> Measurement:
    """Events of 100 jobs in turn, each told to one topic, until its consumer has the last one."""
    site.start(SERVER, "--broker", f"site={url}")
    site.processes[name] = pid
    jobs = site.jobs(_JOBS)
    with site.to_queries() as queries:
        group = (Condition(Attribute.OWNER, Operator.EQUAL, site.user),)
        asked = Request(Function.NEW, notifid.create(f"localhost:{site.port}"), f"x-msg://{_TOPIC}", (group,))
        ask(queries, http.request("POST", "/notifRequest", write_request(asked)))

    def events() -> Iterator[bytes]:
        for number in range(_EVENTS):
            reason = f'DG.PENDING.REASON="{perf_counter()} {_PADDING}" '
            yield il.frame(site.line(jobs[number % _JOBS], number // _JOBS + 1, "Pending", reason))

    with (
        site.to_store() as connection,
        consumer(stomp_port, f"/topic/{_TOPIC}", _EVENTS, _made) as latencies,
        site.measuring() as measured,
    ):
        deque(pipelined(events(), map(check, replies(connection)), connection), maxlen=0)
        measured.latencies += latencies()
    return measured


def _made(body: bytes) -> float | None:
    found = _MADE.search(body)
    return float(found[1]) if found else None


RABBITMQ = Row("notifications to RabbitMQ", to_rabbitmq("amqp", published), (), "5,000")
RABBITMQ_STOMP = Row("notifications to RabbitMQ by STOMP", to_rabbitmq("stomp", published), ())
ACTIVEMQ = Row("notifications to ActiveMQ", to_activemq(published), ())
