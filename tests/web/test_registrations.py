"""Pages about registrations: what C clients' scripts read of them, and who may see which."""

from __future__ import annotations

from html import unescape
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from lb.model import notifid
from lb.model.errors import forbidden, missing
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Operator
from lb.model.registration import Registration
from lb.security.identity import Identity
from lb.web.site import site
from lb.wire import http
from tests.server.fixture import OTHER, OWNER

STATE = tuple(Condition(Attribute.STATUS, Operator.EQUAL, state) for state in (6, 8))
TAG = (Condition(Attribute.USERTAG, Operator.UNEQUAL, "<b>", name="experiment"),)
CHANGED = (Condition(Attribute.STATUS, Operator.CHANGED, None),)
TIME = (Condition(Attribute.TIME, Operator.WITHIN, 1, 2, state=5),)


def made(unique: str, owner: str, *groups: Any, **more: Any) -> Registration:
    """A registration."""
    id_ = notifid.of_unique("localhost:9000", unique)
    return Registration(1, id_, owner, "127.0.0.1:45998", 1_795_425_907, groups=groups, **more)


OWN = made("own1", str(OWNER.name), STATE, TAG, CHANGED, TIME, jobs=(JobId("h", 1, "job1"),), flags=Flag.HISTORY)
SECOND = made("own2", str(OWNER.name))
FOREIGN = made("foreign", str(OTHER.name))


class Given:
    """Three registrations; OTHER is an administrator."""

    def sees_all(self, peer: Identity) -> bool:
        return peer is OTHER

    def listed(self, peer: Identity, *, own: bool = True, others: bool = False) -> list[Registration]:
        mine = [one for one in (OWN, SECOND, FOREIGN) if one.owner == peer.name]
        foreign = [one for one in (OWN, SECOND, FOREIGN) if one.owner != peer.name and peer is OTHER]
        return [*(mine if own else ()), *(foreign if others else ())]

    def one(self, peer: Identity, unique: str) -> Registration:
        for one in (OWN, SECOND, FOREIGN):
            if one.id.notification == unique:
                if one.owner != peer.name:
                    raise forbidden("You are not authorized to view details for this Notification ID.")
                return one
        raise missing("Notification ID not known.")

    def trouble(self, one: Registration) -> str | None:
        return "no <topic>" if one is SECOND else None


def get(address: str, peer: Identity = OWNER) -> http.Response:
    """The answer to a browser."""
    transport = StringTransport()
    nobody: Any = None
    channel = site(nobody, Clock(), lambda transport: peer, registrations=Given()).buildProtocol(None)
    channel.makeConnection(transport)
    channel.dataReceived(f"GET {address} HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\n\r\n".encode())
    (response,) = http.ResponseReader().feed(transport.value())
    return response


class RegistrationPages(SynchronousTestCase):
    """`/NOTIF` and `/NOTIF:<unique>`."""

    def test_list_as_text(self) -> None:
        """One line of unique parts, also for nobody's registrations (where the C server crashes)."""
        for address in ("/NOTIF?text", "/NOTIF:?text"):
            self.assertEqual(get(address).body, b"User_notifications=own1,own2\n")
        self.assertEqual(get("/NOTIF?text", Identity("/CN=x")).body, b"User_notifications=\n")

    def test_scopes(self) -> None:
        """P7: modifiers for all and foreign ones count for administrators only."""
        self.assertEqual(get("/NOTIF:?all?text").body, b"User_notifications=own1,own2\n")
        self.assertEqual(get("/NOTIF:?all?text", OTHER).body, b"User_notifications=foreign,own1,own2\n")
        self.assertEqual(get("/NOTIF:?foreign?text", OTHER).body, b"User_notifications=own1,own2\n")
        page = get("/NOTIF:?foreign", OTHER).body.decode()
        self.assertIn("Other users' notifications", unescape(page))
        self.assertIn('href="/NOTIF:?all"', page)
        self.assertNotIn("?all", get("/NOTIF:?foreign").body.decode())

    def test_list(self) -> None:
        """Each registration is a link to its page."""
        page = get("/NOTIF").body.decode()
        self.assertIn("Your notifications", page)
        self.assertIn("Total of 2", page)
        self.assertIn('href="/NOTIF:own1"', page)
        self.assertIn("No registrations found", get("/NOTIF", Identity("/CN=x")).body.decode())

    def test_one_as_text(self) -> None:
        """The lines of the C server, greater-than signs and values of tags put right."""
        self.assertEqual(
            get("/NOTIF:own1?text").body.decode(),
            "Notif_id=own1\nOwner=/C=CZ/O=LB Reference Test/CN=Test User\nDestination=127.0.0.1:45998\n"
            "Valid_until=2026-11-23 09:25:07\nFlags=history\nJob_id=job1\n"
            "Conditions= ( status = Done or status = Aborted ) and  ( experiment != <b> ) and  ( status -> )"
            " and  ( time Running within 1 and 2 )\n",
        )
        self.assertIn("Job_id=\nConditions=\n", get("/NOTIF:own2?text").body.decode())

    def test_one(self) -> None:
        """What tests of the C server look for is there, and nothing from outside becomes markup."""
        page = get("/NOTIF:own1").body.decode()
        self.assertRegex(page, r"Valid until:?</th><td>[0-9 :-]+</td>")
        self.assertIn("Notification own1", page)
        self.assertIn("experiment != &lt;b&gt;", page)

    def test_trouble(self) -> None:
        """What keeps a registration from being delivered is said, and nothing where there is no trouble."""
        self.assertIn("Conditions=\nTrouble=no <topic>\n", get("/NOTIF:own2?text").body.decode())
        self.assertIn("no &lt;topic&gt;", get("/NOTIF:own2").body.decode())
        self.assertNotIn("Not delivered", get("/NOTIF:own1").body.decode())

    def test_refused(self) -> None:
        """Unknown ones are 404, those of others 401, in the C server's words."""
        for address, status, words in (
            ("/NOTIF:nobody?text", 404, "Notification ID not known."),
            ("/NOTIF:foreign?text", 401, "You are not authorized to view details for this Notification ID."),
        ):
            response = get(address)
            self.assertEqual(response.status, status)
            self.assertIn(words, response.body.decode())
