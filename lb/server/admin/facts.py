"""What administrators are told of the configuration on the page `?configuration` (spec: wire-web.md §8.2)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lb.security.identity import Identity
from lb.security.policy import Action, Policy, PolicyError, read_file
from lb.server.admin.port import DUMP_ENDED, DUMP_STARTED, Places
from lb.service.worker import Caller
from lb.store.interface import Marks
from lb.web.jobs import Fact

_MICROSECONDS: Final = 1_000_000


class AdministrativeFacts:
    """Looks them up each time that they are asked for."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        policy_file: Path | None,
        database: object,
        places: Places,
        marks: Marks,
        writing: Caller,
    ) -> None:
        """`database` is told by its name; `marks` belong to `writing`."""
        self._policy = policy
        self._policy_file = policy_file
        self._database = database
        self._places = places
        self._marks = marks
        self._writing = writing

    def sees_all(self, peer: Identity) -> bool:
        """Whether the peer is an administrator."""
        return self._policy().allows(Action.ADMIN_ACCESS, peer)

    async def facts(self) -> list[Fact]:
        """Key, label, values."""
        started, ended = await self._writing.call(self._dumped)
        return [
            ("database_name", "Database name", (str(self._database),)),
            ("database_host", "Database host", (socket.gethostname(),)),
            ("authz_policy_file", "Authorization policy file", self._written_policy()),
            ("admins", "Super Users", self._policy().named(Action.ADMIN_ACCESS)),
            ("dump_start", "Last dump start", started),
            ("dump_end", "Last dump end", ended),
            ("dump_prefix", "Dump file prefix", (str(self._places.dumps),)),
            ("purge_prefix", "Purge file prefix", (str(self._places.purges),)),
            ("html_header", "HTML Header file", ()),
            ("id_mapping_file", "ID Mapping File", ()),
            ("usability", "Usability", ("Improved",)),
        ]

    def _dumped(self) -> tuple[tuple[str, ...], ...]:
        return tuple(_moment(self._marks.get(name)) for name in (DUMP_STARTED, DUMP_ENDED))

    def _written_policy(self) -> tuple[str, ...]:
        if self._policy_file is None:
            return ()
        try:
            return (read_file(self._policy_file),)
        except PolicyError as error:  # it was there when the server started
            return (str(error),)


def _moment(microseconds: int) -> tuple[str, ...]:
    return (time.ctime(microseconds // _MICROSECONDS),) if microseconds else ()
