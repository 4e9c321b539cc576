"""Job ids: every example of model.md §1 and §2, and what must never pass."""

from __future__ import annotations

import errno
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.errors import LBError
from lb.model.jobid import JobId

ACCEPTED = {
    "https://lb.example.org:9000/abc": JobId("lb.example.org", 9000, "abc"),
    "https://lb.example.org/abc": JobId("lb.example.org", 9000, "abc"),
    "https://lb.example.org:0/abc": JobId("lb.example.org", 9000, "abc"),
    "https://lb.example.org:/abc": JobId("lb.example.org", 9000, "abc"),
    "https://lb:12x/abc": JobId("lb", 12, "abc"),
    "https://lb:x/abc": JobId("lb", 9000, "abc"),
    "https://lb: +0000000012/abc": JobId("lb", 12, "abc"),
    "https://lb:00000000000000000000/abc": JobId("lb", 9000, "abc"),
    "https://lb:1/abc": JobId("lb", 1, "abc"),
    "https://lb:65535/abc": JobId("lb", 65535, "abc"),
    "https://lb:9000/a/b/c": JobId("lb", 9000, "a/b/c"),
    "https://lb:9000/abc?x=1": JobId("lb", 9000, "abc", "x=1"),
    "https://lb:9000/abc?": JobId("lb", 9000, "abc", ""),
    "https://lb:9000/abc?x y?z/": JobId("lb", 9000, "abc", "x y?z/"),
    "https://LB:9000/ABC": JobId("LB", 9000, "ABC"),
    "https://[2001:db8::1]:9000/abc": JobId("[2001:db8::1]", 9000, "abc"),
    "https://[2001:db8::1]/abc": JobId("[2001:db8::1]", 9000, "abc"),
    "https://2001:db8::1/abc": JobId("2001:db8:", 1, "abc"),
    "https://lb:\u0661/abc": JobId("lb", 9000, "abc"),
    "https://lb:9000/FT:UhTP9w9K7bw4LiDTfm4hoA": JobId("lb", 9000, "FT:UhTP9w9K7bw4LiDTfm4hoA"),
}

REFUSED = (
    "",
    "https://",
    "https://lb.example.org",
    "https://lb.example.org/",  # no unique part: nothing could find the job
    "https://lb.example.org/?x",
    "https:///x",
    "https://:9000/x",
    "https://lb:65536/abc",
    "https://lb:99999/abc",
    "https://lb:-1/abc",
    "https://lb:" + "9" * 5000 + "/abc",
    "HTTPS://lb/abc",
    "http://lb/abc",
    " https://lb/abc",
    "https://lb/a b",
    "https://l b/ab",
    *(f"https://lb/a{space}b" for space in "\t\n\v\f\r"),
)

SUBJOBS = {
    None: ("7-31F2bdWH6EFPUMCk4ztg", "HAg6RvQjgtTZSJX3BTXpnA", "t8S8FiI9gc9migNDX9zr5Q"),
    "": ("7-31F2bdWH6EFPUMCk4ztg", "HAg6RvQjgtTZSJX3BTXpnA", "t8S8FiI9gc9migNDX9zr5Q"),
    "WMPROXY": ("gvgeDv97YRG7G6duuHl8qA", "UhTP9w9K7bw4LiDTfm4hoA", "ow5jfBJLPduUY5ju3PB58Q"),
}


class ParseTests(SynchronousTestCase):
    """Reading ids."""

    def test_accepted(self) -> None:
        """Every form that a peer sends reads as the specification says."""
        for text, expected in ACCEPTED.items():
            with self.subTest(text):
                self.assertEqual(jobid.parse(text), expected)
                self.assertEqual(jobid.parse_cached(text), expected)

    def test_canonical(self) -> None:
        """The canonical text always names the port and reads as the same id."""
        for text, expected in ACCEPTED.items():
            with self.subTest(text):
                info = "" if expected.info is None else f"?{expected.info}"
                canonical = f"https://{expected.host}:{expected.port}/{expected.unique}{info}"
                self.assertEqual(jobid.canonical(text), canonical)
                self.assertEqual(jobid.parse(canonical), expected)
                self.assertEqual(expected.server, f"{expected.host}:{expected.port}")

    def test_refused(self) -> None:
        """What is no id is EINVAL, and null as the value of an attribute."""
        for text in REFUSED:
            with self.subTest(text[:40]):
                error = self.assertRaises(LBError, jobid.parse, text)
                self.assertEqual(error.code, errno.EINVAL)
                self.assertLess(len(error.description), 400)
                self.assertIsNone(jobid.canonical(text))

    def test_long_texts_are_not_remembered(self) -> None:
        """An id of a megabyte is read, and does not stay in memory for it (P10)."""
        before = jobid._cached.cache_info().currsize
        self.assertEqual(len(jobid.parse_cached("https://lb/" + "u" * 1_000_000).unique), 1_000_000)
        self.assertEqual(jobid._cached.cache_info().currsize, before)

    @given(st.text())
    @settings(deadline=None)
    def test_nothing_but_refusals(self, text: str) -> None:
        """Any text is an id that survives its canonical form, or EINVAL."""
        for candidate in (text, f"https://{text}", f"https://lb/{text}", f"https://lb:{text}/u"):
            try:
                found = jobid.parse(candidate)
            except LBError as error:
                self.assertEqual(error.code, errno.EINVAL)
            else:
                self.assertEqual(jobid.parse(str(found)), found)


class CreateTests(SynchronousTestCase):
    """Making ids."""

    def test_alphabet(self) -> None:
        """Sixteen bytes become 22 characters as in the C library."""
        for source, expected in ((b"", "1B2M2Y8AsgTpgAmY7PhCfg"), (b"abc", "kAFQmDzST7DWlj99KOF_cg")):
            digest = hashlib.md5(source, usedforsecurity=False).digest()
            self.assertEqual(jobid.random_unique(lambda size, digest=digest: digest[:size]), expected)

    def test_server(self) -> None:
        """The server's port is kept, none and 0 mean 9000, and an IPv6 address stays whole."""
        for server, expected in (
            ("lb", ("lb", 9000)),
            ("lb:0", ("lb", 9000)),
            ("lb:9100", ("lb", 9100)),
            ("[2001:db8::1]", ("[2001:db8::1]", 9000)),
            ("[2001:db8::1]:9100", ("[2001:db8::1]", 9100)),
        ):
            with self.subTest(server):
                made = jobid.create(server)
                self.assertEqual((made.host, made.port), expected)
                self.assertEqual(len(made.unique), 22)
                self.assertEqual(jobid.parse(str(made)), made)
        self.assertNotEqual(jobid.create("lb").unique, jobid.create("lb").unique)

    def test_refused(self) -> None:
        """A scheme, a path, white space, a bad port or an empty part make no id."""
        for server, unique in (
            ("https://lb", None),
            ("", None),
            ("lb/x", None),
            ("l b", None),
            ("lb:70000", None),
            ("lb", ""),
            ("lb", "a b"),
            ("lb", "a?b"),
        ):
            with self.subTest(f"{server} {unique}"):
                error = self.assertRaises(LBError, jobid.create, server, unique)
                self.assertEqual(error.code, errno.EINVAL)

    def test_subjobs(self) -> None:
        """Ids of subjobs are those that every client and server derives; the parent's info is dropped."""
        parent = jobid.parse("https://lb:9000/abc?info")
        for seed, uniques in SUBJOBS.items():
            with self.subTest(str(seed)):
                found = list(jobid.subjobs(parent, 3, seed))
                self.assertEqual(found, [JobId("lb", 9000, unique) for unique in uniques])

    def test_no_subjobs(self) -> None:
        """A count below one is refused at once, not when the first id is asked for."""
        for count in (0, -1):
            error = self.assertRaises(LBError, jobid.subjobs, JobId("lb", 9000, "abc"), count)
            self.assertEqual(error.code, errno.EINVAL)

    def test_subjobs_on_demand(self) -> None:
        """A count of two thousand millions costs nothing before the ids are asked for (P10)."""
        self.assertEqual(next(jobid.subjobs(JobId("lb", 9000, "abc"), 2**31 - 1)).unique, SUBJOBS[None][0])


class NotificationTests(SynchronousTestCase):
    """Notification ids."""

    def test_unique(self) -> None:
        """The unique part of a notification is what follows the first colon."""
        for text, expected in (
            ("https://lb.example.org:9000/NOTIF:EchupjlesJpXW86yO9i_rA", "EchupjlesJpXW86yO9i_rA"),
            ("https://lb:9000/x:a:b", "a:b"),
        ):
            self.assertEqual(jobid.parse(text).notification, expected)

    def test_no_notification(self) -> None:
        """Without a colon it is EINVAL."""
        error = self.assertRaises(LBError, lambda: jobid.parse("https://lb:9000/abc").notification)
        self.assertEqual(error.code, errno.EINVAL)

    def test_made(self) -> None:
        """A notification id is a job id with its prefix."""
        made = jobid.create("lb", jobid.NOTIFICATION_PREFIX + jobid.random_unique())
        self.assertEqual(len(made.notification), 22)
