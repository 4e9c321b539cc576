"""Where notifications may go at brokers: ``x-msg:`` addresses, as a site allows them (wire-notification.md §1.5).

Pure; nothing is sent here, and no broker is asked whether a destination is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from lb.bound import MEBIBYTE, Unit, bound
from lb.broker.destination import SCHEME, Destination, Kind, read_address
from lb.model.errors import invalid
from lb.wire.brokerstate import Format

#: What C servers allow when nobody says otherwise.
DEFAULT_PREFIXES: Final = ("grid.emi.",)
#: In names, these stand for several destinations at once, or for options of one: ActiveMQ would look past the prefix.
_NOT_ONE: Final = frozenset(",*>?#")


class Topic(NamedTuple):
    """Where notifications go: the name of the broker, what they are published to there, and how they are written."""

    broker: str
    destination: Destination
    form: Format


@dataclass(frozen=True)
class TopicLimits:
    """Bounds of the delivery to one destination at a broker; sizes in bytes, times in seconds."""

    window_messages: int = bound(
        "notif-broker-window", 1_000, Unit.COUNT, "notifications for a destination that its broker has not confirmed"
    )
    window_bytes: int = bound("notif-broker-window-bytes", 4 * MEBIBYTE, Unit.BYTES, "the same by size")
    patience: float = bound(
        "notif-broker-patience",
        86_400.0,
        Unit.SECONDS,
        "time for which notifications wait when a broker refuses their destination; then they are given up",
        least=0,
    )
    first_pause: float = bound(
        "notif-broker-first-pause", 1.0, Unit.SECONDS, "pause after a destination was refused; it doubles", least=0.01
    )
    longest_pause: float = bound("notif-broker-longest-pause", 60.0, Unit.SECONDS, "longest such pause", least=0.01)


class Topics:
    """The addresses that a site takes."""

    def __init__(
        self,
        brokers: Sequence[str],
        prefixes: Sequence[str] = DEFAULT_PREFIXES,
        form: Format = Format.PLAIN,
    ) -> None:
        """`brokers` by name, the first is the default one; `form` of what does not say how it is to be written.

        A prefix is the beginning of names of topics, or, with a slash before it, of destinations in full:
        ``/queue/NAME``, ``/exchange/NAME/KEY``.
        """
        self.brokers = tuple(brokers)
        self.prefixes = tuple(prefixes)
        self._form = form

    def accept(self, text: str) -> str:
        """The address, when notifications may be sent there; EINVAL, in the words of the C server."""
        destination = self.read(text).destination
        if _NOT_ONE & {*destination.name, *destination.key}:
            raise invalid(f"{text[:255]!r} names more than one destination")
        if not self.allows(destination):
            allowed = " or ".join(self.prefixes)
            raise invalid(f"This site requires that all topic names start with prefix {allowed}")
        return text

    def allows(self, destination: Destination) -> bool:
        """Whether a destination is one, and begins with one of the prefixes."""
        name, full, is_topic = destination.name, str(destination), destination.kind is Kind.TOPIC
        return not _NOT_ONE & {*name, *destination.key} and any(
            full.startswith(prefix) if prefix.startswith("/") else is_topic and name.startswith(prefix)
            for prefix in self.prefixes
        )

    def read(self, text: str) -> Topic:
        """What an address says, allowed or not; EINVAL for what is none, and where there is no broker."""
        if not self.brokers:
            raise invalid("This site sends no notifications to message brokers: none is configured")
        address, _, query = text.partition("?")
        # The scheme is read without case, as of any address.
        if address[: len(SCHEME)].lower() == SCHEME:
            address = SCHEME + address[len(SCHEME) :]
        found = read_address(address, self.brokers)
        return Topic(found.broker or self.brokers[0], found.destination, self._asked_form(text, query))

    def _asked_form(self, text: str, query: str) -> Format:
        form = self._form
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name != "format" or value not in _FORMS:
                raise invalid(f"{text[:255]!r}: give ?format= with one of {', '.join(_FORMS)}")
            form = _FORMS[value]
        return form


_FORMS: Final[Mapping[str, Format]] = {form.value: form for form in Format}


def read_format(text: str) -> Format:
    """A format by its name; raises EINVAL."""
    if text not in _FORMS:
        raise invalid(f"{text[:80]!r} is none of {', '.join(_FORMS)}")
    return _FORMS[text]
