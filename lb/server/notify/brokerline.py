"""Notifications as messages of brokers: what each says, and the message that it becomes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from lb.broker.destination import Destination
from lb.broker.message import Message
from lb.broker.notifications import Topics
from lb.model.registration import Registration
from lb.server.notify import content
from lb.server.notify.queue import Sent, Written
from lb.store.interface import Notice
from lb.wire.brokerstate import (
    CLOUD_EVENT_TYPE,
    CONTENT_TYPE,
    NOTIFICATION_HEADER,
    Format,
    Told,
    cloud_event,
    headers,
    tell,
)

#: States kept because others may be told the same: so many, and none whose body has more characters.
_KEPT: Final = 256
_LONGEST: Final = 65_536


class BrokerLines:
    """Writes them; belongs to one thread."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._told: OrderedDict[int, Told] = OrderedDict()

    def __call__(self, registration: Registration, notice: Notice) -> Written:
        told, number, named = self._tell(notice), notice.number, str(registration.id)
        form = self._topics.read(registration.destination).form
        body = told.body if form is Format.PLAIN else cloud_event(told, named, number)
        return Written(body.encode(), headers(told, named, number, form))

    def _tell(self, notice: Notice) -> Told:
        told = self._told.get(notice.number)
        if told is None:
            told = tell(content.read(notice.content))
            if len(told.body) <= _LONGEST:
                self._told[notice.number] = told
                if len(self._told) > _KEPT:
                    self._told.popitem(last=False)
        return told


_CONTENT_TYPES: Final = {Format.PLAIN: CONTENT_TYPE, Format.CLOUDEVENTS: CLOUD_EVENT_TYPE}


def message(sent: Sent, destination: Destination, form: Format) -> Message:
    """The message of a notification; its id is made of what the store keeps, so that it never changes."""
    unique = sent.headers[NOTIFICATION_HEADER].rpartition(":")[2]
    return Message(destination, sent.payload, f"{unique}.{sent.notice}", sent.headers, _CONTENT_TYPES[form])
