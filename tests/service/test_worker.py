"""The thread that does blocking calls: their order, their failures, its end."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from lb.service.worker import Worker

reactor: Any = _reactor


class _Held:
    """Something whose end can be seen."""


class WorkerTests(TestCase):
    """A thread of a real reactor."""

    timeout = 30

    def setUp(self) -> None:
        self.worker = Worker(reactor, "lb-test")
        self.addCleanup(self.worker.stop)

    async def test_order(self) -> None:
        """Calls run one after another in the one thread, and are answered in their order in the reactor's."""
        ran: list[int] = []
        told: list[int] = []

        def note(number: int) -> int:
            self.assertEqual(threading.current_thread().name, "lb-test")
            ran.append(number)
            return number

        def answered(number: int) -> None:
            self.assertNotEqual(threading.current_thread().name, "lb-test")
            told.append(number)

        await gatherResults([self.worker.call(note, number).addCallback(answered) for number in range(200)])
        self.assertEqual((ran, told), (list(range(200)), list(range(200))))

    async def test_failure(self) -> None:
        """A call that fails tells its caller, and the next one runs."""
        failing = self.worker.call(int, "x")
        following = self.worker.call(int, "1")
        await self.assertFailure(failing, ValueError)
        self.assertEqual(await following, 1)

    async def test_let_go(self) -> None:
        """What a failed call held, and its failure, go with who asked: they do not wait for the garbage collector."""
        gc.disable()
        self.addCleanup(gc.enable)
        held = [_Held()]
        gone = weakref.ref(held[0])

        def fail(_: _Held) -> None:
            raise ValueError

        failing = self.worker.call(fail, held.pop())
        await self.assertFailure(failing, ValueError)
        del failing
        await self.worker.call(int, "1")  # in another turn of the thread
        self.assertIsNone(gone())

    async def test_waiting(self) -> None:
        """Calls that have not begun are counted."""
        begun, held = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            held.wait()

        first = self.worker.call(hold)
        begun.wait()
        second = self.worker.call(hold)
        self.assertEqual(self.worker.waiting, 1)
        held.set()
        await gatherResults([first, second])
        self.assertEqual(self.worker.waiting, 0)

    async def test_end(self) -> None:
        """What was asked for before the end is done, what comes later is refused; stopping twice is no mistake."""
        results: list[Deferred[int]] = [self.worker.call(int, str(number)) for number in range(100)]
        self.worker.stop()
        self.worker.stop()
        self.assertEqual(await gatherResults(results), list(range(100)))
        with self.assertRaisesRegex(RuntimeError, "lb-test is stopped"):
            self.worker.call(int)
