"""What brokers carry of a state: the C plugin's object member for member, CloudEvents, headers."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.status import JobStatus, State
from lb.wire import brokerstate
from lb.wire.brokerstate import Format, cloud_event, headers, tell

JOB = "https://lb.example.org:9000/D1qbFGwvXLnd927JOcja1Q"
REGISTRATION = "https://lb.example.org:9000/NOTIF:tOsgB19Wz-M884anZufyUw"
AT = 1_400_000_000_000_000
#: The example of wire-notification.md §5.2.
DONE = JobStatus(
    state=State.Done,
    jobId=JOB,
    owner="/C=CZ/O=X/CN=A",
    jdl='[ VirtualOrganisation = "voce"; ]',
    network_server="https://wms.example.org:7443/glite_wms_wmproxy_server",
    lastUpdateTime=AT,
    stateEnterTime=AT,
    condorId="12345",
    destination="ce1:2119/queue",
    done_code=0,
    reason='finished "ok"',
)
BODY = (
    '{"jobid" : "https://lb.example.org:9000/D1qbFGwvXLnd927JOcja1Q", "ownerDn" : "/C=CZ/O=X/CN=A", '
    '"VirtualOrganisation" : "voce", "bkHost" : "lb.example.org", '
    '"networkHost" : "https://wms.example.org:7443/glite_wms_wmproxy_server", '
    '"lastUpdateTime" : "2014-05-13T16:53:20Z", "stateName" : "Done", "stateStartTime" : "2014-05-13T16:53:20Z", '
    '"condorId" : "12345", "destSite" : "ce1:2119/queue", "exitCode" : 0, "doneCode" : 0, '
    '"statusReason" : "finished \\"ok\\""}'
)


class BodyTests(SynchronousTestCase):
    """Bodies and headers, byte by byte."""

    def test_as_the_c_plugin(self) -> None:
        """A state with everything is the C plugin's object, with its order and its blanks."""
        self.assertEqual(tell(DONE).body, BODY)

    def test_missing(self) -> None:
        """A member without a source is left out; the two codes never are."""
        self.assertEqual(tell(JobStatus()).body, '{"stateName" : "Undefined", "exitCode" : 0, "doneCode" : -1}')

    def test_history(self) -> None:
        """The history is an array within the object, as it is written elsewhere."""
        history = '[\n{\n  "type" : "RegJob"\n}\n]'
        told = tell(msgspec.structs.replace(DONE, history=history))
        self.assertEqual(told.body, f'{BODY[:-1]}, "history" : {history}}}')

    @given(st.text(max_size=30), st.binary(max_size=20))
    def test_any_text(self, text: str, binary: bytes) -> None:
        """lb-test-notif-msg 4: whatever a state holds, characters or bytes, the body is JSON that says the same."""
        reason = text.encode("utf-8", "replace").decode() + binary.decode("utf-8", "surrogateescape")
        told = tell(JobStatus(owner=reason, destination=reason, reason=reason, condorId=reason))
        read = json.loads(told.body.encode("utf-8"))
        clean = reason.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self.assertEqual({read[name] for name in ("ownerDn", "destSite", "statusReason", "condorId")}, {clean})

    def test_times_beyond_calendars(self) -> None:
        """A time that no calendar holds is left out, and stops nothing."""
        self.assertNotIn("lastUpdateTime", json.loads(tell(JobStatus(lastUpdateTime=1 << 62)).body))

    def test_cloud_event(self) -> None:
        """A CloudEvent has the attributes that version 1.0 demands, and the C plugin's object as its data."""
        read = json.loads(cloud_event(tell(DONE), REGISTRATION, 17))
        self.assertEqual(read.pop("data"), json.loads(BODY))
        self.assertEqual(
            read,
            {
                "specversion": "1.0",
                "id": "17",
                "source": REGISTRATION,
                "type": brokerstate.EVENT_TYPE,
                "subject": JOB,
                "time": "2014-05-13T16:53:20Z",
                "datacontenttype": "application/json",
                "jobstate": "Done",
                "sequence": "00000000000000000017",
            },
        )

    def test_headers(self) -> None:
        """Job, state, owner, registration and number can be read without the body; the C plugin's property is there."""
        told = tell(DONE)
        plain = {
            "lb-job": JOB,
            "lb-state": "Done",
            "lb-owner": "/C=CZ/O=X/CN=A",
            "lb-notification": REGISTRATION,
            "lb-sequence": "17",
        }
        self.assertEqual(headers(told, REGISTRATION, 17, Format.CLOUDEVENTS), plain)
        self.assertEqual(headers(told, REGISTRATION, 17, Format.PLAIN), {**plain, "Content-type": "text/javascript"})
