"""Recorded cases through a running server: lines to its store port, states from its main port, over TLS."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.query import of_job, read_flags
from lb.security import pki
from lb.security.names import slash_form
from lb.wire import http, il
from lb.wire.lbxml import requests, results
from tests.processes.daemon import Daemon, connect, free_port, replies
from tests.server.fixture import PEERS
from tests.server.test_vectors import followed_cases, same_reply, takes_grey_jobs
from tests.state.compare import as_object, differences
from tests.state.replay import CATEGORIES, Case

_RECORDED = "https://localhost:9000/"


class Peer:
    """A user of the running server: both its connections, and its name."""

    def __init__(self, port: int, directory: Path, name: str) -> None:
        self.events = connect(port + 1, directory, name)
        self.queries = connect(port, directory, name)
        self.replies = iter(replies(self.events))
        self.name = slash_form(x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes()))

    def close(self) -> None:
        for connection in (self.events, self.queries):
            connection.close()


class RunningServers(SynchronousTestCase):
    """A server, and one that takes grey jobs; all cases one after another under fresh ids."""

    def setUp(self) -> None:
        self.ports = {}
        self.peers: dict[bool, dict[str, Peer]] = {}
        for grey_jobs in (False, True):
            state = Path(self.mktemp()).absolute()
            self.ports[grey_jobs] = port = free_port()
            server = Daemon("lb", state, "--port", str(port), *(["--grey-jobs"] if grey_jobs else []))
            self.addCleanup(server.kill)
            server.start()
            pki.issue(state / "pki", "other")
            self.peers[grey_jobs] = {
                who: Peer(port, state / "pki", name) for who, name in (("owner", "user"), ("other", "other"))
            }
            for peer in self.peers[grey_jobs].values():
                self.addCleanup(peer.close)

    def test_all_families(self) -> None:
        """Replies and states as the C server gave them."""
        wrong, played = [], 0
        for category in CATEGORIES:
            for case in followed_cases(category):
                played += 1
                wrong += self._play(case)
        self.assertEqual("\n".join(wrong), "")
        self.assertGreater(played, 500)

    def _play(self, case: Case) -> list[str]:
        grey_jobs = takes_grey_jobs(case)
        peers = self.peers[grey_jobs]
        forth = {_RECORDED: f"https://localhost:{self.ports[grey_jobs]}/"}
        forth |= _fresh_uniques(case, self.ports[grey_jobs])
        forth |= {str(PEERS[who].name): peer.name for who, peer in peers.items()}
        # Names are compared without case; some lines show that.
        forth |= {str(PEERS[who].name).upper(): peer.name.upper() for who, peer in peers.items()}
        forth |= {str(PEERS[who].name).lower(): peer.name.lower() for who, peer in peers.items()}
        wrong = []
        for number, step in enumerate(case["steps"]):
            peer = peers[step.get("as", "owner")]
            if "send" in step:
                line = _replaced(step["send"], forth)
                peer.events.sendall(il.frame(line.encode()))
                reply = next(peer.replies)
                if not same_reply(step["reply"], reply, line):
                    wrong.append(f"{case['id']} step {number}: reply {step['reply']}, ours {reply}")
            for query in step.get("query", []):
                if "defect" not in query:
                    asker = peers[query.get("as", "owner")]
                    wrong += [f"{case['id']} step {number}: {line}" for line in _query(asker, case, query, forth)]
        return wrong


def _query(asker: Peer, case: Case, query: dict[str, Any], forth: dict[str, str]) -> list[str]:
    job = jobid.parse(_replaced(_RECORDED + case["jobs"][query["job"]]["unique"], forth))
    flags = read_flags(query.get("flags", case.get("flags", "classadd+children+childstat")))
    answer = _ask(asker.queries, http.request("POST", "/queryJobs", requests.write_jobs(of_job(job, flags))))
    found = results.read_jobs(answer)
    recorded = query["state"]
    if found.error is not None:
        return [] if recorded.get("error") in (found.error.code, 2) else [f"error {found.error}"]
    if "error" in recorded:
        return [f"recorded error {recorded['error']}, ours a state"]
    status = found.jobs[0].status
    assert status is not None
    expected = _mapped(
        recorded, forth | {name.replace(" ", "+"): ours.replace(" ", "+") for name, ours in forth.items()}
    )
    for name in ("children", "children_states"):
        if name in expected:
            expected[name] = sorted(expected[name], key=lambda each: each["jobId"] if isinstance(each, dict) else each)
    return differences(expected, as_object(status), {*case.get("ignore", {}), "history"})


def _fresh_uniques(case: Case, port: int) -> dict[str, str]:
    """New unique parts by recorded ones; those of subjobs follow from that of their parent."""
    fresh: list[str] = []
    for job in case["jobs"]:
        if "parent" in job:
            parent = jobid.JobId("localhost", port, fresh[job["parent"]])
            subjobs = list(jobid.subjobs(parent, job["index"] + 1, job.get("seed")))
            fresh.append(subjobs[-1].unique)
        else:
            fresh.append(secrets.token_urlsafe(16))
    return {job["unique"]: unique for job, unique in zip(case["jobs"], fresh, strict=True)}


def _replaced(text: str, names: dict[str, str]) -> str:
    for name, other in names.items():
        text = text.replace(name, other)
    return text


def _mapped(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _replaced(value, names)
    if isinstance(value, list):
        return [_mapped(each, names) for each in value]
    if isinstance(value, dict):
        return {name: _mapped(each, names) for name, each in value.items()}
    return value


def _ask(connection: ssl.SSLSocket, request: bytes) -> bytes:
    connection.sendall(request)
    reader = http.ResponseReader()
    while not (answers := reader.feed(connection.recv(65536))):
        pass
    return answers[0].body
