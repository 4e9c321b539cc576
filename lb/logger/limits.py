"""Every bound of the logger's own parts with its default (P10): deliveries, and answers that wait for something."""

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
class AnswerLimits:
    """How long producers wait for answers that depend on a server, in seconds."""

    confirmation: float = bound(
        "confirm-timeout", 120.0, Unit.SECONDS, "time that a producer of a priority event waits for the server's word"
    )
    flush: float = bound("flush-timeout", 120.0, Unit.SECONDS, "time for a flush that does not say how long")
    longest_flush: float = bound("max-flush-timeout", 600.0, Unit.SECONDS, "longest time for a flush")
