"""A server that knows registrations and notifies: requests on a real port, notifications from a client of its own."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from lb.client.settings import Address
from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.query import Attribute
from lb.model.status import STATE_CODES, JobStatus
from lb.wire import http, il, notification
from lb.wire.http_status import Operation, status_of
from lb.wire.lbxml import registrations
from lb.wire.lbxml import status as status_document
from lb.wire.lbxml.registrations import Function, Request
from lb.wire.notification import Notification
from tests.client import peers
from tests.client.senders import Sender

#: Seconds since the epoch, far enough that nothing of a test expires.
NOW = 2_000_000_000


class NotificationServer:
    """Registrations in memory; state changes come from the test."""

    def __init__(self, reactor: Any, *, ours: bool = True) -> None:
        self._reactor = reactor
        self._ours = ours
        self._senders: dict[str, Sender] = {}
        #: The answers of receivers to what was notified, in its order.
        self.delivering: list[Deferred[il.Reply]] = []
        self.port = peers.query_peer(reactor, self._answer)
        self.address: Address = self.port.address
        self.registered: dict[JobId, Request] = {}
        self.asked: list[Request] = []
        #: States and reasons that are notified while a New is answered.
        self.on_new: list[tuple[str, int]] = []
        #: The answer to every New, None = it is taken.
        self.refusal: LBError | None = None
        #: Seconds that registrations are valid, None = until `NOW` or as asked.
        self.validity: int | None = None
        #: It never answers.
        self.silent = False

    @property
    def environ(self) -> dict[str, str]:
        """An environment that leads clients here."""
        return {"LB_STATE_DIR": str(peers.state_directory()), "GLITE_WMS_NOTIF_SERVER": str(self.address)}

    def notify(self, identity: JobId, state: str, number: int, job: str = "") -> None:
        """A job of a registration has changed; `number` becomes its reason."""
        asked = self.registered[identity]
        assert asked.address is not None
        job = job or self._job(asked)
        status = JobStatus(state=STATE_CODES[state.lower()], jobId=job, owner=peers.IDENTITY, reason=str(number))
        document = status_document.write(status)
        line = notification.write(Notification(str(identity), peers.IDENTITY, document, NOW, 0, "localhost"))
        self.delivering.append(self._sender(asked.address).deliver(line))

    async def delivered(self) -> list[il.Reply]:
        """The answers of the receivers to all that was notified."""
        return [await each for each in self.delivering]

    async def close(self) -> None:
        """End everything."""
        for sender in self._senders.values():
            await sender.close()
        for each in self.delivering:
            each.addErrback(lambda failure: failure.trap(LBError) and None)
        await self.port.close()

    def _sender(self, address: str) -> Sender:
        if address not in self._senders:
            self._senders[address] = Sender(self._reactor, address, ours=self._ours)
        return self._senders[address]

    @staticmethod
    def _job(asked: Request) -> str:
        ids = [c.value for group in asked.groups for c in group if c.attribute is Attribute.JOBID]
        return str(ids[0]) if ids else "https://localhost:9000/job"

    def _answer(self, request: http.Request) -> bytes:
        if self.silent:
            return b""
        assert request.path == "/notifRequest"
        asked = registrations.read_request(request.body)
        self.asked.append(asked)
        try:
            validity = self._do(asked)
        except LBError as error:
            document = registrations.write_result(error=error)
            return http.response(status_of(Operation.NOTIFICATION, error.code), document)
        return http.response(200, registrations.write_result(validity))

    def _do(self, asked: Request) -> int | None:
        identity, function = asked.notifid, asked.function
        if function is Function.NEW:
            if self.refusal is not None:
                raise self.refusal
            self.registered[identity] = asked
            for state, number in self.on_new:
                self.notify(identity, state, number)
        elif identity not in self.registered:
            raise LBError(errno.ENOENT, "Unknown notification ID")
        elif function is Function.DROP:
            del self.registered[identity]
        elif function is Function.BIND:
            former = self.registered[identity]
            self.registered[identity] = msgspec.structs.replace(former, address=asked.address)
            for state, number in self.on_new:
                self.notify(identity, state, number)
        if function in (Function.DROP, Function.CHANGE):
            return None
        if self.validity is not None:
            return round(self._reactor.seconds()) + self.validity
        return asked.validity or NOW
