"""Asking servers for what administrators may: purge, dump, load, statistics, indices (spec: wire-query.md §7.6, §8)."""

from __future__ import annotations

from collections.abc import Sequence

from lb.client.consumer import Carrier
from lb.client.settings import Address, Settings
from lb.model.errors import Code, LBError
from lb.model.indexing import Index
from lb.model.jobid import JobId
from lb.wire import indexing
from lb.wire.lbxml import dump as dumps
from lb.wire.lbxml import indices as indexed
from lb.wire.lbxml import purge as purges
from lb.wire.lbxml import sequence
from lb.wire.lbxml import statistics as counts


class Administrator:
    """Asks over a carrier; every method raises the `LBError` that the server answers."""

    def __init__(self, carrier: Carrier, settings: Settings) -> None:
        self._carrier = carrier
        self._settings = settings

    async def _ask(self, path: str, document: bytes, server: Address | None) -> bytes:
        return await self._carrier.ask(server or self._settings.query_server, path, document)

    async def purge(self, asked: purges.Request, *, server: Address | None = None) -> purges.Result | None:
        """Purge; None when the server does it in the background. EPERM for who may not."""
        try:
            body = await self._ask("/purgeRequest", purges.write_request(asked), server)
        except LBError as error:
            if error.code != Code.ACCEPTED_OK:
                raise
            return None
        return purges.read_result(body)

    async def dump(self, asked: dumps.DumpRequest, *, server: Address | None = None) -> dumps.Result:
        """Dump what arrived between two times into a file at the server."""
        return dumps.read_dump_result(await self._ask("/dumpRequest", dumps.write_dump_request(asked), server))

    async def load(self, path: str, *, server: Address | None = None) -> dumps.Result:
        """Load a file at the server; `server_file` of the result: where lines that it refused are."""
        return dumps.read_load_result(await self._ask("/loadRequest", dumps.write_load_request(path), server))

    async def statistics(self, asked: counts.Request, *, server: Address | None = None) -> counts.Result:
        """Rates or durations; ENOENT when nothing was counted, ENOSYS when nothing is."""
        return counts.read_result(await self._ask("/statsRequest", counts.write_request(asked), server))

    async def indices(self, *, server: Address | None = None) -> list[Index]:
        """What queries may start from, beside ids of jobs and of parents; of any server."""
        return indexed.read_result(await self._ask("/indexedAttrs", indexed.write_request(), server))

    async def index(self, wanted: Sequence[Index] | None, *, server: Address | None = None) -> indexing.Answer:
        """Have a server of ours index what is wanted, None only asks; what is configured, and whether it is filled."""
        request = indexing.Request(None if wanted is None else indexing.named(list(wanted)))
        return indexing.read_answer(await self._ask(indexing.PATH, indexing.write(request), server))

    async def sequence_code(self, jobid: JobId, *, server: Address | None = None) -> str:
        """The code of the last event that moved a job's state."""
        place = server or Address(jobid.host, jobid.port)
        return sequence.read_result(await self._ask("/querySequenceCode", sequence.write_request(jobid), place))
