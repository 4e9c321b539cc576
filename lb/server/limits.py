"""Every bound of the server's own parts with its default (P10); those of its ports are in `lb.service.bounds`."""

from __future__ import annotations

from dataclasses import dataclass

from lb.bound import MEBIBYTE, Unit, bound
from lb.service.bounds import Limits


@dataclass(frozen=True)
class QueryLimits(Limits):
    """Bounds of the main port."""

    window_requests: int = bound(
        "window-requests", 64, Unit.COUNT, "requests of a connection that wait for their answer"
    )
    request_bytes: int = bound(
        "max-request", 8 * MEBIBYTE, Unit.BYTES, "longest body of a query", least=1_024, most=8 * MEBIBYTE
    )


@dataclass(frozen=True)
class ServerLimits:
    """Bounds of storing and of answers; sizes in bytes unless said."""

    subjobs: int = bound("max-subjobs", 100_000, Unit.COUNT, "subjobs that one registration may make", least=0)
    batch_events: int = bound("batch-events", 2_000, Unit.COUNT, "events of one transaction")
    batch_bytes: int = bound("batch-bytes", 8 * MEBIBYTE, Unit.BYTES, "size of the events of one transaction")
    waiting_bytes: int = bound(
        "max-waiting", 64 * MEBIBYTE, Unit.BYTES, "events that wait to be stored; beyond it connections pause"
    )
    cached_jobs: int = bound("cache-jobs", 8_000, Unit.COUNT, "jobs kept in memory, some 4 kB each")
    cached_text: int = bound(
        "cache-text", 16 * MEBIBYTE, Unit.BYTES, "characters of long texts kept in memory with them"
    )
    answer_jobs: int = bound("max-answer-jobs", 0, Unit.COUNT, "jobs in one answer", zero="as many as there are")
    status_bytes: int = bound(
        "max-status",
        256 * MEBIBYTE,
        Unit.BYTES,
        "history and states of subjobs of one job, in memory while they are answered",
        zero="as much as there is",
    )
    answer_events: int = bound("max-answer-events", 0, Unit.COUNT, "events in one answer", zero="as many as there are")
