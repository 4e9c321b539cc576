"""Matching: the index finds what comparing every registration finds, and looks at few that cannot match."""

from __future__ import annotations

from copy import deepcopy
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.jobid import JobId
from lb.model.query import FORMS, Attribute, Condition, Flag, Operator
from lb.model.registration import Registration
from lb.model.status import TERMINAL, JobStatus, JobType, State
from lb.model.subject import comparable
from lb.security.acl import ACL, Entry, IdType, Permission, PermissionType
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.access import Access, access
from lb.server.conditions import JobConditions, job_value
from lb.server.notify import matcher as matcher_module
from lb.server.notify.change import NEW, Change
from lb.server.notify.matcher import Matcher
from lb.server.notify.registration import from_store, split_jobs, to_store
from lb.state.job import Job, Texts
from lb.store.interface import StoredJob
from tests.notify.registrations import ALICE, BOB, CAROL, JOBS, change, changed, equal, registration, status

OPEN = Policy.open()
TEXTS = ("a", "b", None)
JDLS = (None, '[ VO = "x" ]', '[ VO = "y"; Q = "x" ]')

# --- any registrations, any change ------------------------------------------------------------------------------

_VALUES = {
    Attribute.OWNER: st.sampled_from([None, ALICE, BOB, CAROL.replace("emailAddress", "Email").lower()]),
    Attribute.PARENT: st.sampled_from(JOBS),
    Attribute.STATUS: st.sampled_from(list(map(int, State))),
    Attribute.USERTAG: st.sampled_from(["a", "b"]),
    Attribute.JDL_ATTR: st.sampled_from(["x", "y"]),
    Attribute.TIME: st.integers(0, 3),
    Attribute.STATEENTERTIME: st.integers(0, 3),
    Attribute.LASTUPDATETIME: st.integers(0, 3),
    Attribute.RESUBMITTED: st.integers(0, 1),
    Attribute.DONECODE: st.integers(-1, 2),
    Attribute.EXITCODE: st.integers(0, 2),
    Attribute.JOB_TYPE: st.sampled_from([0, 1, 4]),
    Attribute.VM_STATUS: st.integers(-1, 2),
    Attribute.LOCATION: st.sampled_from(["a", "b"]),
    Attribute.DESTINATION: st.sampled_from(["a", "b"]),
    Attribute.NETWORK_SERVER: st.sampled_from(["a", "b"]),
}


@st.composite
def _groups(draw: st.DrawFn) -> tuple[Condition, ...]:
    attribute = draw(st.sampled_from(sorted(_VALUES)))
    names = {Attribute.USERTAG: st.sampled_from(["Tag", "x"]), Attribute.JDL_ATTR: st.sampled_from(["vo", "Q"])}
    name = draw(names.get(attribute, st.none()))
    made = []
    for _ in range(draw(st.integers(1, 3))):
        operator = draw(st.sampled_from(sorted(FORMS[attribute].job_operators)))
        value = None if operator is Operator.CHANGED else draw(_VALUES[attribute])
        value2 = draw(_VALUES[attribute]) if operator is Operator.WITHIN else None
        state = draw(st.integers(0, 11)) if attribute is Attribute.TIME else None
        made.append(Condition(attribute, operator, value, value2, name, state))
    return tuple(made)


_registrations = st.builds(
    lambda groups, owner, jobs, flags: (groups, owner, jobs, flags),
    st.lists(_groups(), max_size=3),
    st.sampled_from([ALICE, BOB, CAROL]),
    st.lists(st.sampled_from(JOBS), max_size=2, unique=True),
    st.sampled_from([Flag(0), Flag.TERMINAL_STATES, Flag.HISTORY]),
)
_statuses = st.builds(
    JobStatus,
    state=st.sampled_from(list(map(int, State))),
    owner=st.sampled_from([ALICE, BOB, CAROL]),
    jobtype=st.sampled_from([0, 1, 4]),
    parent_job=st.sampled_from([None, str(JOBS[0]), str(JOBS[1])]),
    location=st.sampled_from(TEXTS),
    destination=st.sampled_from(TEXTS),
    network_server=st.sampled_from(TEXTS),
    done_code=st.integers(-1, 2),
    exit_code=st.integers(0, 2),
    resubmitted=st.booleans(),
    user_tags=st.sampled_from([None, [("tag", "a")], [("TAG", "b"), ("x", "a")]]),
    stateEnterTime=st.integers(0, 3_000_000),
    lastUpdateTime=st.integers(0, 3_000_000),
    stateEnterTimes=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    payload_owner=st.sampled_from([None, BOB, CAROL]),
    vm_state=st.integers(-1, 2),
)
_acls = st.sampled_from(
    [
        None,
        str(ACL().add(Entry(BOB.upper(), IdType.DN, Permission.READ, PermissionType.ALLOW))),
        str(ACL().add(Entry(CAROL, IdType.DN, Permission.READ, PermissionType.DENY))),
    ]
)
_policies = st.builds(
    lambda granted: [(person, action) for person, action in granted],
    st.lists(
        st.tuples(
            st.sampled_from([ALICE, BOB]),
            st.sampled_from([Action.READ_ALL, Action.READ_ANONYMIZED, Action.STATUS_FOR_MONITORING]),
        ),
        max_size=1,
    ),
)


#: What those who only watch are not told of a job.
_UNWATCHED = {
    Attribute.USERTAG,
    Attribute.JDL_ATTR,
    Attribute.LOCATION,
    Attribute.DONECODE,
    Attribute.EXITCODE,
    Attribute.RESUBMITTED,
    Attribute.VM_STATUS,
}


def _naively(
    one: Registration,
    job: StoredJob,
    old: JobStatus | None,
    jdls: tuple[str | None, str | None],
    policy: Policy,
) -> Access:
    """What the specification says, step by step (§2)."""
    new = job.state.status
    if one.jobs and job.jobid not in one.jobs:
        return Access.NONE
    if Flag.TERMINAL_STATES in one.flags and (
        new.state not in TERMINAL or (new.state == State.Purged and old is not None and old.state in TERMINAL)
    ):
        return Access.NONE
    after = JobStatus(**{**_fields(new), "jdl": jdls[1]})
    before = None if old is None else JobStatus(**{**_fields(old), "jdl": jdls[0]})

    def holds(condition: Condition) -> bool:
        if condition.operator is not Operator.CHANGED:
            return JobConditions(((condition,),), one.owner).hold(after, job.jobid)
        if before is None:
            return True
        about = (condition.attribute, condition.name, condition.state)
        return bool(job_value(*about, after, job.jobid) != job_value(*about, before, job.jobid))

    if not all(any(holds(condition) for condition in group) for group in one.groups):
        return Access.NONE
    allowed = access(policy, Identity(one.owner), job.owner, new.payload_owner, job.acl)
    asked = {condition.attribute for group in one.groups for condition in group}
    return Access.NONE if allowed is Access.REDUCED and asked & _UNWATCHED else allowed


def _become(state: Job, new: JobStatus, jdl: str | None) -> None:
    """A step as the fold makes it: lists that grow are changed in place, everything else is replaced."""
    tags, times = state.status.user_tags, state.status.stateEnterTimes
    for name, value in _fields(new).items():
        setattr(state.status, name, value)
    times[:] = new.stateEnterTimes
    state.status.stateEnterTimes = times
    if tags is not None and new.user_tags is not None:
        tags[:] = new.user_tags
        state.status.user_tags = tags
    state.texts = Texts(jdl=jdl)


def _fields(of: JobStatus) -> dict[str, object]:
    return {name: getattr(of, name) for name in JobStatus.__struct_fields__}


class AnyRegistrations(SynchronousTestCase):
    """Properties."""

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(_registrations, min_size=1, max_size=12),
        st.lists(
            st.tuples(
                st.none() | _statuses,
                _statuses,
                st.sampled_from(JOBS),
                _acls,
                st.tuples(st.sampled_from(JDLS), st.sampled_from(JDLS)),
            ),
            min_size=1,
            max_size=6,
        ),
        _policies,
        st.sets(st.integers(1, 12)),
    )
    def test_index_agrees_with_comparing_all(self, asked, changes, granted, dropped) -> None:  # type: ignore[no-untyped-def]
        """P7, P10: for any registrations, some of them dropped, the index finds whom comparing all would find."""
        policy = OPEN
        for person, action in granted:
            policy = policy.permitting(person, action)
        made = [
            registration(number, *groups, owner=owner, jobs=tuple(jobs), flags=flags)
            for number, (groups, owner, jobs, flags) in enumerate(asked, 1)
        ]
        matcher = Matcher(policy, made)
        for number in dropped:
            matcher.remove(number)
        left = [one for one in made if one.number not in dropped]
        for old, new, jobid, acl, jdls in changes:
            state = Job(deepcopy(old) if old is not None else JobStatus(), texts=Texts(jdl=jdls[0]))
            job = StoredJob(1, jobid, new.owner, comparable(new.owner), state, acl=acl)
            before = NEW if old is None else matcher.before(state)
            _become(state, new, jdls[1])
            expected = [
                (one, found) for one in left if (found := _naively(one, job, old, jdls, policy)) is not Access.NONE
            ]
            self.assertEqual(matcher.matching(Change(job, before)), expected)
        for one in left:
            matcher.remove(one.number)
        self.assertFalse(matcher)
        self.assertEqual(matcher._readers, {})

    @given(_registrations)
    def test_stored_form(self, asked) -> None:  # type: ignore[no-untyped-def]
        """P9: a registration comes back from what the store keeps of it."""
        groups, owner, jobs, flags = asked
        one = registration(3, *groups, owner=owner, jobs=tuple(jobs), flags=flags)
        self.assertEqual(from_store(to_store(one)), one)


# --- the index --------------------------------------------------------------------------------------------------


class Index(SynchronousTestCase):
    """Ten thousand registrations that cannot match cost nothing."""

    def _candidates(self, registrations: list[Registration], happened: Change) -> int:
        matcher = Matcher(OPEN.permitting("/CN=admin", Action.READ_ALL), registrations)
        return len(matcher.candidates(happened))

    def test_by_job(self) -> None:
        """Registrations for other jobs are not looked at."""
        made = [registration(number, jobs=(JobId("lb.example", 9000, f"j{number}"),)) for number in range(1_000)]
        self.assertEqual(self._candidates([*made, registration(5_000, jobs=(JOBS[0],))], change(status())), 1)

    def test_by_reader(self) -> None:
        """Registrations for all jobs, of persons who may not read this one, are not looked at."""
        made = [registration(number, owner=f"/CN={number}") for number in range(1_000)]
        self.assertEqual(self._candidates([*made, registration(5_000)], change(status())), 1)

    def test_by_state(self) -> None:
        """One person's registrations for another state are not looked at, whatever operator says so."""
        beyond = (Condition(Attribute.STATUS, Operator.GREATER, int(State.Running)),)
        made = [registration(number, beyond) for number in range(1_000)]
        made += [registration(number, equal(Attribute.STATUS, int(State.Done))) for number in range(1_000, 2_000)]
        made += [registration(number, flags=Flag.TERMINAL_STATES) for number in range(2_000, 3_000)]
        happened = change(status(state=State.Running), status(state=State.Ready))
        self.assertEqual(self._candidates(made, happened), 0)

    def test_by_change(self) -> None:
        """Registrations for changes of what did not change are not looked at."""
        made = [registration(number, changed(Attribute.STATUS)) for number in range(1_000)]
        happened = change(status(state=State.Running), status(state=State.Running))
        self.assertEqual(self._candidates(made, happened), 0)

    def test_by_anything_that_must_be_equal(self) -> None:
        """An administrator's registrations for other owners, parents, tags, destinations, VOs are not looked at."""
        attributes = [Attribute.OWNER, Attribute.USERTAG, Attribute.DESTINATION, Attribute.JDL_ATTR]
        made = [
            registration(number, equal(attributes[number % 4], f"/CN={number}", name="t"), owner="/CN=admin")
            for number in range(1_000)
        ]
        self.assertEqual(self._candidates(made, change(status(jobtype=JobType.SIMPLE))), 0)

    def test_what_is_remembered(self) -> None:
        """Of the state before a step only that is kept whose changes anybody asks for, and no longer than he does."""
        matcher = Matcher(OPEN, [registration(1), registration(2, changed(Attribute.STATUS))])
        job = Job(status(state=State.Running, user_tags=[("t", "a")], destination="ce"))
        self.assertEqual(matcher.before(job), (State.Running, {}))
        matcher.add(registration(3, changed(Attribute.DESTINATION)))
        matcher.add(registration(4, (*changed(Attribute.USERTAG), *changed(Attribute.USERTAG))))
        before = matcher.before(job)
        self.assertEqual(before.sources, {Attribute.DESTINATION: "ce", Attribute.USERTAG: [("t", "a")]})
        assert job.status.user_tags is not None
        job.status.user_tags[0] = ("t", "b")  # as the fold does
        self.assertEqual(before.sources[Attribute.USERTAG], [("t", "a")])
        matcher.add(registration(3, equal(Attribute.DESTINATION, "ce")))
        matcher.remove(4)
        self.assertEqual(matcher.before(job), (State.Running, {}))

    def test_every_change_can_be_asked_for(self) -> None:
        """P5: whatever attribute's changes a request may ask for, remembering and comparing it succeeds."""
        for attribute, form in FORMS.items():
            if Operator.CHANGED in form.job_operators and attribute is not Attribute.JOBID:
                matcher = Matcher(OPEN, [registration(1, changed(attribute))])
                stored = StoredJob(1, JOBS[0], ALICE, comparable(ALICE), Job(status()))
                self.assertEqual(matcher.matching(Change(stored, matcher.before(stored.state))), [])

    def test_many_alternatives(self) -> None:
        """P10: a registration with many jobs and many alternatives does not multiply them in memory."""
        jobs = tuple(JobId("lb.example", 9000, f"j{number}") for number in range(1_000))
        tags = equal(Attribute.USERTAG, *(f"v{number}" for number in range(1_000)), name="t")
        matcher = Matcher(OPEN)
        with mock.patch("lb.server.notify.matcher._Node", wraps=matcher_module._Node) as nodes:
            matcher.add(registration(1, tags, jobs=(*jobs, JOBS[0])))
        self.assertLess(nodes.call_count, 2_500)
        met = change(status(user_tags=[("T", "v7")]))
        self.assertEqual([one.number for one, _ in matcher.matching(met)], [1])
        self.assertEqual(matcher.matching(change(status(user_tags=[("T", "w")]))), [])

    def test_alternatives_of_several_states(self) -> None:
        """Alternatives that name the times of several states are all looked at."""
        times = tuple(Condition(Attribute.TIME, Operator.EQUAL, 7, state=state) for state in (State.Ready, State.Done))
        matcher = Matcher(OPEN, [registration(1, times)])
        for state, met in ((State.Done, 1), (State.Running, 0)):
            entered = [0] * len(State)
            entered[state] = 7
            self.assertEqual(len(matcher.matching(change(status(stateEnterTimes=entered)))), met)

    def test_replaced(self) -> None:
        """A registration that changed is found under its new conditions only."""
        matcher = Matcher(OPEN, [registration(1, equal(Attribute.LOCATION, "a"))])
        matcher.add(registration(1, equal(Attribute.LOCATION, "b")))
        self.assertEqual(matcher.matching(change(status(location="a"))), [])
        self.assertEqual(len(matcher.matching(change(status(location="b")))), 1)


class Splitting(SynchronousTestCase):
    """What a request's conditions become."""

    def test_jobs_apart(self) -> None:
        """Job ids of all groups make the job set, other groups stay."""
        state = equal(Attribute.STATUS, 5)
        groups = (equal(Attribute.JOBID, JOBS[0], JOBS[1]), state, equal(Attribute.JOBID, JOBS[1]))
        self.assertEqual(split_jobs(groups), ((JOBS[0], JOBS[1]), (state,)))
