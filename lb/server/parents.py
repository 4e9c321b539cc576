"""What an event of a subjob does to its parent, in the transaction of the event (spec: state-machine.md §14.3).

A subjob remembers the class under which its parent counts it: whatever order events and registrations come in, every
subjob is counted once, and a step costs the same however many siblings there are.
A parent that is not here, or not registered yet, never stops its subjobs (S5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from lb.model.event import Event
from lb.model.jobid import JobId, parse_cached
from lb.model.status import State
from lb.server.batch import Batch
from lb.state.collection import bucket, collection_state, propagate
from lb.store.interface import StoredJob


class Parents:
    """Keeps the parents of one batch in step with their subjobs."""

    def __init__(
        self,
        batch: Batch,
        stored_children: Callable[[str], list[str]],
        now: Callable[[], int],
        *,
        host: str,
        user: str,
    ) -> None:
        """`stored_children` names the stored subjobs of a job by unique part; `host` and `user` are this server's.

        `now`: microseconds, never the same twice: of two events that are late and carry the same code, the second
        would be a duplicate.
        """
        self._batch = batch
        self._stored_children = stored_children
        self._now = now
        self._host = host
        self._user = user
        self._waiting: defaultdict[str, list[StoredJob]] = defaultdict(list)

    def follow(self, child: StoredJob, cause: Event) -> None:
        """Bring the parent up to date after a step of `child`, and the child's place in the family as well."""
        named = child.state.status.parent_job
        if named is None and child.parent is None:
            return
        parent = None if named is None else parse_cached(named)
        unique = None if parent is None else parent.unique
        if unique != child.parent:
            self._leave(child, cause)
            child.parent = unique
        if parent is not None:
            self._count(parent, child, cause)

    def adopt(self, parent: StoredJob, cause: Event) -> None:
        """Count the subjobs that were here before their parent was registered."""
        unique = parent.jobid.unique
        stored = self._stored_children(unique)
        self._batch.load(stored)
        here = [*(self._batch.known[name] for name in stored), *self._waiting.pop(unique, ())]
        for child in here:
            if child.parent == unique:
                child.state.hidden.counted = State.Unknown
        for child in here:
            if child.parent == unique:
                self._count(parent.jobid, child, cause)

    def _leave(self, child: StoredJob, cause: Event) -> None:
        if child.parent is not None:
            former = self._batch.find(child.jobid._replace(unique=child.parent, info=None))
            if former is not None and not former.grey:
                self._move(former, child, State.Unknown, cause)
        child.state.hidden.counted = State.Unknown

    def _count(self, parent_id: JobId, child: StoredJob, cause: Event) -> None:
        after = bucket(child.state.status)
        if after == child.state.hidden.counted:
            return
        parent = self._batch.find(parent_id)
        if parent is None or parent.grey:
            self._waiting[parent_id.unique].append(child)
        else:
            self._move(parent, child, after, cause)

    def _move(self, parent: StoredJob, child: StoredJob, after: State, cause: Event) -> None:
        """Count `child` under another class; what that makes of its parent is not told to the grandparent (S41)."""
        target = propagate(parent.state, State(child.state.hidden.counted), after)
        child.state.hidden.counted = after
        self._batch.change(child)
        self._batch.change(parent)
        if target is not None:
            self.bring(parent, target, cause)

    def bring(self, parent: StoredJob, to: State, cause: Event) -> None:
        """Log the event that brings a parent to another state."""
        event = collection_state(
            parent.state, parent.jobid, to, cause, now=self._now(), host=self._host, user=self._user
        )
        self._batch.step_internally(parent, event)
