"""By what an event is known again when it comes twice (P3).

Type, source, host, time, level, user and sequence code, as the C server compares them (model.md §4.8). The attributes
of the type do not count: recorded servers answer the second of two such events with success and keep the first.
"""

from __future__ import annotations

from hashlib import blake2b

from lb.model.event import Event


def digest(event: Event) -> bytes:
    """16 bytes that tell an event from all others of its job, whatever way it came."""
    fields = (
        event.type.name,
        str(event.source),
        event.host,
        str(event.timestamp),
        str(event.level),
        (event.user or "").lower(),
        event.seqcode,
    )
    return blake2b("\0".join(fields).encode("utf-8", "surrogateescape"), digest_size=16).digest()
