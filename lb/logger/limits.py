"""Every bound of the logger's own parts with its default (P10): deliveries, tunnels, answers that wait."""

from __future__ import annotations

from dataclasses import dataclass

from lb.bound import KIBIBYTE, MEBIBYTE, Unit, bound


@dataclass(frozen=True)
class DeliveryLimits:
    """Bounds of the delivery to one destination; sizes in bytes, times in seconds."""

    window_records: int = bound(
        "delivery-window-events", 2_000, Unit.COUNT, "events without a reply towards a server that pipelines"
    )
    window_bytes: int = bound("delivery-window-bytes", 4 * MEBIBYTE, Unit.BYTES, "size of the events without a reply")
    connect: float = bound("connect-timeout", 30.0, Unit.SECONDS, "time to reach a server", least=0.1)
    lookups: int = bound(
        "max-lookups", 100, Unit.COUNT, "names of servers looked up at once; a slow one holds no other until then"
    )
    patience: float = bound(
        "reply-timeout",
        60.0,
        Unit.SECONDS,
        "time without a reply after which a connection is given up, and without work after which it is closed",
        least=0.1,
    )
    slowest: int = bound("reply-rate", 100_000, Unit.RATE, "what a slow line must carry to earn further time")
    reply_bytes: int = bound("max-reply", 64 * KIBIBYTE, Unit.BYTES, "longest reply of a server", least=64)
    first_pause: float = bound("first-pause", 1.0, Unit.SECONDS, "pause after a first failure; it doubles", least=0.01)
    refusals: int = bound(
        "max-refusals",
        5,
        Unit.COUNT,
        "refusals for now of one event after which it goes to quarantine if the server accepts others",
        zero="however many",
    )
    longest_pause: float = bound("longest-pause", 60.0, Unit.SECONDS, "longest pause after failures", least=0.01)


@dataclass(frozen=True)
class DestinationLimits:
    """What producers may take of the spool's places."""

    of_one: int = bound(
        "max-own-destinations",
        100,
        Unit.COUNT,
        "servers with events that one producer may have brought, anonymous ones together",
        zero="as many as the spool has places for",
    )


@dataclass(frozen=True)
class TunnelLimits:
    """Bounds of tunnelled messages; sizes in bytes, times in seconds."""

    destinations: int = bound(
        "tunnel-max-destinations", 200, Unit.COUNT, "destinations at brokers with messages at once"
    )
    window_messages: int = bound(
        "tunnel-window-messages", 1_000, Unit.COUNT, "messages for a destination that its broker has not confirmed"
    )
    window_bytes: int = bound(
        "tunnel-window-bytes", 4 * MEBIBYTE, Unit.BYTES, "size of the messages for a destination that are not confirmed"
    )
    broker_messages: int = bound(
        "broker-window-messages", 4_000, Unit.COUNT, "messages for a broker that it has not confirmed"
    )
    broker_bytes: int = bound(
        "broker-window-bytes", 32 * MEBIBYTE, Unit.BYTES, "size of the messages for a broker that are not confirmed"
    )
    patience: float = bound(
        "tunnel-patience",
        600.0,
        Unit.SECONDS,
        "time for which messages wait when the broker refuses their destination; then they go to quarantine",
        zero="they go at once",
    )
    first_pause: float = bound(
        "tunnel-first-pause", 1.0, Unit.SECONDS, "pause after a destination was refused; it doubles", least=0.01
    )
    longest_pause: float = bound("tunnel-longest-pause", 60.0, Unit.SECONDS, "longest pause after refusals", least=0.01)


@dataclass(frozen=True)
class AnswerLimits:
    """How long producers wait for answers that depend on a server, in seconds, and how many may."""

    confirmation: float = bound(
        "confirm-timeout", 120.0, Unit.SECONDS, "time that a producer of a priority event waits for the server's word"
    )
    flush: float = bound("flush-timeout", 120.0, Unit.SECONDS, "time for a flush that does not say how long")
    longest_flush: float = bound("max-flush-timeout", 600.0, Unit.SECONDS, "longest time for a flush")
    waiting: int = bound(
        "max-waiting-answers",
        20_000,
        Unit.COUNT,
        "priority events, and destinations of flushes, that wait at once; beyond it the answer is that they are stored",
    )
