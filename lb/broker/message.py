"""Messages as all drivers know them: those that go out, and those that come in with what the broker says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lb.broker.destination import Destination

BINARY: Final = "application/octet-stream"
_TEXT_TYPES: Final = ("text/", "application/json", "application/cloudevents+json")
#: Header that carries the stable id where a broker gives messages an id of its own.
ID_HEADER: Final = "lb-message-id"


@dataclass(slots=True)
class Message:
    """A message to publish. `id` stays the same however often it is sent: receivers know duplicates by it."""

    destination: Destination
    body: bytes
    id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = BINARY
    correlation_id: str | None = None
    reply_to: str | None = None
    persistent: bool = True
    expires: int | None = None  #: microseconds UTC after which nobody wants it
    priority: int | None = None  #: 0…9, for brokers and queues that look at it

    @property
    def is_text(self) -> bool:
        """Whether brokers that tell text from bytes are told that it is text."""
        return self.content_type.startswith(_TEXT_TYPES)

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, roughly: bounds are kept with it."""
        return len(self.body) + 512


@dataclass(slots=True)
class Delivery:
    """A message that came in; it is redelivered, to us or to somebody else, unless it is acknowledged.

    `user`: who sent it, as the broker vouches, None when it does not. `token` is the driver's.
    """

    body: bytes
    headers: Mapping[str, str]
    id: str
    destination: str
    content_type: str
    correlation_id: str | None
    reply_to: str | None
    user: str | None
    redelivered: bool
    token: Any
