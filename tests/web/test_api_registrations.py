"""The JSON API: registrations for notifications."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.security.identity import ANONYMOUS
from tests.server.fixture import OTHER, OWNER
from tests.web.api import Served, document
from tests.web.test_registrations import FOREIGN, OWN, Given


class Registrations(SynchronousTestCase):
    """`/api/v1/registrations`."""

    def setUp(self) -> None:
        """OTHER is an administrator."""
        self.served = Served(Path(self.mktemp()))
        self.addCleanup(self.served.close)
        self.served.registrations = Given()
        self.served.api = self.served.make()

    def _ids(self, query: str = "", peer: Any = OWNER) -> list[str]:
        found = self.served.get(f"/registrations{query}", peer)["registrations"]
        return [each["id"].partition("NOTIF:")[2] for each in found]

    def test_scopes(self) -> None:
        """P7: one's own; those of others for administrators only, whatever is asked for."""
        self.assertEqual(self._ids(), ["own1", "own2"])
        self.assertEqual(self._ids("?scope=all"), ["own1", "own2"])
        self.assertEqual(self._ids("?scope=foreign"), [])
        self.assertEqual(self._ids("?scope=all", OTHER), ["foreign", "own1", "own2"])
        self.assertEqual(self._ids("?scope=foreign", OTHER), ["own1", "own2"])
        self.assertEqual(self.served.ask("GET", "/registrations", peer=ANONYMOUS).status, 401)
        for wrong in ("?scope=mine", "?limit=3", "?status=done"):
            self.assertEqual(document(self.served.ask("GET", f"/registrations{wrong}"), 400)["code"], errno.EINVAL)

    def test_one(self) -> None:
        """All that was registered is there, names for numbers."""
        found = self.served.get("/registrations/own1")
        self.assertEqual(found["id"], str(OWN.id))
        self.assertEqual((found["owner"], found["destination"]), (OWNER.name, "127.0.0.1:45998"))
        self.assertEqual((found["valid"], found["flags"]), ("2026-11-23T09:25:07.000000Z", ["history"]))
        self.assertEqual(found["jobs"], ["https://h:1/job1"])
        states, tag, changed, time = found["conditions"]
        self.assertEqual([each["value"] for each in states], ["Done", "Aborted"])
        self.assertEqual(tag, [{"attribute": "usertag", "name": "experiment", "operator": "unequal", "value": "<b>"}])
        self.assertEqual(changed, [{"attribute": "status", "operator": "changed"}])
        self.assertEqual((time[0]["state"], time[0]["value"], time[0]["value2"]), ("Running", 1, 2))

    def test_refused(self) -> None:
        """Others' registrations are refused, unknown ones missing; without notifications there are none."""
        self.assertEqual(document(self.served.ask("GET", "/registrations/foreign"), 403)["code"], errno.EPERM)
        self.assertEqual(self.served.get("/registrations/foreign", OTHER)["owner"], FOREIGN.owner)
        self.assertEqual(document(self.served.ask("GET", "/registrations/nosuch"), 404)["code"], errno.ENOENT)
        self.served.registrations = None
        self.served.api = self.served.make()
        self.assertEqual(document(self.served.ask("GET", "/registrations"), 501)["code"], errno.ENOSYS)
