"""Error numbers and their texts (model.md §6.14)."""

from __future__ import annotations

import errno
import os

from twisted.trial.unittest import SynchronousTestCase

from lb.model import errors
from lb.model.errors import Code, LBError, text_of

TEXTS = {
    1401: "Broken ULM",
    1402: "Undefined event",
    1403: "Message incomplete",
    1404: "Duplicate ULM key",
    1405: "Misuse of ULM key",
    1406: "Warning: extra ULM fields",
    1407: "XML Parse error",
    1408: "Server response error",
    1409: "Bad JobId format",
    1410: "Database initialization failed",
    1411: "Database call failed",
    1412: "MD5 key clash",
    1413: "GSSAPI Error",
    1414: "DNS resolver error",
    1415: "No JobId specified in context",
    1416: "No indexed condition in query",
    1417: "LB server (bkserver,lbproxy) store protocol error",
    1418: "Interlogger internal error",
    1419: "Interlogger has events pending",
    1420: "Compared events differ",
    1421: "DB deadlock detected",
    1422: "DB connection lost",
    1423: "Background operation accepted",
}


class ErrorTests(SynchronousTestCase):
    """Numbers and texts."""

    def test_texts(self) -> None:
        """L&B's own numbers have the texts that peers print."""
        self.assertEqual({int(code): text_of(code) for code in Code}, TEXTS)

    def test_system_texts(self) -> None:
        """Numbers of the system have the system's texts."""
        for code in (errno.EPERM, errno.ENOENT, errno.EEXIST, errno.EINVAL):
            self.assertEqual(text_of(code), os.strerror(code))

    def test_unknown_numbers(self) -> None:
        """Any number of a peer has some text."""
        for code in (-1, 1400, 1424, 2**31, -(2**63), 10**30):
            self.assertIn(str(code), text_of(code))

    def test_shown(self) -> None:
        """An error shows its standard text and its description."""
        self.assertEqual(str(LBError(1401, "ULM parse error")), "Broken ULM (ULM parse error)")

    def test_makers(self) -> None:
        """Each maker of common errors gives its number."""
        for make, code in (
            (errors.invalid, errno.EINVAL),
            (errors.forbidden, errno.EPERM),
            (errors.missing, errno.ENOENT),
            (errors.exists, errno.EEXIST),
        ):
            made = make("why")
            self.assertEqual((made.code, made.description), (code, "why"))
