"""How a site says what is to be registered for it."""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.query import Attribute, Flag
from lb.server.notify.keeper import Site
from lb.server.notify.siteoption import read_sites
from tests.notify.registrations import equal


class Reading(SynchronousTestCase):
    """Texts of the option."""

    def test_read(self) -> None:
        """Name, destination, conditions and flags are as in addresses of pages."""
        self.assertEqual(
            read_sites(["all=h.example:9100", "ends=[::1]:1?query=status=Done|=Aborted&owner=/CN=a?flags=history"], 0),
            [
                Site("all", "h.example:9100"),
                Site(
                    "ends",
                    "[::1]:1",
                    (equal(Attribute.STATUS, 6, 8), equal(Attribute.OWNER, "/CN=a")),
                    Flag.HISTORY,
                ),
            ],
        )

    def test_mistakes(self) -> None:
        """What is wrong is named with the text it is in."""
        for texts in (["x"], ["x=h"], ["x=:1"], ["x y=h:1"], ["a=h:1?query=nothing=1"], ["a=x-msg://t"], ["a=h:1"] * 2):
            error = self.assertRaises(LBError, read_sites, texts, 0)
            self.assertEqual(error.code, errno.EINVAL)
            self.assertTrue(error.description.startswith(texts[0]), error.description)
