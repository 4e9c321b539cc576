"""Every attribute of a status is told by some event, but for those that nothing tells (state-machine.md §2.3)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lb.model.status import ATTRIBUTES, JobStatus
from lb.wire.ulm import parse
from tests.state.make import make, pbs_code, played, registered
from tests.state.replay import CATEGORIES, Replay, cases

#: No rule sets them, in the C server neither.
_NEVER = {
    *("expectUpdate", "expectFrom", "cpuTime", "subjob_failed", "cream_jw_status", "cream_cpu_time"),
    *("condor_owner", "condor_preempting", "condor_error_desc", "vm_machine", "vm_manager"),
}
#: Filled when a status is asked for, or of who brought the registration; tests.server asks for them.
_OF_THE_SERVER = {"acl", "access_rights", "children", "children_states", "history", "user_fqans"}

_NOTHING = JobStatus()


def told(status: JobStatus) -> set[str]:
    """Names of the attributes that are not null."""
    return {each.name for each in ATTRIBUTES if getattr(status, each.name) != getattr(_NOTHING, each.name)}


def _condor(letter: str, name: str, **given: object) -> set[str]:
    code = "TIMESTAMP=2008011000000{}:POS=0000000001:EV.CODE={}:SRC={}"
    event = make(name, "APP", code.format(1, "200", letter), 1, **given)
    return told(played(registered("CONDOR", seqcode=code.format(0, "017", "j")), event).status)


class Reach(SynchronousTestCase):
    """Recorded cases, and what they lack."""

    def test_every_attribute(self) -> None:
        """All others are reached, and those that nothing sets are not."""
        reached: set[str] = set()
        for category in CATEGORIES:
            for case in cases(category):
                replay = Replay()
                for step in case["steps"]:
                    if "send" in step and step["reply"][0] == 0:
                        event = parse(step["send"].encode())
                        replay.send(event)
                        if event.jobid in replay.jobs:
                            reached |= told(replay.jobs[event.jobid].view())
        reached |= _condor("C", "CondorShadowStarted", shadow_pid=7)
        reached |= _condor("H", "CondorShadowExited", shadow_exit_status=7)
        reached |= _condor("s", "CondorStarterStarted", starter_pid=7, universe="VANILLA")
        reached |= _condor("S", "CondorStarterExited", starter_pid=7, starter_exit_status=1)
        reached |= _condor("s", "CondorStarterExited", job_pid=7, job_exit_status=1)
        state = make("PBSInternalStateChange", "PBSServer", pbs_code("c2"), newstate=3, newsubstate=42)
        reached |= told(played(registered("PBS", seqcode=pbs_code("c1")), state).status)
        halting = make("VMShutdown", "VMManager", "U2", usage="u")
        reached |= told(played(registered("VIRTUAL_MACHINE"), halting).status)
        expected = {each.name for each in ATTRIBUTES} - _NEVER - _OF_THE_SERVER
        self.assertEqual(reached, expected)
