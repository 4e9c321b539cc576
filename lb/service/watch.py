"""Questions are watched: how long each kind takes, and those that take too long stand in the log with who asked."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Final

from twisted.logger import Logger

#: Characters of a question in the log.
_LONGEST: Final = 1_000


class Watch:
    """Told of each question when it was answered."""

    log = Logger()

    def __init__(
        self,
        observe: Callable[[str, float], None] = lambda kind, seconds: None,
        slow: float = 0.0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """`slow`: seconds beyond which a question is logged, 0 = never; `clock` gives seconds of any beginning."""
        self._observe = observe
        self._slow = slow
        self._clock = clock

    def begin(self) -> float:
        """A moment for `end`."""
        return self._clock()

    def end(self, began: float, kind: str, peer: str | None, question: str | bytes) -> None:
        """A question of a kind is answered, or given up by who asked; from when it was asked whole."""
        seconds = self._clock() - began
        self._observe(kind, seconds)
        if self._slow and seconds > self._slow:
            if isinstance(question, bytes):
                question = question[: 4 * _LONGEST].decode("utf-8", "replace")
            self.log.warn(
                "slow: {kind} of {peer} took {seconds:.3f} s: {question}",
                kind=kind,
                peer=peer or "anonymous",
                seconds=seconds,
                question=question[:_LONGEST],
            )
