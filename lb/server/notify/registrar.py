"""Registrations that the server's own registration agent makes, in the names of whom brokers vouch for."""

from __future__ import annotations

import errno

from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.query import Flag, Group
from lb.security.identity import Identity
from lb.server.notify.subscriptions import Subscriptions
from lb.wire.lbxml.registrations import ChangeOp, Function, Request


class ServerRegistrar:
    """A `lb.broker.agent_requests.Registrar`: asks as the owner would over HTTPS, and is answered as he would be."""

    def __init__(self, subscriptions: Subscriptions, server: str) -> None:
        """`server`: ``HOST:PORT``, for the ids."""
        self.server = server
        self._subscriptions = subscriptions

    async def new(
        self, owner: Identity, id_: JobId, address: str, groups: tuple[Group, ...], flags: Flag, valid: int | None
    ) -> int:
        try:
            return await self._ask(owner, Request(Function.NEW, id_, address, groups, flags, validity=valid))
        except LBError as error:
            if error.code != errno.EEXIST:
                raise
        # The same request came again: what it asked for is done.
        return await self.refresh(owner, id_, valid)

    async def refresh(self, owner: Identity, id_: JobId, valid: int | None) -> int:
        return await self._ask(owner, Request(Function.REFRESH, id_, validity=valid))

    async def change(self, owner: Identity, id_: JobId, groups: tuple[Group, ...]) -> None:
        await self._ask(owner, Request(Function.CHANGE, id_, groups=groups, change=ChangeOp.REPLACE))

    async def drop(self, owner: Identity, id_: JobId) -> None:
        await self._ask(owner, Request(Function.DROP, id_))

    async def _ask(self, owner: Identity, asked: Request) -> int:
        return await self._subscriptions.perform(owner, "", asked) or 0
