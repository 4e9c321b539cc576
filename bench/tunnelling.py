"""Rows of tunnelled messages: producer, logger, broker; each counts when a consumer of the broker has it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import perf_counter, time

from bench.consuming import consumer, to_activemq, to_rabbitmq
from bench.frame import LOGGER, Measurement, Row
from bench.load import logged, pipelined
from bench.site import Site
from lb.client.outgoing import new_message
from lb.wire import dglog, tunnel

_MESSAGES = 30_000
_PADDING = "x" * 500
_QUEUE = "/queue/lb.bench"


def tunnelled(site: Site, name: str, stomp_port: int, pid: int, url: str) -> Measurement:
    """Messages of about 500 bytes for one queue, until its consumer has the last one."""
    site.start(LOGGER, "--broker", f"site={url}")
    site.processes[name] = pid

    def messages() -> Iterator[bytes]:
        for _ in range(_MESSAGES):
            body = f"{perf_counter()} {_PADDING}"
            yield dglog.message(tunnel.write(new_message(f"x-msg://site{_QUEUE}", body, now=time(), host="bench")))

    with (
        site.to_logger() as connection,
        consumer(stomp_port, _QUEUE, _MESSAGES, _made) as latencies,
        site.measuring() as measured,
    ):
        deque(pipelined(messages(), logged(connection), connection), maxlen=0)
        measured.latencies += latencies()
    return measured


def _made(body: bytes) -> float:
    return float(body.partition(b" ")[0])


RABBITMQ = Row("tunnelled to RabbitMQ", to_rabbitmq("amqp", tunnelled), (), "5,000")
RABBITMQ_STOMP = Row("tunnelled to RabbitMQ by STOMP", to_rabbitmq("stomp", tunnelled), ())
ACTIVEMQ = Row("tunnelled to ActiveMQ", to_activemq(tunnelled), ())
