"""Bounds of the JSON API with their defaults (P10)."""

from __future__ import annotations

from dataclasses import dataclass

from lb.bound import MEBIBYTE, Unit, bound


@dataclass(frozen=True)
class APILimits:
    """Bounds of requests to the API and of its answers; sizes in bytes, times in seconds."""

    page_jobs: int = bound("api-max-jobs", 1_000, Unit.COUNT, "jobs in one part of an answer of the JSON API")
    post_bytes: int = bound("api-max-post", 4 * MEBIBYTE, Unit.BYTES, "longest body of a POST", least=1_024)
    post_events: int = bound("api-max-events", 1_000, Unit.COUNT, "events in one POST")
    posts_bytes: int = bound(
        "api-max-posts", 64 * MEBIBYTE, Unit.BYTES, "bodies of POSTs that are read or answered, over all connections"
    )
    streams: int = bound("api-max-streams", 500, Unit.COUNT, "streams of changes that are open at once")
    post_time: float = bound("api-post-timeout", 120.0, Unit.SECONDS, "time for the body of a POST", least=0.1)
