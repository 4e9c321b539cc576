"""Recorded cases about defects of the C server: its answers are not followed, here is what is made of them instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from lb.model.status import State
from lb.wire import il
from tests.server.fixture import OWNER, PEERS, Server
from tests.server.test_parents import named
from tests.server.test_vectors import answered_otherwise, job_id, same_reply, takes_grey_jobs
from tests.state.replay import CATEGORIES, Case, cases

_MOVES: Final = "state stateEnterTime stateEnterTimes lastUpdateTime"

#: Attributes in which our answers may differ from the recorded ones, by recommendation; "reply": replies as well.
_MAY_DIFFER: Final[dict[str, str]] = {
    "S5": f"reply {_MOVES} location reason ce_node possible_ce_nodes possible_destinations jw_status payload_running "
    "done_code remove_from_proxy sandbox_retrieved",
    "S12": "",
    "S17": "recorded",
    "S19": f"{_MOVES} done_code parent_job children children_states children_hist",
    "S23": f"{_MOVES} condor_status condor_shadow_pid condor_shadow_exit_status condor_starter_pid",
    "S24": "",
    "S26": f"{_MOVES} children_hist recorded",
    "S37": "",
    "S52": "reply user_tags",
}


def tagged(tag: str) -> list[Case]:
    """The cases about one defect."""
    return [case for category in CATEGORIES for case in cases(category) if case.get("defect") == tag]


class Defects(SynchronousTestCase):
    """One test a recommendation."""

    def _played(self, tag: str, expected: int) -> Iterator[tuple[Case, Server]]:
        """Each case of a recommendation, played, and its server; what differs must be what may differ."""
        allowed, played = set(_MAY_DIFFER[tag].split()), tagged(tag)
        self.assertEqual(len(played), expected)
        for case in played:
            directory = Path(self.mktemp())
            directory.mkdir()
            server = Server(directory, grey_jobs=takes_grey_jobs(case))
            self.addCleanup(server.close)
            names = set()
            for step in case["steps"]:
                if "send" in step:
                    reply = server.send(step["send"], PEERS[step.get("as", "owner")])
                    if not same_reply(step["reply"], reply, step["send"]):
                        self.assertEqual(reply, il.OK)
                        names.add("reply")
                for query in step.get("query", []):
                    names |= {_attribute(line) for line in answered_otherwise(server, case, query)}
            self.assertEqual(names - allowed, set(), case["id"])
            yield case, server

    def _each(self, tag: str, expected: int, check: Callable[[Case, Server], None]) -> None:
        for case, server in self._played(tag, expected):
            check(case, server)

    def test_s5(self) -> None:
        """S5: events of a subjob are taken although its parent is not known; its life ends as it was logged."""
        ends = set()
        for case, server in self._played("S5", 6):
            asked = [query["job"] for step in case["steps"] for query in step.get("query", [])]
            ends |= {State(server.status(job_id(case, number)).state) for number in set(asked)}
        self.assertEqual(ends, {State.Cleared, State.Aborted})

    def test_s12_s24_s37(self) -> None:
        """S12, S24, S37: where more than one behaviour is allowed ours is the recorded one, S37 as it shows there."""
        for tag, expected in (("S12", 3), ("S24", 1), ("S37", 1)):
            self.assertEqual(len(list(self._played(tag, expected))), expected)

    def test_s17(self) -> None:
        """S17: a virtual machine stays readable for who registered it, whatever owner the cloud names."""

        def check(case: Case, server: Server) -> None:
            self.assertEqual(server.status(job_id(case, 0)).owner, OWNER.name)

        self._each("S17", 2, check)

    def test_s19(self) -> None:
        """S19: no subjob is lost by a registration of its own that names no parent."""

        def check(case: Case, server: Server) -> None:
            for number, job in enumerate(case["jobs"]):
                if "parent" in job:
                    self.assertEqual(server.status(job_id(case, number)).parent_job, job_id(case, job["parent"]))
            parent = server.status(job_id(case, 0), "children+childhist_fast")
            self.assertEqual(len(parent.children or ()), len(case["jobs"]) - 1)
            self.assertEqual(sum(named(parent.children_hist).values()), parent.children_num)

        self._each("S19", 3, check)

    def test_s23(self) -> None:
        """S23: Condor codes and the letters in them mean what they were meant to."""
        self.assertEqual(len(list(self._played("S23", 5))), 5)

    def test_s26(self) -> None:
        """S26: grey subjobs are their parent's owner's from its registration on."""

        def check(case: Case, server: Server) -> None:
            self.assertEqual(server.status(job_id(case, 1)).owner, OWNER.name)

        self._each("S26", 1, check)

    def test_s52(self) -> None:
        """S52: a grey job takes events of any source; who registers it gets them all."""

        def check(case: Case, server: Server) -> None:
            self.assertEqual(len(server.status(job_id(case, 0)).user_tags or ()), 5)

        self._each("S52", 1, check)


def _attribute(difference: str) -> str:
    """The attribute that a line of `answered_otherwise` is about."""
    found = re.match(r"(?:https://\S+: )?(\w+)", difference)
    assert found is not None
    return found[1]
