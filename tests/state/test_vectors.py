"""The recorded cases: what the reference server answered after each line, against the fold."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lb.model.jobid import parse_cached
from lb.wire.ulm import parse
from tests.state.compare import as_object, differences
from tests.state.replay import Case, Replay, cases

_FLAGS = "classadd+children+childstat"

#: Filled by the server from what it keeps beside the fold.
_OF_THE_SERVER = frozenset({"acl", "access_rights", "children", "children_states", "history"})


def _play(case: Case) -> list[str]:
    """Differences between the answers recorded in a case and ours."""
    replay, found = Replay(), []
    for number, at in enumerate(case["steps"]):
        if "send" in at and at["reply"][0] == 0:
            replay.send(parse(at["send"].encode()))
        for query in at.get("query", ()):
            if "error" in query["state"] or "defect" in query:
                continue
            status = replay.status(parse_cached(query["state"]["jobId"]), query.get("flags", case.get("flags", _FLAGS)))
            ignore = _OF_THE_SERVER | case.get("ignore", {}).keys()
            found += [
                f"{case['id']} step {number}: {line}" for line in differences(query["state"], as_object(status), ignore)
            ]
    return found


class RecordedCases(SynchronousTestCase):
    """One test a category. Cases marked as reference defects are checked by name in `test_surprises`."""

    maxDiff = None

    def _check(self, category: str, at_least: int) -> None:
        played = [case for case in cases(category) if "defect" not in case]
        self.assertGreaterEqual(len(played), at_least)
        self.assertEqual([line for case in played for line in _play(case)], [])

    def test_glite(self) -> None:
        """Random lives of SIMPLE jobs, in order and out of it (P4)."""
        self._check("glite", 230)

    def test_cream(self) -> None:
        """CREAM jobs."""
        self._check("cream", 35)

    def test_pbs(self) -> None:
        """PBS jobs."""
        self._check("pbs", 35)

    def test_condor(self) -> None:
        """Condor jobs with codes on which intended and actual order agree."""
        self._check("condor", 27)

    def test_transfer(self) -> None:
        """File transfers and their collections."""
        self._check("transfer", 33)

    def test_vm(self) -> None:
        """Virtual machines."""
        self._check("vm", 31)

    def test_collection(self) -> None:
        """Collections and DAGs with the events of their subjobs interleaved (P4)."""
        self._check("collection", 40)

    def test_examples(self) -> None:
        """The worked examples of the chapter."""
        self._check("examples", 37)

    def test_real(self) -> None:
        """Streams recorded from production, in several orders (P4)."""
        self._check("real", 9)

    def test_registration(self) -> None:
        """Registrations, repeated, incomplete and grey."""
        self._check("registration", 37)
