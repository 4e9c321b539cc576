"""Several people and many jobs over the whole way: who may read and tag, whose the payload is, what arrives of whom."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lb.client.blocking import Client
from lb.client.settings import Address
from lb.model import jobid
from lb.model.catalogue import BY_NAME, Source
from lb.model.errors import LBError
from lb.model.event import Event, Value
from lb.model.jobid import JobId
from lb.model.seqcode import Sequence
from lb.model.status import JobStatus, State
from lb.security import pki
from lb.security.credentials import Credential
from tests.processes.daemon import PATIENCE
from tests.processes.house import House
from tests.security.grid import Holder

EMPTY_ACL = '<?xml version="1.0"?><gacl version="0.9.0"></gacl>'
READ, TAG, ADD, REMOVE, OK, DONE_OK = (
    BY_NAME[type_].by_name[attribute].codes[name]
    for type_, attribute, name in (
        ("ChangeACL", "permission", "READ"),
        ("ChangeACL", "permission", "TAG"),
        ("ChangeACL", "operation", "ADD"),
        ("ChangeACL", "operation", "REMOVE"),
        ("Transfer", "result", "OK"),
        ("Done", "status_code", "OK"),
    )
)

#: What happens to a simple job, and its state after each step.
LIFE: tuple[tuple[Source, str, dict[str, Value], State], ...] = (
    (Source.NetworkServer, "Accepted", {"from": Source.UserInterface, "from_host": "ui"}, State.Waiting),
    (Source.NetworkServer, "EnQueued", {"queue": "q", "result": OK}, State.Waiting),
    (Source.WorkloadManager, "DeQueued", {"queue": "q"}, State.Waiting),
    (Source.WorkloadManager, "HelperCall", {"helper_name": "broker", "src_role": 1}, State.Waiting),
    (Source.WorkloadManager, "Match", {"dest_id": "ce"}, State.Waiting),
    (Source.WorkloadManager, "HelperReturn", {"helper_name": "broker", "src_role": 1}, State.Waiting),
    (Source.WorkloadManager, "EnQueued", {"queue": "jc", "result": OK}, State.Ready),
    (Source.JobController, "DeQueued", {"queue": "jc"}, State.Ready),
    (
        Source.JobController,
        "Transfer",
        {"destination": Source.LogMonitor, "dest_host": "h", "job": "j", "result": OK},
        State.Ready,
    ),
    (Source.LogMonitor, "Accepted", {"from": Source.JobController, "from_host": "h"}, State.Ready),
    (
        Source.LogMonitor,
        "Transfer",
        {"destination": Source.LRMS, "dest_host": "lrms", "job": "j", "result": OK},
        State.Scheduled,
    ),
    (Source.LogMonitor, "Running", {"node": "wn"}, State.Running),
    (Source.LogMonitor, "Done", {"status_code": DONE_OK, "exit_code": 0}, State.Done),
    (Source.LogMonitor, "Clear", {"reason": 1}, State.Cleared),
)


class People(House):
    """The owner of jobs, and another user who comes with a proxy certificate, each with a client."""

    def setUp(self) -> None:
        super().setUp()
        directory = self.state / "pki"
        self.owner = self.client(Credential(directory / "user.pem", directory / "user.key"))
        self.other = self.client(self.proxy(pki.issue(directory, "other"), directory))
        self.job, self.code = self.registered()

    def proxy(self, credential: Credential, directory: Path) -> Credential:
        certificate = x509.load_pem_x509_certificate(credential.certificate.read_bytes())
        key = load_pem_private_key(credential.key.read_bytes(), password=None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return Holder(certificate, key).proxy().save_proxy(directory / "proxy.pem")

    def client(self, credential: Credential) -> Client:
        client = Client(
            environ={},
            explicit={
                "logger": Address("localhost", self.logger_port),
                "query_server": Address("localhost", self.port),
            },
            certificate=credential.certificate,
            key=credential.key,
            authorities=self.state / "pki/ca",
        )
        self.addCleanup(client.close)
        return client

    def registered(self) -> tuple[JobId, str]:
        """A new job, and the sequence code for its first event."""
        job = jobid.create(f"localhost:{self.port}")
        return job, self.owner.register(job)

    def log(self, client: Client, name: str, /, **attributes: Value) -> Event:
        """Log an event of the job, by way of the logger."""
        make = client.session.producer.new_event
        event = make(BY_NAME[name], self.job, Source.UserInterface, self.code, attributes)
        client.log(event)
        return event

    def change(self, user: str | None, permission: int, operation: int) -> None:
        """Change the ACL of the job as its owner, and wait until the server has done so."""
        make = self.owner.session.producer.new_event
        attributes: dict[str, Value] = {
            "user_id": user or "",
            "user_id_type": 0,  # DN
            "permission": permission,
            "permission_type": 0,  # ALLOW
            "operation": operation,
        }
        event = make(BY_NAME["ChangeACL"], self.job, Source.UserInterface, self.code, attributes)
        self.owner.log(event, synchronous=True)

    def until(self, done: Callable[[JobStatus], bool], job: JobId | None = None) -> JobStatus:
        """The state of a job as soon as it is as it should be, else the last one."""
        give_up = monotonic() + PATIENCE
        while True:
            status = self.owner.status(job or self.job)
            if done(status) or monotonic() > give_up:
                return status

    def assert_code(self, code: int, function: Callable[..., Any], *arguments: Any) -> None:
        with self.assertRaises(LBError) as raised:
            function(*arguments)
        self.assertEqual(raised.exception.code, code)

    def tags(self, status: JobStatus) -> list[str]:
        return [name for name, _ in status.user_tags or ()]

    def test_acl(self) -> None:
        """lb-test-changeacl, lb-test-acl-authz, P7: others read and tag a job as its ACL says, in their own name."""
        name = self.other.session.producer.identity
        self.assertEqual(name, "/O=LB Development/CN=other")
        self.assert_code(errno.EPERM, self.other.status, self.job)
        self.log(self.other, "UserTag", name="early", value="1")
        users = name, "/O=Test/CN=third"
        for user in users:
            self.change(user, READ, ADD)
        self.assertEqual(self.other.status(self.job).state, State.Submitted)
        self.change(name, TAG, ADD)
        acl = self.owner.status(self.job).acl or ""
        for user in users:
            escaped = user.replace(" ", "+")
            self.assertIn(f"<entry><cred><auri>dn:{escaped}</auri></cred><allow><read/></allow></entry>", acl)
        self.assertIn("<allow><write/></allow>", acl)
        self.log(self.other, "UserTag", name="late", value="2")
        self.assertEqual(self.tags(self.until(lambda status: "late" in self.tags(status))), ["late"])
        for user, permission in ((users[0], READ), (users[1], READ), (users[0], TAG)):
            self.change(user, permission, REMOVE)
        self.assertEqual(self.owner.status(self.job).acl, EMPTY_ACL)
        self.assert_code(errno.EPERM, self.other.status, self.job)
        self.assertIn(b"check_auth()", self.quarantined())

    def test_payload(self) -> None:
        """lb-test-switch-owner, P7: whom the owner grants the payload, and who takes it, reads the job and tags it."""
        name = self.other.session.producer.identity
        self.log(self.owner, "GrantPayloadOwnership", payload_owner=name)
        self.log(self.other, "TakePayloadOwnership")
        self.until(lambda status: status.payload_owner is not None)
        self.assertEqual(self.other.status(self.job).payload_owner, name)
        self.log(self.other, "UserTag", name="mine", value="1")
        self.assertEqual(self.tags(self.until(lambda status: bool(self.tags(status)))), ["mine"])

    def test_many_jobs(self) -> None:
        """lb-l2 1 to 4, P2, P4: of jobs logged while the server is away each has its events in order, and its state."""
        chance = Random(20)
        lives = {}
        for _ in range(20):
            job, code = self.registered()
            lives[job] = code, chance.randrange(1, len(LIFE) + 1)
        self.server.stop()
        for job, (code, steps) in lives.items():
            for source, name, attributes, _ in LIFE[:steps]:
                sequence = Sequence(source, code=code)
                sequence.increment()  # it takes the job over
                self.owner.log(
                    self.owner.session.producer.new_event(BY_NAME[name], job, source, sequence.text, attributes)
                )
                sequence.increment()
                code = sequence.text
        self.server.start()
        for job, (_, steps) in lives.items():
            state = LIFE[steps - 1][3]
            names = ["RegJob", *(name for _, name, _, _ in LIFE[:steps])]
            give_up = monotonic() + PATIENCE
            while len(events := self.owner.events(job)) < len(names) and monotonic() < give_up:
                pass
            self.assertEqual([event.type.name for event in events], names)
            self.assertEqual(self.until(lambda status, wanted=state: status.state == wanted, job).state, state)

    def test_revoked(self) -> None:
        """P7: a user revoked while the daemons run is refused by both, with a line in their logs; others are not."""
        directory = self.state / "pki"
        self.log(self.other, "UserTag", name="a", value="1")
        certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        key = load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
        assert isinstance(key, EllipticCurvePrivateKey)
        authority = Holder(certificate, key)
        other = x509.load_pem_x509_certificate((directory / "other.pem").read_bytes())
        (directory / f"ca/{authority.hash}.r0").write_bytes(authority.crl(Holder(other, key)))
        for daemon in (self.logger, self.server):
            give_up = monotonic() + PATIENCE
            while "cert revoked" not in daemon.log.read_text() and monotonic() < give_up:
                again = self.client(Credential(directory / "proxy.pem", directory / "proxy.pem"))
                try:
                    if daemon is self.logger:
                        self.log(again, "UserTag", name="a", value="1")
                    else:
                        again.status(self.job)
                except LBError:
                    continue
            self.assertIn("cert revoked: certificate /O=LB Development/CN=other", daemon.log.read_text())
        self.log(self.owner, "UserTag", name="b", value="1")
        self.assertEqual(self.tags(self.until(lambda status: bool(self.tags(status)))), ["b"])
