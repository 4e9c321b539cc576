"""Events in JSON: what is written is read again, and nothing is guessed."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import TYPES, Source
from lb.model.errors import Code, LBError
from lb.model.event import Event
from lb.wire import ulm
from lb.wire.documents import event_document
from lb.wire.jsonevent import Defaults, read_event
from tests.wire_query.strategies import events, relaxed

DEFAULTS = Defaults(timestamp=1_700_000_000_000_000, host="wn1")
JOB = "https://localhost:9000/abc"
RUNNING = {"type": "Running", "jobId": JOB, "node": "wn1"}


def complete(event: Event) -> bool:
    """Whether an event has what its type needs; the others are none."""
    return all(a.name in event.attributes for a in event.type.attributes if a.mandatory)


class Reading(SynchronousTestCase):
    """Documents become events."""

    @given(events().filter(complete))
    @relaxed
    def test_written_is_read(self, event: Event) -> None:
        """What an event's document tells is in the event that is read of it, through real JSON."""
        event.level = event.level if event.level in (0, 2, 4, 6, 8) else 2
        event.priority = max(event.priority, 0)
        event.source = event.source or Source.LRMS
        event.src_instance = event.src_instance or ""
        document = msgspec.json.decode(msgspec.json.encode(event_document(event)))
        again = read_event(document, DEFAULTS)
        self.assertEqual(event_document(again), event_document(event))
        self.assertEqual(again.attributes, event.attributes)
        self.assertEqual((again.jobid, again.timestamp, again.source), (event.jobid, event.timestamp, event.source))

    def test_defaults(self) -> None:
        """Type and job suffice where the type needs nothing else: the rest is of now, of here, of an application."""
        event = read_event(RUNNING, DEFAULTS)
        self.assertEqual((event.timestamp, event.host, event.source), (DEFAULTS.timestamp, "wn1", Source.Application))
        self.assertIn("APP=000001", event.seqcode)
        self.assertEqual(ulm.parse(ulm.write(event)).attributes, {"node": "wn1"})

    def test_times(self) -> None:
        """Any ISO 8601 counts, in UTC where no zone is said."""
        for text in ("2026-11-25T09:30:00Z", "2026-11-25T09:30:00", "2026-11-25T10:30:00+01:00"):
            self.assertEqual(read_event({**RUNNING, "timestamp": text}, DEFAULTS).timestamp, 1_795_599_000_000_000)

    def test_refused(self) -> None:
        """What is no event is refused with a number and words that name the member."""
        for wrong, word, code in (
            ({"type": "Nonsense"}, "Nonsense", Code.EVENT_UNDEFINED),
            ({"type": None}, "type", Code.EVENT_UNDEFINED),
            ({"jobId": None}, "jobId", errno.EINVAL),
            ({"jobId": "ftp://x"}, "ftp", errno.EINVAL),
            ({"jobId": 3}, "jobId", errno.EINVAL),
            ({"nodes": "x"}, "nodes", errno.EINVAL),
            ({"node": 3}, "node", errno.EINVAL),
            ({"node": ""}, "node", errno.EINVAL),
            ({"timestamp": "yesterday"}, "timestamp", errno.EINVAL),
            ({"timestamp": "1969-12-31T23:59:59Z"}, "timestamp", errno.EINVAL),
            ({"timestamp": "9999-12-31T23:59:59-14:00"}, "timestamp", errno.EINVAL),
            ({"timestamp": 5}, "timestamp", errno.EINVAL),
            ({"level": "LOUD"}, "level", errno.EINVAL),
            ({"level": True}, "level", errno.EINVAL),
            ({"source": "Nobody"}, "source", errno.EINVAL),
            ({"priority": -1}, "priority", errno.EINVAL),
            ({"priority": 1 << 31}, "priority", errno.EINVAL),
        ):
            with self.assertRaises(LBError, msg=str(wrong)) as raised:
                ulm.write(read_event({**RUNNING, **wrong}, DEFAULTS))
            self.assertEqual(raised.exception.code, code, wrong)
            self.assertIn(word, raised.exception.description.replace("time ", "timestamp "))
        for document in (None, [], "x", 3):
            self.assertRaises(LBError, read_event, document, DEFAULTS)

    @given(
        st.sampled_from(TYPES),
        st.data(),
    )
    @relaxed
    def test_anything(self, type_: Any, data: st.DataObject) -> None:
        """P10: whatever JSON stands in a member, the answer is an event or an `LBError`."""
        scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
        values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)
        names = st.sampled_from(["timestamp", "level", "host", "source", *type_.by_name])
        document = {"type": type_.name, "jobId": JOB, **data.draw(st.dictionaries(names, values, max_size=4))}
        try:
            ulm.write(read_event(document, DEFAULTS))
        except LBError as error:
            self.assertIn(error.code, (errno.EINVAL, Code.EVENT_UNDEFINED))
