"""Recorded cases through a running server: lines to its store port, states from its main port, over TLS."""

from __future__ import annotations

import secrets
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.query import of_job, read_flags
from lb.model.status import JobStatus
from lb.security import pki
from lb.security.names import slash_form
from lb.wire import http, il
from lb.wire.lbxml import requests, results
from tests.processes.daemon import Daemon, connect, free_port, replies
from tests.server.fixture import PEERS
from tests.server.test_defects import MAY_DIFFER, RECOMMENDED, Asked, attribute_of, tagged
from tests.server.test_vectors import followed_cases, other_history, same_reply, takes_grey_jobs
from tests.state.compare import as_object, differences
from tests.state.replay import CATEGORIES, Case

_CONNECTIONS = 8
#: Certificates of the users in the recordings.
_NAMES = {"owner": "user", "other": "other"}
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
    """A server, and one that takes grey jobs; all cases in no order, over many connections at once, under fresh ids."""

    def setUp(self) -> None:
        self.ports: dict[bool, int] = {}
        self.states: dict[bool, Path] = {}
        for grey_jobs in (False, True):
            self.states[grey_jobs] = state = Path(self.mktemp()).absolute()
            self.ports[grey_jobs] = port = free_port()
            server = Daemon("lb", state, "--port", str(port), *(["--grey-jobs"] if grey_jobs else []))
            self.addCleanup(server.kill)
            server.start()
            pki.issue(state / "pki", "other")

    def test_all_families(self) -> None:
        """Replies, states and histories as the C server gave them; its defects as they are recommended (S5 to S52)."""
        played = [case for category in CATEGORIES for case in followed_cases(category)]
        self.assertGreater(len(played), 500)
        defects = [case for tag in MAY_DIFFER for case in tagged(tag)]
        self.assertEqual(len(defects), 23)
        played += defects
        Random(5).shuffle(played)
        parts = [played[number::_CONNECTIONS] for number in range(_CONNECTIONS)]
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            wrong = [line for lines in threads.map(self._play_all, parts) for line in lines]
        self.assertEqual("\n".join(wrong), "")

    def _play_all(self, played: list[Case]) -> list[str]:
        """Over connections of their own."""
        peers = {
            grey_jobs: {who: Peer(port, self.states[grey_jobs] / "pki", name) for who, name in _NAMES.items()}
            for grey_jobs, port in self.ports.items()
        }
        try:
            return [line for case in played for line in self._play(case, peers[takes_grey_jobs(case)])]
        finally:
            for each in peers.values():
                for peer in each.values():
                    peer.close()

    def _play(self, case: Case, peers: dict[str, Peer]) -> list[str]:
        grey_jobs = takes_grey_jobs(case)
        forth = {_RECORDED: f"https://localhost:{self.ports[grey_jobs]}/"}
        forth |= _fresh_uniques(case, self.ports[grey_jobs])
        forth |= {str(PEERS[who].name): peer.name for who, peer in peers.items()}
        # Names are compared without case; some lines show that.
        forth |= {str(PEERS[who].name).upper(): peer.name.upper() for who, peer in peers.items()}
        forth |= {str(PEERS[who].name).lower(): peer.name.lower() for who, peer in peers.items()}
        wrong = []
        tag = case.get("defect", "")
        may_differ = MAY_DIFFER.get(tag, "").split()
        for number, step in enumerate(case["steps"]):
            peer = peers[step.get("as", "owner")]
            if "send" in step:
                line = _replaced(step["send"], forth)
                peer.events.sendall(il.frame(line.encode()))
                reply = next(peer.replies)
                if not same_reply(step["reply"], reply, line) and not ("reply" in may_differ and reply == il.OK):
                    wrong.append(f"{case['id']} step {number}: reply {step['reply']}, ours {reply}")
            for query in step.get("query", []):
                if "defect" not in query:
                    asker = peers[query.get("as", "owner")]
                    differing = [
                        line for line in _query(asker, case, query, forth) if attribute_of(line) not in may_differ
                    ]
                    wrong += [f"{case['id']} step {number}: {line}" for line in differing]
        if tag in RECOMMENDED and not RECOMMENDED[tag](case, _asked(peers["owner"], case, forth)):
            wrong.append(f"{case['id']}: not what {tag} recommends")
        return wrong


def _asked(owner: Peer, case: Case, forth: dict[str, str]) -> Asked:
    """The jobs of a case, as their owner sees them."""

    def name(number: int) -> str:
        return _replaced(_RECORDED + case["jobs"][number]["unique"], forth)

    def status(number: int, flags: str) -> JobStatus:
        found = _ask_state(owner, name(number), flags).jobs[0].status
        assert found is not None
        return found

    return Asked(owner.name, name, status)


def _ask_state(asker: Peer, job: str, flags: str) -> results.Jobs:
    query = of_job(jobid.parse(job), read_flags(flags))
    return results.read_jobs(_ask(asker.queries, http.request("POST", "/queryJobs", requests.write_jobs(query))))


def _query(asker: Peer, case: Case, query: dict[str, Any], forth: dict[str, str]) -> list[str]:
    job = _replaced(_RECORDED + case["jobs"][query["job"]]["unique"], forth)
    found = _ask_state(asker, job, query.get("flags", case.get("flags", "classadd+children+childstat")))
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
    ours = as_object(status)
    return [*differences(expected, ours, {*case.get("ignore", {}), "history"}), *other_history(expected, ours)]


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
