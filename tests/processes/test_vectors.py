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
from tests.server.test_vectors import same_reply, single_job_cases
from tests.state.compare import as_object, differences
from tests.state.replay import Case

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


class RunningServer(SynchronousTestCase):
    """One server, all cases one after another under fresh ids."""

    def setUp(self) -> None:
        state = Path(self.mktemp()).absolute()
        self.port = free_port()
        server = Daemon("lb", state, "--port", str(self.port))
        self.addCleanup(server.kill)
        server.start()
        pki.issue(state / "pki", "other")
        self.peers = {
            who: Peer(self.port, state / "pki", name) for who, name in (("owner", "user"), ("other", "other"))
        }
        for peer in self.peers.values():
            self.addCleanup(peer.close)

    def test_single_jobs(self) -> None:
        """Replies and states as the C server gave them."""
        wrong, played = [], 0
        for category in ("glite", "registration", "examples", "real"):
            for case in single_job_cases(category):
                played += 1
                wrong += self._play(case)
        self.assertEqual("\n".join(wrong), "")
        self.assertGreater(played, 200)

    def _play(self, case: Case) -> list[str]:
        forth = {_RECORDED: f"https://localhost:{self.port}/"}
        forth |= {job["unique"]: secrets.token_urlsafe(16) for job in case["jobs"]}
        forth |= {str(PEERS[who].name): peer.name for who, peer in self.peers.items()}
        # Names are compared without case; some lines show that.
        forth |= {str(PEERS[who].name).upper(): peer.name.upper() for who, peer in self.peers.items()}
        forth |= {str(PEERS[who].name).lower(): peer.name.lower() for who, peer in self.peers.items()}
        wrong = []
        for number, step in enumerate(case["steps"]):
            peer = self.peers[step.get("as", "owner")]
            if "send" in step:
                line = _replaced(step["send"], forth)
                peer.events.sendall(il.frame(line.encode()))
                reply = next(peer.replies)
                if not same_reply(step["reply"], reply, line):
                    wrong.append(f"{case['id']} step {number}: reply {step['reply']}, ours {reply}")
            for query in step.get("query", []):
                if "defect" not in query and "children" not in query["state"]:
                    wrong += [f"{case['id']} step {number}: {line}" for line in self._query(case, query, forth)]
        return wrong

    def _query(self, case: Case, query: dict[str, Any], forth: dict[str, str]) -> list[str]:
        asker = self.peers[query.get("as", "owner")]
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
        return differences(expected, as_object(status), {*case.get("ignore", {}), "history"})


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
