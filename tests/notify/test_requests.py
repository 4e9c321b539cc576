"""The five requests: who may ask, validity, addresses, errors in the protocol's words (wire-notification.md §1)."""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from lb.model import notifid
from lb.model.errors import LBError
from lb.model.query import Attribute, Condition, Flag, Operator
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action, Policy
from lb.server.conditions import MAX_EFFORT
from lb.server.notify.address import complete, reached
from lb.server.notify.limits import NotifyLimits
from lb.server.notify.registry import Registry
from lb.server.notify.requests import Outcome, Requests
from lb.store.sqlite import SQLiteStore
from lb.wire.lbxml.registrations import ChangeOp, Function, Request
from tests.notify.registrations import JOBS, equal, registration

NOW = 1_800_000_000
ALICE = Identity("/C=CZ/CN=Alice", expires=NOW + 500_000)
BOB = Identity("/C=CZ/CN=Bob", expires=NOW + 500_000)
ID = notifid.of_unique("lb.example:9000", "one")
LIMITS = NotifyLimits(validity=100, longest_validity=1_000, registrations=3)


class Asking(SynchronousTestCase):
    """Requests on an empty store."""

    limits = LIMITS

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.policy = Policy.open()
        self.now = NOW
        self._open()
        self.addCleanup(lambda: self.store.close())

    def _open(self) -> None:
        self.store = SQLiteStore(self.path)
        self.dropped: list[int] = []
        self.registry = Registry(
            self.store.writer(), lambda: self.policy, lambda: float(self.now), "salt", self, self.limits
        )
        self.requests = Requests(self.registry, lambda: self.policy, lambda: float(self.now), self.limits)

    def wake(self, numbers: Collection[int]) -> None: ...

    def gone(self, numbers: Collection[int]) -> None:
        self.dropped += numbers

    def _ask(self, function: Function, peer: Identity = ALICE, **fields: Any) -> Outcome:
        fields = {"notifid": ID, "address": "127.0.0.1:4000", **fields}
        return self.requests.perform(peer, Request(function, **fields))

    def _refused(self, function: Function, peer: Identity = ALICE, **fields: Any) -> tuple[int, str]:
        error = self.assertRaises(LBError, self._ask, function, peer, **fields)
        return error.code, error.description

    def test_new(self) -> None:
        """A registration has what was asked for, also after a restart; its id is taken."""
        state = equal(Attribute.STATUS, 5)
        flags = Flag.HISTORY | Flag.CHILDREN
        made = self._ask(Function.NEW, groups=(equal(Attribute.JOBID, *JOBS), state), flags=flags, validity=NOW + 50)
        self.store.close()
        self._open()
        (kept,) = self.registry.all()
        self.assertEqual(kept, made.registration)
        self.assertEqual((kept.jobs, kept.groups, kept.flags), (tuple(JOBS), (state,), Flag.HISTORY))
        self.assertEqual((kept.owner, kept.destination, kept.valid), (ALICE.name, "127.0.0.1:4000", NOW + 50))
        self.assertEqual(self._refused(Function.NEW, BOB)[0], errno.EEXIST)

    def test_validity(self) -> None:
        """Absent: the default; never beyond the maximum or the peer's certificate; the past is taken (§1.4)."""
        short = Identity("/CN=s", expires=NOW + 20)
        for peer, asked, effective in (
            (ALICE, None, NOW + 100),
            (ALICE, NOW + 7, NOW + 7),
            (ALICE, NOW + 5_000, NOW + 1_000),
            (short, None, NOW + 20),
            (short, NOW + 19, NOW + 19),
            (ALICE, 5, 5),
        ):
            self.assertEqual(self.requests.validity(peer, asked), effective)

    def test_bind_refresh(self) -> None:
        """Bind changes destination and validity, Refresh the validity, both keep the conditions."""
        new = self._ask(Function.NEW, groups=(equal(Attribute.STATUS, 5),))
        bound = self._ask(Function.BIND, address="h:1", validity=NOW + 300)
        self.assertEqual(bound.validity, NOW + 300)
        self.assertEqual(
            bound.registration, msgspec.structs.replace(new.registration, destination="h:1", valid=NOW + 300)
        )
        self.assertEqual(self._ask(Function.REFRESH).validity, NOW + 100)
        (kept,) = self.registry.all()
        self.assertEqual((kept.destination, kept.valid), ("h:1", NOW + 100))

    def test_change(self) -> None:
        """Change replaces conditions; the old jobs stay unless new ones are named; other operations do nothing."""
        self._ask(Function.NEW, groups=(equal(Attribute.JOBID, JOBS[0]), equal(Attribute.STATUS, 5)))
        self._ask(Function.CHANGE, groups=(equal(Attribute.STATUS, 6),))
        (kept,) = self.registry.all()
        self.assertEqual((kept.jobs, kept.groups), ((JOBS[0],), (equal(Attribute.STATUS, 5),)))
        outcome = self._ask(Function.CHANGE, change=ChangeOp.REPLACE, groups=(equal(Attribute.STATUS, 6),))
        self.assertIsNone(outcome.validity)
        (kept,) = self.registry.all()
        self.assertEqual((kept.jobs, kept.groups), ((JOBS[0],), (equal(Attribute.STATUS, 6),)))
        self._ask(Function.CHANGE, change=ChangeOp.REPLACE, groups=(equal(Attribute.JOBID, JOBS[1]),))
        (kept,) = self.registry.all()
        self.assertEqual((kept.jobs, kept.groups), ((JOBS[1],), ()))

    def test_drop(self) -> None:
        """A dropped registration is unknown, also after a restart, and its id is free."""
        self._ask(Function.NEW)
        self._ask(Function.DROP)
        self.assertEqual(len(self.dropped), 1)
        self.assertEqual(self._refused(Function.DROP), (errno.ENOENT, "Unknown notification ID"))
        self.store.close()
        self._open()
        self._ask(Function.NEW, BOB)

    def test_only_the_owner(self) -> None:
        """P7: nobody but the owner binds, changes or refreshes; an administrator may drop; nobody anonymous asks."""
        self._ask(Function.NEW)
        for function in (Function.BIND, Function.CHANGE, Function.REFRESH, Function.DROP):
            self.assertEqual(
                self._refused(function, BOB), (errno.EPERM, "Only owner could access the notification"), function
            )
        self.assertEqual(self._refused(Function.NEW, ANONYMOUS), (errno.EPERM, "Annonymous access not allowed"))
        self._ask(Function.REFRESH, Identity("/c=cz/cn=ALICE"))
        self.policy = self.policy.permitting("/C=CZ/CN=Bob", Action.ADMIN_ACCESS)
        self.assertEqual(self._refused(Function.REFRESH, BOB)[0], errno.EPERM)
        self._ask(Function.DROP, BOB)

    def test_unknown_and_expired(self) -> None:
        """Unknown ids are told so; an expired registration is told to have expired, once, and is gone."""
        for function in (Function.BIND, Function.CHANGE, Function.REFRESH, Function.DROP):
            self.assertEqual(self._refused(function), (errno.ENOENT, "Unknown notification ID"))
        for function in (Function.BIND, Function.REFRESH):
            self._ask(Function.NEW)
            self.now += 101
            self.assertEqual(self._refused(function), (errno.EINVAL, "Notification expired."))
            self.assertEqual(self._refused(function)[0], errno.ENOENT)

    def test_hidden_owners(self) -> None:
        """P7: who may read hashed names only may not ask for a name other than the own one."""
        self.policy = self.policy.permitting("/C=CZ/CN=Bob", Action.READ_ANONYMIZED)
        code, words = self._refused(Function.NEW, BOB, groups=(equal(Attribute.OWNER, "/CN=x"),))
        self.assertEqual(code, errno.EPERM)
        self.assertIn("anonymized notifications", words)
        self._ask(Function.NEW, BOB, groups=(equal(Attribute.OWNER, "/C=CZ/CN=Bob", None),))
        code, _ = self._refused(
            Function.CHANGE, BOB, change=ChangeOp.REPLACE, groups=(equal(Attribute.OWNER, "/CN=x"),)
        )
        self.assertEqual(code, errno.EPERM)

    def test_job_ids_are_equal_or_nothing(self) -> None:
        """Job ids name the jobs that are meant; they cannot be asked for in any other way."""
        other = (Condition(Attribute.JOBID, Operator.UNEQUAL, JOBS[0]),)
        self.assertEqual(self._refused(Function.NEW, groups=(other,))[0], errno.EINVAL)

    def test_bounded(self) -> None:
        """P10: more registrations than the bound are refused, as many as the bound are taken."""
        for number in range(3):
            self._ask(Function.NEW, notifid=notifid.of_unique("h:1", str(number)))
        self.assertEqual(self._refused(Function.NEW)[0], errno.ENOSPC)
        self._ask(Function.DROP, notifid=notifid.of_unique("h:1", "0"))
        self._ask(Function.NEW)

    def test_effort(self) -> None:
        """P10: what a registration may have compared at each step of a job is bounded."""
        tags = tuple(Condition(Attribute.USERTAG, Operator.LESS, str(n), name="x") for n in range(MAX_EFFORT))
        equal_values = equal(Attribute.DESTINATION, *map(str, range(2 * MAX_EFFORT)))
        self._ask(Function.NEW, groups=(tags,))
        self.assertEqual(self._refused(Function.NEW, groups=(tags, equal_values))[0], errno.E2BIG)
        asked = {"change": ChangeOp.REPLACE, "groups": (tags, equal_values)}
        self.assertEqual(self._refused(Function.CHANGE, **asked)[0], errno.E2BIG)

    def test_own_share(self) -> None:
        """P10: an owner has his share of registrations, whatever way his name is spelled; others are not concerned."""
        self._ask(Function.NEW, peer=Identity("/C=CZ/CN=ALICE/CN=proxy"))
        self.store.close()
        self.limits = NotifyLimits(own_registrations=2)
        self._open()
        names = (notifid.of_unique("h:1", str(number)) for number in range(9))
        self._ask(Function.NEW, notifid=next(names))
        code, text = self._refused(Function.NEW, notifid=next(names))
        self.assertEqual(code, errno.ENOSPC)
        self.assertIn("2 registrations of yours", text)
        self._ask(Function.NEW, peer=BOB, notifid=next(names))
        self._ask(Function.DROP)
        self._ask(Function.NEW, notifid=next(names))

    def test_sweeping(self) -> None:
        """What expired long ago goes by itself, its queue with it; what expired just now can still be told so."""
        self._ask(Function.NEW, validity=NOW + 10)
        self.now += 11
        self.registry.sweep()
        self.assertEqual(len(self.registry.all()), 1)
        self.now += 3_600
        while self.registry.sweep():
            pass
        self.assertEqual((self.registry.all(), len(self.dropped)), ([], 1))

    def test_damaged_row(self) -> None:
        """P5: a stored registration that cannot be read is told of and leaves the others alone."""
        self._ask(Function.NEW)
        made = self.registry.add(registration(2))
        self.store.writer()._connection.execute("UPDATE registrations SET content = 'x' WHERE id = ?", (made.number,))
        self.store.close()
        self._open()
        self.assertEqual([one.id for one in self.registry.all()], [ID])


class Addresses(SynchronousTestCase):
    """The destination that is stored for an address that was given (§1.5)."""

    def test_completed(self) -> None:
        """Hosts that mean wherever the client is become its address, other hosts stay."""
        for asked, peer, stored in (
            ("client.example:43210", "192.0.2.1", "client.example:43210"),
            ("0.0.0.0:43210", "192.0.2.1", "192.0.2.1:43210"),
            (":::40651", "::1%0", "[::1]:40651"),
            (":40651", "::ffff:192.0.2.1", "192.0.2.1:40651"),
            ("[::]:1", "fe80::1%eth0", "[fe80::1%eth0]:1"),
            ("[2001:db8::2]:65535", "192.0.2.1", "[2001:db8::2]:65535"),
        ):
            self.assertEqual(complete(asked, peer, {""}), stored)

    def test_refused(self) -> None:
        """What is no address, and what nobody here can reach, is refused in the C server's words."""
        for asked in (
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "x-msg://grid.emi.topic",
            "http://h:1/",
            "h/x:1",
        ):
            error = self.assertRaises(LBError, complete, asked, "192.0.2.1", {""})
            self.assertEqual((error.code, error.description), (errno.EINVAL, "Addres override not in format host:port"))

    def test_other_kinds(self) -> None:
        """A kind of address that somebody delivers to is stored as it is."""
        self.assertEqual(complete("x-msg://grid.emi.topic", "::1", {"", "x-msg"}), "x-msg://grid.emi.topic")

    def test_reached(self) -> None:
        """Brackets are for the port's sake only."""
        self.assertEqual(reached("[fe80::1%eth0]:1"), ("fe80::1%eth0", 1))
        self.assertEqual(reached("h.example:443"), ("h.example", 443))
