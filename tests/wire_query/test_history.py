"""Histories as JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import BY_NAME, TYPES, Kind
from lb.model.errors import Code, LBError, ParseError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.wire.history import read_history, write_history
from lb.wire.lbxml import results
from tests.wire_query.exchanges import answers
from tests.wire_query.strategies import events, relaxed

JOB = JobId("lb.example.org", 9000, "a")
BARE = {"type": "Done", "jobId": str(JOB)}


class HistoryTests(SynchronousTestCase):
    def test_layout(self) -> None:
        """Layout, order of members and nulls are those of the C server."""
        done = Event(
            BY_NAME["Done"],
            JOB,
            timestamp=1_400_000_000_001_234,
            host="h",
            source=7,
            seqcode="s",
            user="/CN=x",
            attributes={"status_code": 1, "exit_code": 0},
        )
        text = (
            '{\n  "type" : "Done",\n  "timestamp" : "20140513165320.001234",\n  "arrived" : null,\n  "host" : "h",\n'
            '  "level" : "SYSTEM",\n  "priority" : 0,\n  "jobId" : "https://lb.example.org:9000/a",\n'
            '  "seqcode" : "s",\n  "user" : "/CN=x",\n  "source" : "LRMS",\n  "src_instance" : "",\n'
            '  "status_code" : "OK",\n  "reason" : null,\n  "exit_code" : 0\n}'
        )
        self.assertEqual(write_history([done]), f"[\n{text}\n]")
        self.assertEqual(write_history([done, done]), f"[\n{text},\n{text}\n]")
        self.assertEqual(write_history([]), "[]")

    def test_escaping(self) -> None:
        """Text is escaped as JSON wants it, other letters stay as they are."""
        tag = Event(BY_NAME["UserTag"], JOB, timestamp=1, host="h", source=1, seqcode="s", user=None)
        tag.attributes["value"] = 'a"b\\c\n\t\x01é\x7f'
        self.assertIn('"value" : "a\\"b\\\\c\\n\\t\\u0001é\x7f"', write_history([tag]))

    def test_nulls(self) -> None:
        """Absent values are null, but whole and real numbers are always there."""
        bare = [Event(type_, JOB, timestamp=1, host="", source=0, seqcode="", user=None) for type_ in TYPES]
        members = {name: member for event in json.loads(write_history(bare)) for name, member in event.items()}
        self.assertIsNone(members["svc_port"])
        self.assertIsNone(members["resources"])
        self.assertIsNone(members["orig_timestamp"])
        self.assertEqual((members["quantity"], members["oldstate"]), (0.0, -1))

    def test_recorded(self) -> None:
        """Recorded events survive a history."""
        for document in answers(b"edg_wll_QueryEventsResult"):
            recorded = results.read_events(document).events
            self.assertEqual(read_history(write_history(recorded)), recorded)

    def test_every_attribute(self) -> None:
        """Every attribute of every type survives a history and an answer."""
        samples = {
            Kind.STRING: "x",
            Kind.INT: 7,
            Kind.PORT: 9000,
            Kind.DOUBLE: 0.5,
            Kind.LOGSRC: 7,
            Kind.JOBID: str(JOB),
            Kind.NOTIFID: "https://h:9000/NOTIF:a",
            Kind.TIMEVAL: 1_000_001,
            Kind.TAGLIST: (("a", "1"), ("b", "2")),
        }
        full = [Event(type_, JOB, timestamp=1, host="h", source=1, seqcode="s", user="u") for type_ in TYPES]
        for event in full:
            event.attributes = {a.name: samples.get(a.kind, max(a.names, default=0)) for a in event.type.attributes}
        self.assertEqual(read_history(write_history(full)), full)
        self.assertEqual(results.read_events(b"".join(results.write_events(full))).events, full)

    def test_unknown_codes(self) -> None:
        """Numbers without a name are written as null, like what is not given."""
        done = Event(BY_NAME["Accepted"], JOB, timestamp=1, host="h", source=99, seqcode="s", user=None, level=99)
        done.attributes["from"] = 99
        [members] = json.loads(write_history([done]))
        self.assertEqual((members["source"], members["level"], members["from"]), (None, None, None))

    @relaxed
    @given(st.lists(events(), max_size=4))
    def test_round_trip(self, given_events: list[Event]) -> None:
        """Any events come back as they were, and the text is JSON to others too."""
        text = write_history(given_events)
        self.assertEqual(read_history(text), given_events)
        self.assertEqual(len(json.loads(text)), len(given_events))

    def test_undefined(self) -> None:
        """An undefined event is passed over; empty text is null."""
        self.assertEqual(read_history("[{}]"), [])
        [done] = read_history(json.dumps([{**BARE, "reason": "", "exit_code": -1, "status_code": "nonsense"}]))
        self.assertEqual(done.attributes, {})

    def test_malformed(self) -> None:
        """What is no history is refused with an error of the protocol."""
        cases: list[object] = [
            {},
            [1],
            [{**BARE, "jobId": "x"}],
            [{**BARE, "jobId": 5}],
            [{"type": "Done"}],
            [{**BARE, "timestamp": "yesterday"}],
            [{**BARE, "priority": "high"}],
            [{**BARE, "exit_code": 1.5}],
            [{**BARE, "host": "\ud800"}],
            [{**BARE, "type": "ResourceUsage", "quantity": "much"}],
            [{**BARE, "type": "ResourceUsage", "quantity": 10**400}],
            [{**BARE, "type": "ResourceUsage", "quantity": float("nan")}],
        ]
        for text in [json.dumps(case) for case in cases] + ["", "[", "[" * 100_000, "nonsense", "[" + "1" * 5000 + "]"]:
            error = self.assertRaises(ParseError, read_history, text)
            self.assertEqual(error.code, Code.SERVER_RESPONSE)
        for name in ("News", None):
            error = self.assertRaises(ParseError, read_history, json.dumps([{**BARE, "type": name}]))
            self.assertEqual(error.code, Code.EVENT_UNDEFINED)

    _members = st.sampled_from(
        ["type", "jobId", "timestamp", "level", "priority", "source", "status_code", "exit_code", "reason", "quantity"]
    )
    _json = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=1)

    @relaxed
    @given(st.dictionaries(_members, _json, max_size=4), st.sampled_from(["Done", "ResourceUsage"]))
    def test_anything(self, members: dict[str, object], type_: str) -> None:
        """Members of any JSON type give events or an error of the protocol."""
        try:
            read_history(json.dumps([{**BARE, "type": type_, **members}]))
        except LBError as error:
            self.assertIn(error.code, (Code.SERVER_RESPONSE, Code.EVENT_UNDEFINED))
