"""Rows of events from brokers: published with receipts, collected by the server; each counts when a query shows it.

The broker is started for the row. The publisher speaks STOMP, which both brokers do, whatever the server speaks.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import islice

from bench.consuming import to_activemq, to_rabbitmq
from bench.frame import SERVER, Measurement, Row
from bench.site import Site
from bench.whole_way import until_visible
from lb.wire import stomp

_JOBS = 100
_QUEUE = "/queue/lb.bench"
#: Events in one write, with one receipt; writes without their receipt.
_CHUNK = 100
_WINDOW = 20


def collected(site: Site, name: str, stomp_port: int, pid: int, url: str) -> Measurement:
    """Events of 100 jobs in turn through one queue, of a source that counts as a logger."""
    site.start(SERVER, "--broker", f"site={url}", "--collect", f"site:{_QUEUE},as=logger")
    site.processes[name] = pid
    return until_visible(site, _JOBS, lambda lines: _publish(stomp_port, lines), user=True)


def vouched(site: Site, name: str, stomp_port: int, pid: int, url: str) -> Measurement:
    """The same from a source of a user whom the broker vouches for."""
    user = ("--broker-user", "site:guest=/O=Bench/CN=Guest")
    site.start(SERVER, "--broker", f"site={url}", "--collect", f"site:{_QUEUE}", *user)
    site.processes[name] = pid
    return until_visible(site, _JOBS, lambda lines: _publish(stomp_port, lines), user=False)


def _publish(port: int, lines: Iterator[bytes]) -> None:
    """Publish lines, a message each, with a window of those that are not confirmed."""
    reader = stomp.FrameReader()
    headers = {"destination": _QUEUE, "persistent": "true", "content-type": "application/x-ulm", "user-id": "guest"}
    unconfirmed = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def confirmed() -> int:
            frames = reader.feed(connection.recv(1 << 16))
            if errors := [frame.headers for frame in frames if frame.command == "ERROR"]:
                raise SystemExit(f"bench: the broker says {errors}")
            return len(frames)

        login = {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "guest"}
        connection.sendall(stomp.write(stomp.Frame("CONNECT", login)))
        while not confirmed():
            pass
        while chunk := list(islice(lines, _CHUNK)):
            frames = [
                stomp.Frame("SEND", headers | ({} if number else {"receipt": "r"}), line)
                for number, line in enumerate(reversed(chunk))
            ]
            connection.sendall(b"".join(stomp.write(frame) for frame in reversed(frames)))
            unconfirmed += 1
            while unconfirmed >= _WINDOW:
                unconfirmed -= confirmed()
        while unconfirmed:
            unconfirmed -= confirmed()


RABBITMQ = Row("events from RabbitMQ", to_rabbitmq("amqp", collected), (), "5,000")
VOUCHED = Row("events from RabbitMQ users", to_rabbitmq("amqp", vouched), ())
RABBITMQ_STOMP = Row("events from RabbitMQ by STOMP", to_rabbitmq("stomp", collected), ())
ACTIVEMQ = Row("events from ActiveMQ", to_activemq(collected), ())
