"""Notifications to listening sockets: the line that travels, and how a receiver is reached.

Our side is the TLS client and believes nobody but the owner of the registration (P7; security.md §6.2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from lb.model.registration import Registration
from lb.security.tls import EndpointCredentials
from lb.server.notify import content
from lb.server.notify.address import reached, split
from lb.server.notify.queue import Written
from lb.store.interface import Notice
from lb.wire import il, notification
from lb.wire.lbxml import status as status_document

#: Documents kept because others may be told the same: so many, and none longer than so many bytes.
_KEPT: Final = 64
_LONGEST: Final = 65_536


class SocketLines:
    """Writes the lines; belongs to one thread."""

    def __init__(self, host: str) -> None:
        """`host`: this server's name, as it stands in the lines."""
        self._host = host
        self._documents: OrderedDict[int, bytes] = OrderedDict()

    def __call__(self, registration: Registration, notice: Notice) -> Written:
        host, port = split(registration.destination)
        return Written(
            notification.write(
                notification.Notification(
                    notifid=str(registration.id),
                    owner=registration.owner,
                    jobstat=self._document(notice),
                    expires=registration.valid,
                    timestamp=notice.written,
                    host=self._host,
                    dest_host=host,
                    dest_port=port,
                )
            )
        )

    def _document(self, notice: Notice) -> bytes:
        document = self._documents.get(notice.number)
        if document is None:
            document = status_document.write(content.read(notice.content))
            if len(document) <= _LONGEST:
                self._documents[notice.number] = document
                if len(self._documents) > _KEPT:
                    self._documents.popitem(last=False)
        return document


def receivers(
    credentials: EndpointCredentials, reactor: Any, timeout: float
) -> Callable[[str, str], IStreamClientEndpoint]:
    """How the receiver at a destination is reached, who must be the owner; `timeout` in seconds."""

    def endpoint(destination: str, owner: str) -> IStreamClientEndpoint:
        host, port = reached(destination)
        creator = credentials.client_of(owner, alpn=[il.ALPN])
        made: IStreamClientEndpoint = wrapClientTLS(creator, HostnameEndpoint(reactor, host, port, timeout=timeout))
        return made

    return endpoint
