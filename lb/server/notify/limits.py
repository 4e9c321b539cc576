"""Every bound of notifications with its default (P10)."""

from __future__ import annotations

from dataclasses import dataclass

from lb.bound import KIBIBYTE, MEBIBYTE, Unit, bound


@dataclass(frozen=True)
class NotifyLimits:
    """Bounds of registrations and of what waits for them; sizes in bytes, times in seconds."""

    validity: int = bound("notif-validity", 7_200, Unit.COUNT, "seconds that a registration lasts when it does not say")
    longest_validity: int = bound("notif-max-validity", 86_400, Unit.COUNT, "seconds that one may last at most")
    registrations: int = bound("notif-max-registrations", 100_000, Unit.COUNT, "registrations of everybody")
    own_registrations: int = bound("notif-max-own-registrations", 20_000, Unit.COUNT, "registrations of one owner")
    waiting: int = bound(
        "notif-max-waiting",
        100_000,
        Unit.COUNT,
        "notifications that wait for a registration; beyond it only the latest state of each job is kept for it",
    )
    waiting_bytes: int = bound("notif-max-waiting-bytes", 256 * MEBIBYTE, Unit.BYTES, "the same by size")


@dataclass(frozen=True)
class NotifyDeliveryLimits:
    """Bounds of the delivery to receivers; sizes in bytes, times in seconds."""

    connections: int = bound(
        "notif-max-connections",
        4_000,
        Unit.COUNT,
        "connections to receivers at once, half of them at most for one owner; beyond it receivers take turns",
    )
    flight_bytes: int = bound(
        "notif-max-unanswered",
        64 * MEBIBYTE,
        Unit.BYTES,
        "notifications without a reply, over all receivers, beside an equal share of each",
    )
    window_records: int = bound(
        "notif-window", 64, Unit.COUNT, "notifications without a reply towards a receiver that pipelines"
    )
    window_bytes: int = bound("notif-window-bytes", 128 * KIBIBYTE, Unit.BYTES, "the same by size")
    connect: float = bound("notif-connect-timeout", 30.0, Unit.SECONDS, "time to reach a receiver", least=0.1)
    patience: float = bound(
        "notif-reply-timeout",
        60.0,
        Unit.SECONDS,
        "time without a reply after which a receiver is left, and without work after which its connection is closed",
        least=0.1,
    )
    slowest: int = bound("notif-reply-rate", 100_000, Unit.RATE, "what a slow line must carry to earn further time")
    reply_bytes: int = bound("notif-max-reply", 64 * KIBIBYTE, Unit.BYTES, "longest reply of a receiver", least=64)
    first_pause: float = bound(
        "notif-first-pause", 1.0, Unit.SECONDS, "pause after a first failure; it doubles", least=0.01
    )
    refusals: int = bound(
        "notif-max-refusals",
        5,
        Unit.COUNT,
        "refusals for now of one notification after which it is given up if the receiver accepts others",
        zero="however many",
    )
    longest_pause: float = bound("notif-longest-pause", 60.0, Unit.SECONDS, "longest pause after failures", least=0.01)
    receipt_delay: float = bound(
        "notif-receipt-delay",
        0.05,
        Unit.SECONDS,
        "time in which receipts are collected before they are stored",
        least=0.001,
    )
