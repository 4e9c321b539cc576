"""What the server was used for since it was set up: the counters of the page `?stats` (spec: wire-web.md §8.3).

Numbers are kept in the store from time to time; a crash costs the last minute of them, and nothing waits for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lb.model.status import JobType
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.notify.address import SOCKET, kind_of
from lb.server.tally import Tally
from lb.service.worker import Caller
from lb.store.interface import Marks
from lb.web.jobs import Figure
from lb.wire.lbxml.registrations import Function, Request

#: Key → label, in the order of the page.
LABELS: Final = {
    "glite_jobs": "gLite job regs",
    "pbs_jobs": "PBS job regs",
    "condor_jobs": "Condor job regs",
    "cream_jobs": "CREAM job regs",
    "sb_ft_jobs": "Sandbox regs",
    "events": "Job events",
    "queries_html": "HTML accesses",
    "queries_text": "Plain text accesses",
    "queries_rss": "RSS accesses",
    "notif_regs_legacy": "Notification regs (legacy interface)",
    "notif_regs_msg": "Notification regs (msg interface)",
    "notifs_legacy": "Notifications sent (legacy)",
    "notis_msg": "Notifications sent (msg)",
    "queries_ws": "WS queries",
    "queries_api": "L&B protocol accesses",
    "vm_jobs": "VM regs",
}
#: Where registrations of a job type are counted; all others belong to gLite.
_BY_TYPE: Final[Mapping[int, str]] = {
    JobType.PBS: "pbs_jobs",
    JobType.CONDOR: "condor_jobs",
    JobType.CREAM: "cream_jobs",
    JobType.FILE_TRANSFER: "sb_ft_jobs",
    JobType.FILE_TRANSFER_COLLECTION: "sb_ft_jobs",
    JobType.VIRTUAL_MACHINE: "vm_jobs",
}
#: Kinds of questions that are no use of the protocol: they count otherwise.
_NOT_PROTOCOL: Final = frozenset({"page", "API"})
_MARK: Final = "usage "
_SINCE: Final = "usage since"
#: Seconds between two times that numbers are kept.
_INTERVAL: Final = 60.0


class Requests(Protocol):
    """What carries out requests on registrations."""

    def perform(self, peer: Identity, address: str, asked: Request) -> Coroutine[Any, Any, int | None]: ...


class CountedRequests:
    """Carries out requests on registrations and counts the new ones."""

    def __init__(self, requests: Requests, usage: Usage) -> None:
        self._requests = requests
        self._usage = usage

    async def perform(self, peer: Identity, address: str, asked: Request) -> int | None:
        validity = await self._requests.perform(peer, address, asked)
        if asked.function is Function.NEW:
            legacy = asked.address is None or kind_of(asked.address) == SOCKET
            self._usage.count("notif_regs_legacy" if legacy else "notif_regs_msg")
        return validity


class Usage(Service, Tally):
    """The counters. Each is counted in one thread only; `figures` may be asked for in any."""

    log = Logger()

    def __init__(
        self, marks: Marks, writing: Caller, clock: IReactorTime, policy: Callable[[], Policy], *, restricted: bool
    ) -> None:
        """`marks` belong to `writing`, which does nothing else yet; `restricted`: administrators alone may read."""
        self._marks = marks
        self._writing = writing
        self._policy = policy
        self._restricted = restricted
        self._since = marks.get(_SINCE)
        if not self._since:
            self._since = int(clock.seconds())
            marks.put({_SINCE: self._since})
        self._kept = {key: marks.get(_MARK + key) for key in LABELS}
        self._counts = Counter(self._kept)
        #: Counts since the start that somebody else keeps.
        self._others: dict[str, Callable[[], int]] = {}
        self._keeping = LoopingCall(self._keep)
        self._keeping.clock = clock

    def watch(self, key: str, number: Callable[[], int]) -> None:
        """Have a count since the start looked up when it is asked for."""
        self._others[key] = number

    def count(self, key: str) -> None:
        self._counts[key] += 1

    def asked(self, kind: str) -> None:
        """A question of a kind was answered, see `lb.service.watch`."""
        if kind not in _NOT_PROTOCOL:
            self.count("queries_api")

    def committed(self, events: int, repeated: int, seconds: float) -> None:
        self._counts["events"] += events

    def registered(self, jobs: Mapping[int, int]) -> None:
        for jobtype, number in jobs.items():
            self._counts[_BY_TYPE.get(jobtype, "glite_jobs")] += number

    def seen_by(self, peer: Identity) -> bool:
        """Whether the peer may read them."""
        return not self._restricted or self._policy().allows(Action.ADMIN_ACCESS, peer)

    def figures(self) -> list[Figure]:
        """All counters, in the order of their page."""
        return [Figure(key, label, self._number(key), self._since) for key, label in LABELS.items()]

    def _number(self, key: str) -> int:
        return self._counts[key] + (self._others[key]() if key in self._others else 0)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._keeping.start(_INTERVAL, now=False)

    def stopService(self) -> Deferred[Any]:
        """Fires when the numbers are kept."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._keeping.running:
            self._keeping.stop()
        return self._keep()

    def _keep(self) -> Deferred[Any]:
        numbers = {key: self._number(key) for key in LABELS}
        changed = {_MARK + key: number for key, number in numbers.items() if number != self._kept[key]}
        self._kept = numbers
        asked = self._writing.call(self._marks.put, changed) if changed else Deferred.fromCoroutine(_nothing())
        return asked.addErrback(lambda failure: self.log.failure("usage counters cannot be kept", failure=failure))


async def _nothing() -> None:
    pass
