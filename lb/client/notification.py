"""Registrations for notifications: made, bound, changed, extended, dropped (spec: wire-notification.md §1).

A request about a registration goes to the server in its id. Nothing is received here; see `lb.client.receiver`.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from lb.client.consumer import Carrier, Pages
from lb.client.settings import Address, Settings
from lb.model import notifid
from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Flag, Group
from lb.wire.lbxml import registrations
from lb.wire.lbxml.registrations import ChangeOp, Function, Request

_PATH: Final = "/notifRequest"


class Registration(NamedTuple):
    """A registration as its server confirmed it."""

    notifid: JobId
    valid: int  #: until when, seconds since the epoch


class Notifications:
    """Asks over a carrier. Validities are seconds since the epoch, None = what the server gives."""

    def __init__(self, carrier: Carrier, settings: Settings, pages: Pages) -> None:
        self.settings = settings
        self._carrier = carrier
        self._pages = pages

    @property
    def server(self) -> Address:
        """Where registrations are made when nobody says where."""
        return self.settings.notification_server or self.settings.query_server

    def new_id(self, server: Address | None = None) -> JobId:
        """A fresh id on a server, to be given to `new`: a receiver can know it before the server does."""
        return notifid.create(str(server or self.server))

    async def new(
        self,
        identity: JobId,
        groups: tuple[Group, ...],
        *,
        address: str,
        flags: Flag = NO_FLAGS,
        validity: int | None = None,
    ) -> Registration:
        """Register a fresh id; no `groups`: every job that the asker may read. Raises EPERM, EINVAL.

        `address`: ``HOST:PORT``, an empty or wildcard host for the one we ask from, or a URL.
        """
        asked = Request(Function.NEW, identity, address, groups, flags, validity=validity)
        try:
            return await self._registered(asked)
        except LBError as error:
            if error.code != errno.EEXIST:
                raise
        # A fresh id is ours: the request was repeated on a new connection, and done the first time.
        return await self._registered(Request(Function.REFRESH, identity, validity=validity))

    async def bind(self, identity: JobId, address: str, validity: int | None = None) -> Registration:
        """Have notifications, also those waiting, sent to another address; raises ENOENT, EPERM, EINVAL (expired)."""
        return await self._registered(Request(Function.BIND, identity, address, validity=validity))

    async def change(self, identity: JobId, groups: tuple[Group, ...]) -> None:
        """Replace the conditions; without a job id among them the former jobs stay. Raises ENOENT, EPERM, EINVAL."""
        await self._ask(Request(Function.CHANGE, identity, groups=groups, change=ChangeOp.REPLACE))

    async def refresh(self, identity: JobId, validity: int | None = None) -> Registration:
        """Extend the validity; raises ENOENT, EPERM, EINVAL (expired)."""
        return await self._registered(Request(Function.REFRESH, identity, validity=validity))

    async def drop(self, identity: JobId) -> None:
        """End a registration, and what is waiting with it; raises ENOENT, EPERM."""
        await self._ask(Request(Function.DROP, identity))

    async def listed(self, server: Address | None = None, *, all_owners: bool = False) -> list[JobId]:
        """Our registrations on a server, or for its administrators those of everybody."""
        at = server or self.server
        page = await self._pages.get(at, "/NOTIF:?text?all" if all_owners else "/NOTIF:?text")
        uniques = _facts(page).get("User_notifications", "")
        return [notifid.of_unique(str(at), unique) for unique in uniques.split(",") if unique]

    async def facts(self, identity: JobId) -> dict[str, str]:
        """What its server knows of a registration, as its page for scripts says it; raises ENOENT, EPERM."""
        server = Address(identity.host, identity.port)
        try:
            page = await self._pages.get(server, f"/NOTIF:{identity.notification}?text")
        except LBError as error:
            if error.code != errno.ENOENT:
                raise
            raise LBError(
                errno.ENOENT, f"{identity}: no such registration: it was dropped, or its time is over"
            ) from None
        return _facts(page)

    async def close(self) -> None:
        """End all connections; registrations stay."""
        await self._carrier.close()
        await self._pages.close()

    async def _registered(self, asked: Request) -> Registration:
        valid = await self._ask(asked)
        if valid is None:
            raise LBError(errno.EPROTO, f"{asked.notifid}: the server's answer does not say how long it is valid")
        return Registration(asked.notifid, valid)

    async def _ask(self, asked: Request) -> int | None:
        server = Address(asked.notifid.host, asked.notifid.port)
        answer = registrations.read_result(await self._carrier.ask(server, _PATH, registrations.write_request(asked)))
        if answer.error is not None:
            raise LBError(answer.error.code, f"{asked.notifid}: {answer.error.description}")
        return answer.validity


def _facts(page: bytes) -> dict[str, str]:
    """A page of ``Name=value`` lines."""
    lines = page.decode("utf-8", "surrogateescape").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def absolute(seconds: float | None, now: float) -> int | None:
    """The validity to ask for when something is to be valid for so many seconds from `now`; None stays None."""
    return None if seconds is None else round(now + seconds)
