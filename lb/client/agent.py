"""Registrations that an agent makes at some server, as a client of it like any other.

There they belong to the agent. So that nobody is told of jobs that are not his, each one is bound to the jobs of whom
the broker vouches for; the agent itself has to be allowed to read them.
"""

from __future__ import annotations

from lb.client.notification import Notifications
from lb.model.errors import forbidden
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Group, Operator
from lb.security.identity import Identity


class ClientRegistrar:
    """A `lb.broker.agent_requests.Registrar`."""

    def __init__(self, notifications: Notifications, server: str) -> None:
        """`server`: ``HOST:PORT`` of whose registrations these are."""
        self.server = server
        self._notifications = notifications

    async def new(
        self, owner: Identity, id_: JobId, address: str, groups: tuple[Group, ...], flags: Flag, valid: int | None
    ) -> int:
        made = await self._notifications.new(id_, _bound(owner, groups), address=address, flags=flags, validity=valid)
        return made.valid

    async def refresh(self, owner: Identity, id_: JobId, valid: int | None) -> int:
        return (await self._notifications.refresh(id_, valid)).valid

    async def change(self, owner: Identity, id_: JobId, groups: tuple[Group, ...]) -> None:
        await self._notifications.change(id_, _bound(owner, groups))

    async def drop(self, owner: Identity, id_: JobId) -> None:
        await self._notifications.drop(id_)


def _bound(owner: Identity, groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """The conditions, and that the jobs are the owner's."""
    if owner.name is None:
        raise forbidden("nobody may register without a name")
    return (*groups, (Condition(Attribute.OWNER, Operator.EQUAL, owner.name),))
