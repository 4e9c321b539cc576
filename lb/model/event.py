"""An event: what one component saw of one job, with the attributes of its type.

Values are held as model.md §3 types them: text as `str`, times as integer microseconds since
the epoch (UTC), coded values and sources as their numbers, ids as canonical text.
"""

from __future__ import annotations

from collections.abc import Mapping

from lb.model.catalogue import LEVEL_SYSTEM, SOURCE_NAMES, EventType, Kind
from lb.model.jobid import JobId

Value = str | int | float | tuple[tuple[str, str], ...]


class Event:
    """One event. `attributes` holds only what is not null, by attribute name."""

    __slots__ = (
        "arrived",
        "attributes",
        "host",
        "jobid",
        "level",
        "priority",
        "seqcode",
        "source",
        "src_instance",
        "timestamp",
        "type",
        "user",
    )

    def __init__(
        self,
        type: EventType,
        jobid: JobId,
        *,
        timestamp: int,
        host: str,
        source: int,
        seqcode: str,
        user: str | None,
        attributes: Mapping[str, Value] | None = None,
        src_instance: str | None = "",
        level: int = LEVEL_SYSTEM,
        priority: int = 0,
        arrived: int | None = None,
    ) -> None:
        self.type = type
        self.jobid = jobid
        self.timestamp = timestamp
        self.host = host
        self.source = source
        self.seqcode = seqcode
        self.user = user
        self.attributes: dict[str, Value] = dict(attributes) if attributes else {}
        self.src_instance = src_instance
        self.level = level
        self.priority = priority
        self.arrived = arrived

    def text(self, name: str) -> str | None:
        """A string or id attribute, None when it was not given."""
        value = self.attributes.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int:
        """A coded, int, port or source attribute; its null value when it was not given."""
        value = self.attributes.get(name)
        if isinstance(value, int):
            return value
        null = self.type.by_name[name].null
        return int(null) if null is not None else 0

    def code_name(self, name: str) -> str:
        """The name of a coded attribute's value, e.g. ``OK``; ``UNDEFINED`` when it was not given."""
        attribute = self.type.by_name[name]
        value = self.number(name)
        if attribute.kind is Kind.LOGSRC:
            return SOURCE_NAMES.get(value, "Undefined")
        return attribute.names.get(value, "UNDEFINED")

    @property
    def source_name(self) -> str:
        return SOURCE_NAMES.get(self.source, "Undefined")

    def __repr__(self) -> str:
        return f"<Event {self.type.name} of {self.jobid} from {self.source_name} at {self.timestamp}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Event.__slots__)

    __hash__ = None  # type: ignore[assignment]  # events are mutable records
