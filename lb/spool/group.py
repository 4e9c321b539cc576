"""Group commit: all chunks that arrive while the writer thread is busy go to disk together, one write for each journal.

A chunk is answered when everything in it is on stable storage, or with the error if any part of it is not.
"""

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lb.spool.queue import Batch, Queue
from lb.spool.segment import encode_records


class Group:
    """The chunks that will be committed together. `size` is the bytes of their encoded records."""

    def __init__(self) -> None:
        self.size = 0
        self._batches: dict[Queue, Batch] = {}
        self._chunks: list[tuple[Deferred[list[tuple[Queue, int]]], list[tuple[Queue, int]], list[Batch]]] = []

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def queues(self) -> Iterable[Queue]:
        """Return the queues the chunks touch."""
        return self._batches

    def add(
        self, order: Sequence[Queue], payloads: dict[Queue, list[bytes]], time: int
    ) -> Deferred[list[tuple[Queue, int]]]:
        """Number and encode a chunk; return what fires with queue and number of each record when all are stored.

        `payloads` holds each queue's part of the chunk, `order` the queue of each record of the chunk.
        """
        touched = []
        numbers: dict[Queue, int] = {}
        for queue, part in payloads.items():
            first = numbers[queue] = queue.take_numbers(len(part))
            batch = self._batches.get(queue)
            if batch is None:
                batch = self._batches[queue] = Batch(first, time)
            batch.last = first + len(part) - 1
            self.size += encode_records(batch.parts, part, first, time, queue.seed)
            touched.append(batch)
        accepted: list[tuple[Queue, int]] = []
        for queue in order:
            accepted.append((queue, numbers[queue]))
            numbers[queue] += 1
        fired: Deferred[list[tuple[Queue, int]]] = Deferred()
        self._chunks.append((fired, accepted, touched))
        return fired

    def store(self) -> None:
        """Commit every journal's batch, whatever happens to the others. Runs in the writer thread."""
        for queue, batch in self._batches.items():
            try:
                queue.journal.commit(batch.parts, batch.first, batch.last, batch.time)
            except Exception:  # an unforeseen one too belongs to the senders: they wait for an answer
                batch.failure = Failure()
            batch.parts.clear()

    def settle(self) -> None:
        """Tell the queues what is stored now, and answer the chunks. Runs in the reactor's thread."""
        for queue, batch in self._batches.items():
            queue.settle(batch)
        for fired, accepted, touched in self._chunks:
            failure = next((batch.failure for batch in touched if batch.failure is not None), None)
            if failure is None:
                fired.callback(accepted)
            else:
                fired.errback(failure)
        for queue, batch in self._batches.items():
            if batch.failure is None:
                queue.wake()
