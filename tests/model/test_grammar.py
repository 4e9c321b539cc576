"""The grammar of conditions in addresses (wire-web.md §4): every attribute, every operator, every error."""

from __future__ import annotations

import errno

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.grammar import read_query
from lb.model.jobid import parse
from lb.model.query import Attribute, Condition, Flag, Operator, Query
from lb.model.status import JobType, State

NOW = 1_800_000_000
JOB = "https://lb.example.org:9000/abc"
EQ, LESS, MORE, NOT = Operator.EQUAL, Operator.LESS, Operator.GREATER, Operator.UNEQUAL

READ = {
    "status=running": [[(Attribute.STATUS, EQ, State.Running)]],
    "status=scheduled|=running": [[(Attribute.STATUS, EQ, State.Scheduled), (Attribute.STATUS, EQ, State.Running)]],
    "STATUS=Done": [[(Attribute.STATUS, EQ, State.Done)]],
    "status<>done|><aborted": [[(Attribute.STATUS, NOT, State.Done), (Attribute.STATUS, NOT, State.Aborted)]],
    "lastupdatetime>past2592000": [[(Attribute.LASTUPDATETIME, MORE, NOW - 2_592_000)]],
    "stateentertime<1577836800": [[(Attribute.STATEENTERTIME, LESS, 1_577_836_800)]],
    "lastupdatetime>last3600&owner=/C=CZ/O=LB Test/CN=Test User": [
        [(Attribute.LASTUPDATETIME, MORE, NOW - 3600)],
        [(Attribute.OWNER, EQ, "/C=CZ/O=LB Test/CN=Test User")],
    ],
    # A plain number after a relative one is no less absolute.
    "lastupdatetime>last3600|>1577836800": [
        [(Attribute.LASTUPDATETIME, MORE, NOW - 3600), (Attribute.LASTUPDATETIME, MORE, 1_577_836_800)]
    ],
    f"jobid={JOB}|={JOB}2": [[(Attribute.JOBID, EQ, parse(JOB)), (Attribute.JOBID, EQ, parse(f"{JOB}2"))]],
    f"parent_job={JOB}": [[(Attribute.PARENT, EQ, parse(JOB))]],
    "jobtype=collection": [[(Attribute.JOB_TYPE, EQ, JobType.COLLECTION)]],
    "vm_status=vm_running": [[(Attribute.VM_STATUS, EQ, 2)]],
    "donecode=-1": [[(Attribute.DONECODE, EQ, -1)]],
    "exitcode<>0": [[(Attribute.EXITCODE, NOT, 0)]],
    "resubmitted=1": [[(Attribute.RESUBMITTED, EQ, 1)]],
    "owner=NULL": [[(Attribute.OWNER, EQ, "NULL")]],
    "destination=ce/queue=1>2": [[(Attribute.DESTINATION, EQ, "ce/queue=1>2")]],
    "networkserver=x": [[(Attribute.NETWORK_SERVER, EQ, "x")]],
    "location= a ": [[(Attribute.LOCATION, EQ, " a ")]],
}

REFUSED = {
    "status": 'Missing operator in condition "status"',
    "status=done&": 'Missing operator in condition ""',
    "bogus=1": 'Unknown argument "bogus" in query',
    "status=done|aborted": 'Missing operator before "aborted"',
    "owner=": 'No value given for attribute "owner"',
    "owner==a": 'Unknown operator "==" in query',
    "owner=a|<=b": 'Unknown operator "<=" in query',
    "jobid=x": 'Cannot parse jobid "x" in query',
    "status=Bogus": 'Unknown job state "Bogus" in query',
    "status=5": 'Unknown job state "5" in query',
    "jobtype=x": 'Unknown job type "x" in query',
    "vm_status=x": 'Unknown VM job state "x" in query',
    "donecode=x": 'Cannot parse numeric value "x" for attribute donecode in query',
    "exitcode=12x": 'Cannot parse numeric value "12x" for attribute exitcode in query',
    "lastupdatetime>lastx": 'Cannot parse numeric value "lastx" for attribute lastupdatetime in query',
    "donecode=1000000000000000000": 'Numeric value "1000000000000000000" for attribute donecode in query exceeds range',
}


class Reading(SynchronousTestCase):
    """Texts to queries."""

    def test_conditions(self) -> None:
        """Groups are joined by AND, alternatives by OR; values are read by their attribute's type."""
        for text, groups in READ.items():
            expected = tuple(tuple(Condition(*condition) for condition in group) for group in groups)
            self.assertEqual(read_query(text, NOW), Query(jobs=expected), text)

    def test_flags(self) -> None:
        """Flags come from beside the query and go with it."""
        self.assertEqual(read_query("status=done", NOW, Flag.CHILDREN).flags, Flag.CHILDREN)

    def test_errors(self) -> None:
        """What is wrong is said in the words of the protocol."""
        for text, description in REFUSED.items():
            error = self.assertRaises(LBError, read_query, text, NOW)
            self.assertEqual((error.code, error.description), (errno.EINVAL, description), text)

    def test_not_supported(self) -> None:
        """Attributes that no value can be read for are refused as not supported."""
        for name in ("level", "type", "chkpt_tag", "LEVEL"):
            error = self.assertRaises(LBError, read_query, f"{name}=1", NOW)
            self.assertEqual(error.code, errno.ENOSYS)
            self.assertEqual(
                error.description,
                f'Value conversion for attribute "{name}" not supported in current implementation',
            )

    def test_useless(self) -> None:
        """Attributes that need a name or belong to events are understood and refused."""
        for text in ("time>1", "usertag=a", "jdl=a", "host=a", "instance=a", "source=UserInterface"):
            self.assertEqual(self.assertRaises(LBError, read_query, text, NOW).code, errno.EINVAL, text)

    @given(
        st.text(max_size=40)
        | st.lists(
            st.sampled_from(["status", "owner", "lastupdatetime", "=", "<", ">", "|", "&", "past", "9", "done"])
        ).map("".join)
    )
    @settings(deadline=None)
    def test_anything(self, text: str) -> None:
        """Any text is a query or is refused as one (P10)."""
        try:
            query = read_query(text, NOW)
        except LBError as error:
            self.assertIn(error.code, (errno.EINVAL, errno.ENOSYS))
        else:
            self.assertEqual(len(query.jobs), text.count("&") + 1)
