"""Every bound of what keeps sessions up and messages going, with its default (P10)."""

from __future__ import annotations

from dataclasses import dataclass

from lb.bound import MEBIBYTE, Unit, bound


@dataclass(frozen=True)
class PublisherLimits:
    """Bounds of the messages for one broker; a single message may be greater than a bound when nothing else waits."""

    messages: int = bound(
        "broker-queue-messages", 10_000, Unit.COUNT, "messages for a broker in memory, on their way or waiting"
    )
    octets: int = bound("broker-queue-bytes", 64 * MEBIBYTE, Unit.BYTES, "size of these messages")
    window: int = bound(
        "broker-unconfirmed-messages", 2_000, Unit.COUNT, "messages on their way that a broker has not confirmed"
    )
    window_octets: int = bound("broker-unconfirmed-bytes", 16 * MEBIBYTE, Unit.BYTES, "size of these messages")
    refusal: float = bound(
        "broker-refusal-pause",
        30.0,
        Unit.SECONDS,
        "time for which messages for a destination that a broker refused are refused without asking again",
        least=0,
    )


@dataclass(frozen=True)
class LinkLimits:
    """Pauses between attempts to reach a broker, and between attempts to subscribe there; seconds."""

    first_pause: float = bound(
        "broker-first-pause", 0.2, Unit.SECONDS, "pause after all URLs of a broker failed; it grows", least=0.01
    )
    longest_pause: float = bound("broker-longest-pause", 30.0, Unit.SECONDS, "longest such pause", least=0.01)
    proven: float = bound(
        "broker-proven", 5.0, Unit.SECONDS, "time after which a session that ends is followed by the first pause again"
    )
    subscription_pause: float = bound(
        "broker-subscription-pause",
        5.0,
        Unit.SECONDS,
        "pause before a subscription that a broker refused or ended is tried again",
        least=0.01,
    )


@dataclass(frozen=True)
class CollectLimits:
    """Bounds of collecting from one destination; a single message may be greater than `octets`."""

    prefetch: int = bound(
        "collect-prefetch",
        500,
        Unit.COUNT,
        "messages that a destination may send ahead of their acknowledgement",
        most=65_535,
    )
    octets: int = bound(
        "collect-max-bytes",
        64 * MEBIBYTE,
        Unit.BYTES,
        "size of messages of a destination in memory; beyond it nothing is read from its session",
    )
    events: int = bound("collect-max-events", 10_000, Unit.COUNT, "events in one message")
    first_pause: float = bound(
        "collect-first-pause",
        0.5,
        Unit.SECONDS,
        "pause after messages could not be stored or set aside; it doubles",
        least=0.01,
    )
    longest_pause: float = bound("collect-longest-pause", 30.0, Unit.SECONDS, "longest such pause", least=0.01)
