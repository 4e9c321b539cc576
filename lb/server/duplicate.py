"""By what an event is known again when it comes twice (P3).

The C server compares type, source, host, time, level, user and sequence code; here the event-specific
attributes count too, so that two different events of one microsecond are both kept (model.md §4.8, pitfall 21).
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
        *(f"{name}={value}" for name, value in sorted(event.attributes.items())),
    )
    return blake2b("\0".join(fields).encode("utf-8", "surrogateescape"), digest_size=16).digest()
