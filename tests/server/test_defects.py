"""Recorded cases about defects of the C server: its answers are not followed, here is what is made of them instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from lb.model.status import JobStatus, State
from lb.wire import il
from tests.server.fixture import OWNER, PEERS, Server
from tests.server.test_parents import named
from tests.server.test_vectors import answered_otherwise, job_id, same_reply, takes_grey_jobs
from tests.state.replay import CATEGORIES, Case, cases

_MOVES: Final = "state stateEnterTime stateEnterTimes lastUpdateTime"

#: Attributes in which our answers may differ from the recorded ones, by recommendation; "reply": replies as well.
MAY_DIFFER: Final[dict[str, str]] = {
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


class Asked(NamedTuple):
    """Jobs of a case as a server now has them."""

    owner: str  #: who registered them
    name: Callable[[int], str]  #: the id of a job by its number
    status: Callable[[int, str], JobStatus]  #: its state, asked for with flags


def _life_ends(case: Case, asked: Asked) -> bool:
    numbers = {query["job"] for step in case["steps"] for query in step.get("query", [])}
    return all(asked.status(number, "").state in (State.Cleared, State.Aborted) for number in numbers)


def _is_registrants(number: int) -> Callable[[Case, Asked], bool]:
    return lambda _, asked: asked.status(number, "").owner == asked.owner


def _no_subjob_lost(case: Case, asked: Asked) -> bool:
    subjobs = [(number, job["parent"]) for number, job in enumerate(case["jobs"]) if "parent" in job]
    parent = asked.status(0, "children+childhist_fast")
    return (
        all(asked.status(number, "").parent_job == asked.name(its) for number, its in subjobs)
        and len(parent.children or ()) == len(case["jobs"]) - 1
        and sum(named(parent.children_hist).values()) == parent.children_num
    )


#: What must hold once the lines of a case are in, by recommendation.
RECOMMENDED: Final[dict[str, Callable[[Case, Asked], bool]]] = {
    "S5": _life_ends,
    "S17": _is_registrants(0),
    "S19": _no_subjob_lost,
    "S26": _is_registrants(1),
    "S52": lambda _, asked: len(asked.status(0, "").user_tags or ()) == 5,
}


def tagged(tag: str) -> list[Case]:
    """The cases about one defect."""
    return [case for category in CATEGORIES for case in cases(category) if case.get("defect") == tag]


class Defects(SynchronousTestCase):
    """One test a recommendation."""

    def _check(self, tag: str, expected: int) -> None:
        """Play the cases of a recommendation: what differs must be what may differ, what must hold does."""
        allowed, played = set(MAY_DIFFER[tag].split()), tagged(tag)
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
                    names |= {attribute_of(line) for line in answered_otherwise(server, case, query)}
            self.assertEqual(names - allowed, set(), case["id"])
            name = partial(job_id, case)
            asked = Asked(str(OWNER.name), name, lambda number, flags: server.status(name(number), flags))  # noqa: B023  # asked in this round
            if tag in RECOMMENDED:
                self.assertTrue(RECOMMENDED[tag](case, asked), case["id"])

    def test_s5(self) -> None:
        """S5: events of a subjob are taken although its parent is not known; its life ends as it was logged."""
        self._check("S5", 6)

    def test_s12_s24_s37(self) -> None:
        """S12, S24, S37: where more than one behaviour is allowed ours is the recorded one, S37 as it shows there."""
        for tag, expected in (("S12", 3), ("S24", 1), ("S37", 1)):
            self._check(tag, expected)

    def test_s17(self) -> None:
        """S17: a virtual machine stays readable for who registered it, whatever owner the cloud names."""
        self._check("S17", 2)

    def test_s19(self) -> None:
        """S19: no subjob is lost by a registration of its own that names no parent."""
        self._check("S19", 3)

    def test_s23(self) -> None:
        """S23: Condor codes and the letters in them mean what they were meant to."""
        self._check("S23", 5)

    def test_s26(self) -> None:
        """S26: grey subjobs are their parent's owner's from its registration on."""
        self._check("S26", 1)

    def test_s52(self) -> None:
        """S52: a grey job takes events of any source; who registers it gets them all."""
        self._check("S52", 1)


def attribute_of(difference: str) -> str:
    """The attribute that a line of `answered_otherwise` is about."""
    found = re.match(r"(?:https://\S+: )?(\w+)", difference)
    assert found is not None
    return found[1]
