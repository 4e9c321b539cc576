"""``POST /notifRequest`` byte by byte: recorded requests of C clients get the recorded answers; errors, bootstrap."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.query import Attribute, Flag, Query, own_jobs
from lb.model.status import JobStatus, State
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action
from lb.server.notify import content
from lb.server.notify.announcement import Announcement
from lb.server.notify.flight import Flight
from lb.server.notify.notifier import Kind, Notifier
from lb.server.notify.registry import Registry
from lb.server.notify.requestport import RequestPort
from lb.server.notify.requests import Requests
from lb.server.notify.socketline import SocketLines
from lb.server.notify.subscriptions import Subscriptions
from lb.wire import http
from lb.wire.lbxml.registrations import Function, Request, read_result, write_request
from tests.notify.registrations import equal, registration
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import JOB, running
from tests.server.test_ingest import registration as registered
from tests.wire_notification.recorded import REGISTRATIONS, files

#: A little before the recorded requests.
NOW = 1_795_417_800
PEER = Identity(OWNER.name, expires=NOW + 1_000_000)


class AtOnce:
    """A thread that is done already."""

    def call(self, function: object, /, *arguments: object, **more: object) -> Deferred[object]:
        try:
            return succeed(function(*arguments, **more))  # type: ignore[operator]
        except Exception as error:
            failed: Deferred[object] = Deferred()
            failed.errback(error)
            return failed


class Port(SynchronousTestCase):
    """A server without sockets."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        clock = Clock()
        clock.advance(NOW)
        self.server = Server(directory, announce=lambda: Announcement(self.registry, NOW, "salt"))
        self.addCleanup(self.server.close)
        thread = AtOnce()
        self.registry = Registry(self.server.writer, lambda: self.server.policy, clock.seconds, "salt", self)
        self.outbox = self.server.store.outbox_reader()
        self.notifier = Notifier(
            [],
            self.outbox,
            thread,  # type: ignore[arg-type]
            lambda _: succeed(None),
            {},
            clock,
            1.0,
            lambda line, reason: succeed(None),
            Flight(1, 1, clock),
        )
        requests = Requests(self.registry, lambda: self.server.policy, clock.seconds)
        self.subscriptions = Subscriptions(
            thread,  # type: ignore[arg-type]
            self.registry,
            requests,
            self.notifier,
            {"": Kind(SocketLines("lb.example"), lambda queue, registration: self.fail("nothing is delivered"))},
            self._find,
            lambda: self.server.policy,
        )
        self.port = RequestPort(self.subscriptions)

    def wake(self, numbers: Collection[int]) -> None: ...

    def gone(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self.notifier.remove(number)

    async def _find(self, peer: Identity, query: Query) -> list[JobStatus]:
        return self.server.lookup.jobs(peer, query).jobs

    def _send(self, data: bytes, peer: Identity = PEER, address: str = "::1%0") -> bytes:
        (request,) = http.RequestReader().feed(data)
        return self.successResultOf(self.port.answer(request, peer, address))

    def _ask(self, asked: Request, peer: Identity = PEER) -> tuple[int, bytes]:
        data = http.request("POST", "/notifRequest", write_request(asked))
        head, _, body = self._send(data, peer).partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def test_recorded_exchanges(self) -> None:
        """Each recorded request of a C client gets the recorded answer, byte by byte but for the validity."""
        for name, function in REGISTRATIONS.items():
            answer = self._send(files()[f"{name}.00.out.bin"])
            recorded = files()[f"{name}.01.in.bin"]
            self.assertEqual(_validity(answer), _validity(recorded), name)
            if function == "Bind":
                (one,) = self.registry.all()
                self.assertIn(one.destination, ("[::1]:60437", "127.0.0.1:45678"))
        self.assertEqual(len(self.registry.all()), 2)

    def test_errors(self) -> None:
        """P7: refusals have the status and the words that C clients know, in a document."""
        asked = Request(Function.NEW, registration().id, "127.0.0.1:1")
        self.assertEqual(self._ask(asked)[0], 200)
        for refused, peer, status, code in (
            (asked, OTHER, 200, 17),
            (Request(Function.REFRESH, asked.notifid), OTHER, 401, 1),
            (Request(Function.REFRESH, asked.notifid), ANONYMOUS, 401, 1),
            (Request(Function.REFRESH, registration(9).id), PEER, 404, 2),
            (Request(Function.BIND, asked.notifid, "x-msg://grid.emi.x"), PEER, 579, 22),
        ):
            answered, body = self._ask(refused, peer)
            error = read_result(body).error
            self.assertIsNotNone(error)
            self.assertEqual((answered, error and error.code), (status, code))
        document = write_request(asked)
        for broken, status in ((document[:-10], 400), (document.replace(b'"New"', b'"Old"'), 579)):
            answer = self._send(http.request("POST", "/notifRequest", broken))
            self.assertEqual(int(answer.split()[1]), status)

    def test_bootstrap(self) -> None:
        """Flag bootstrap: the present states of the jobs that a query finds come first, also ends (§4)."""
        other = JOB[:-1] + "x"
        self.server.send_all([registered(), running(1), registered(job=other)])
        asked = Request(
            Function.NEW,
            registration().id,
            "127.0.0.1:1",
            own_jobs().jobs,
            Flag.BOOTSTRAP | Flag.TERMINAL_STATES,
        )
        self.assertEqual(self._ask(asked)[0], 200)
        (one,) = self.registry.all()
        told = [content.read(notice.content) for notice in self.outbox.notices(one.number, 0, 99, 1 << 20)]
        expected = sorted([(JOB, State.Running), (other, State.Submitted)])
        self.assertEqual([(status.jobId, status.state) for status in told], expected)

    def test_bootstrap_without_index(self) -> None:
        """Without conditions that lead to jobs nothing is told first, and the registration stands."""
        self.server.send(registered())
        groups = (equal(Attribute.STATUS, int(State.Submitted)),)
        asked = Request(Function.NEW, registration().id, "127.0.0.1:1", groups, Flag.BOOTSTRAP)
        self.assertEqual(self._ask(asked)[0], 200)
        (one,) = self.registry.all()
        self.assertEqual(self.outbox.notices(one.number, 0, 99, 1 << 20), [])

    def test_listing(self) -> None:
        """P7: everybody sees the own registrations, an administrator all; one is shown to its owner."""
        for number, peer in ((1, PEER), (2, OTHER), (3, PEER)):
            self._ask(Request(Function.NEW, registration(number).id, "127.0.0.1:1"), peer)
        listed = self.subscriptions.listed
        self.assertEqual([one.id.notification for one in listed(PEER)], ["n1", "n3"])
        self.assertEqual([one.id.notification for one in listed(PEER, own=False, others=True)], ["n1", "n3"])
        self.assertEqual(self.subscriptions.one(PEER, "n1").owner, OWNER.name)
        self.assertRaises(LBError, self.subscriptions.one, OTHER, "n1")
        self.server.policy = self.server.policy.permitting(str(OTHER.name), Action.ADMIN_ACCESS)
        self.assertEqual([one.id.notification for one in listed(OTHER, others=True)], ["n1", "n2", "n3"])
        self.assertEqual([one.id.notification for one in listed(OTHER, own=False, others=True)], ["n1", "n3"])
        self.assertEqual(self.subscriptions.one(OTHER, "n1").owner, OWNER.name)


def _validity(answer: bytes) -> bytes:
    """An answer with a validity that means nothing; as long as the recorded one."""
    neutral = re.sub(rb"<validity>\d{10}</validity>", b"<validity>0000000000</validity>", answer)
    return re.sub(rb"(?m)^Server: .*\r\n", b"", neutral)
