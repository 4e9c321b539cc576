"""Registrations that the site's configuration asks for: made, kept valid and dropped by the server itself.

What sites with the C server have a cron job for (spec: wire-notification.md §5.4). They belong to the server, so that
receivers have to show its own name. Runs in the writing thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from lb.model import notifid
from lb.model.errors import invalid
from lb.model.query import Flag, Group
from lb.model.registration import Registration
from lb.model.subject import normalise, same_person
from lb.server.notify.registration import kept_flags, split_jobs
from lb.server.notify.registry import Registry

#: Begins the unique parts of these registrations; what follows is the name in the configuration.
_PREFIX: Final = "site-"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,27}", re.ASCII)


class Site(NamedTuple):
    """A registration as the configuration has it; the destination is complete."""

    name: str
    destination: str
    groups: tuple[Group, ...] = ()
    flags: Flag = Flag(0)


def check(sites: Sequence[Site]) -> None:
    """Refuse with EINVAL names that make no id, and conditions that no registration can have."""
    for site in sites:
        if not _NAME.fullmatch(site.name):
            raise invalid(f"{site.name!r}: give a name of at most 27 letters, digits, hyphens and underscores")
        split_jobs(site.groups)
    if len({site.name for site in sites}) < len(sites):
        raise invalid("a name is given twice")


class Keeper:
    """Brings the registry in line with the configuration, again and again."""

    def __init__(
        self,
        registry: Registry,
        sites: Sequence[Site],
        owner: str,
        server: str,
        now: Callable[[], float],
        validity: int,
    ) -> None:
        """`owner`: this server's name; `server`: its ``HOST:PORT``; `validity`: seconds."""
        self._registry = registry
        self._sites = {_PREFIX + site.name: site for site in sites}
        self._owner = normalise(owner)
        self._server = server
        self._now = now
        self._validity = validity

    def __call__(self) -> list[Registration]:
        """Make, change, extend and drop; the result are those that are new or changed."""
        obsolete = [
            one
            for one in self._registry.all()
            if one.id.notification.startswith(_PREFIX)
            and one.id.notification not in self._sites
            and same_person(one.owner, self._owner)
        ]
        if obsolete:
            self._registry.drop(obsolete)
        kept = (self._keep(unique, site) for unique, site in self._sites.items())
        return [one for one in kept if one is not None]

    def _keep(self, unique: str, site: Site) -> Registration | None:
        now = int(self._now())
        jobs, groups = split_jobs(site.groups)
        wanted = Registration(
            0,
            notifid.of_unique(self._server, unique),
            self._owner,
            site.destination,
            now + self._validity,
            jobs,
            groups,
            kept_flags(site.flags),
        )
        known = self._registry.find(unique)
        if known is None:
            return self._registry.add(wanted)
        wanted = msgspec.structs.replace(wanted, number=known.number, id=known.id, owner=known.owner)
        if msgspec.structs.replace(wanted, valid=known.valid) == known and known.valid > now + self._validity // 2:
            return None
        self._registry.change(wanted)
        return wanted
