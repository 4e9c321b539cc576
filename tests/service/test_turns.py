"""Connections to peers are bounded, shared among owners, and taken in turns."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.service.turns import LEAST, TICK, Leave, Turns


class TakingTurns(SynchronousTestCase):
    """Owners who want connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.held: dict[str, Leave] = {}
        self.asked: list[str] = []

    def _enter(self, turns: Turns, *names: str) -> None:
        """Owners are the first letters of names."""
        for name in names:
            entered = turns.enter(name[0], lambda name=name: self.asked.append(name))  # type: ignore[misc]
            entered.addCallback(self._hold(name))

    def _hold(self, name: str) -> Callable[[Leave], None]:
        def hold(leave: Leave) -> None:
            self.held[name] = leave

        return hold

    def _leave(self, name: str) -> None:
        self.held.pop(name)()

    def test_bound(self) -> None:
        """P10: at n-1 and n there is a connection to be had, at n+1 when another is gone; leaving twice counts once."""
        turns = Turns(3, self.clock)
        self._enter(turns, "a", "b", "c", "d")
        self.assertEqual((set(self.held), turns.held, turns.waiting), ({"a", "b", "c"}, 3, 1))
        leave = self.held["b"]
        leave()
        leave()
        self.assertEqual((turns.held, turns.waiting), (3, 0))
        self.assertIn("d", self.held)

    def test_some_are_left_for_others(self) -> None:
        """P5: one owner has half of what others leave, whatever he asks for; an owner with none gets the last one."""
        turns = Turns(8, self.clock)
        self._enter(turns, *(f"a{number}" for number in range(20)))
        self.assertEqual(turns.held, 4)
        self._enter(turns, *(f"b{number}" for number in range(20)))
        self.assertEqual(turns.held, 6)
        self._enter(turns, "c1", "c2", "d1", "e1")
        self.assertEqual({name for name in self.held if name[0] > "b"}, {"c1", "d1"})

    def test_owners_in_turn(self) -> None:
        """What becomes free goes to owners one after the other, to each in the order of his asking."""
        turns = Turns(2, self.clock)
        self._enter(turns, "x", "y", "a1", "a2", "b1", "c1")
        self._leave("x")
        self._leave("y")
        self.assertEqual(list(self.held), ["a1", "b1"])
        self._leave("a1")
        self.assertEqual(list(self.held), ["b1", "c1"])
        self._leave("b1")
        self.assertEqual(list(self.held), ["c1", "a2"])

    def test_make_way(self) -> None:
        """While others wait those that lasted longest are asked to end, once, and none that has just begun."""
        turns = Turns(4, self.clock)
        self._enter(turns, "a1", "a2")
        self.clock.advance(LEAST)
        self.assertEqual((self.asked, self.clock.getDelayedCalls()), ([], []))
        self._enter(turns, "a3")
        self.clock.advance(TICK)
        self.assertEqual(self.asked, ["a1", "a2"])
        self.clock.pump([TICK] * 5)
        self.assertEqual(self.asked, ["a1", "a2"])
        self._leave("a1")
        self.assertEqual(set(self.held), {"a2", "a3"})
        self._enter(turns, "b1", "c1", "d1")
        self.clock.pump([TICK] * 5)
        self.assertEqual(self.asked, ["a1", "a2"])

    def test_given_up(self) -> None:
        """Who gives up waiting is forgotten; nothing is watched when nobody waits."""
        turns = Turns(1, self.clock)
        self._enter(turns, "a")
        given_up = turns.enter("b", lambda: None)
        self._enter(turns, "b2")
        given_up.cancel()
        self.failureResultOf(given_up)
        self.assertEqual(turns.waiting, 1)
        self._leave("a")
        self.assertIn("b2", self.held)
        self.clock.advance(TICK)
        self.assertEqual(self.clock.getDelayedCalls(), [])
