"""One destination's records on their way to it: sent in order, acknowledged by its replies (P2, P4).

Sent again from the first unacknowledged record after any failure, with growing pauses; refused for good means
quarantine, never silence. Deliveries share nothing but the disk, so that a bad destination delays no other (P5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.service.deliverable import Gate, Limits, Listener, Queue, R
from lb.service.follower import Follower
from lb.service.link import Link, LinkFactory
from lb.service.refusals import Refusals, words
from lb.wire import il


def _open_gate(make_way: Callable[[], None], /) -> Deferred[Callable[[], None]]:
    return succeed(lambda: None)


class Delivery(Follower[R], Generic[R]):
    """Sends a queue's records. `random()` gives numbers from 0 up to 1, for the pauses.

    `gate` bounds connections; without one, they are made as they are needed.
    """

    _log = Logger()

    def __init__(
        self,
        queue: Queue[R],
        endpoint: Callable[[], IStreamClientEndpoint],
        clock: IReactorTime,
        random: Callable[[], float],
        limits: Limits,
        listener: Listener | None = None,
        gate: Gate = _open_gate,
    ) -> None:
        super().__init__(queue, clock, listener)
        #: Why nothing is delivered, None when all is well.
        self.trouble: str | None = None
        self._endpoint = endpoint
        self._gate = gate
        self._random = random
        self._limits = limits
        self._connecting: Deferred[Any] | None = None
        self._link: Link | None = None
        self._usable = False
        self._leaving = False  # others wait for a connection
        self._succeeded = False  # something was answered on this link
        self._read: deque[R] = deque()  # not sent yet
        self._sent: deque[R] = deque()  # without a reply
        self._sent_bytes = 0
        self._reading = False
        self._refusals: Refusals[R] = Refusals(limits.refusals)
        self._setting_aside = 0  # records on their way to quarantine
        self._watch: IDelayedCall | None = None

    def stop(self) -> None:
        """End; what is not acknowledged stays in the queue."""
        super().stop()
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop()

    def wake(self) -> None:
        """There may be records to send."""
        if self._usable:
            self._pump()
        elif self._at_rest and self._queue.readable:
            self._connect()

    @property
    def _at_rest(self) -> bool:
        return self._link is None and self._connecting is None and self._pause is None and not self._stopped

    def make_way(self) -> None:
        """Others wait for a connection: end ours as soon as nothing is without a reply, and take another turn."""
        if self._link is not None:
            self._leaving = True
            self._pump()

    # The connection

    def _connect(self) -> None:
        self._connecting = self._gate(self.make_way).addCallback(self._open)
        # Not in one expression: it may have fired already, and then what it calls clears the attribute.
        self._connecting.addCallbacks(self._connected, self._unreachable)

    def _open(self, gone: Callable[[], None]) -> Deferred[Any]:
        def failed(failure: Failure) -> Failure:
            gone()
            return failure

        factory = LinkFactory(self, self._limits.reply_bytes, gone)
        return maybeDeferred(lambda: self._endpoint().connect(factory)).addErrback(failed)

    def _connected(self, link: Link) -> None:
        self._connecting = None
        if link is self._link:  # its handshake is done already
            return
        if self._at_rest:
            self._attach(link)
        else:
            # Something failed while it was made; nobody would ever close it.
            link.transport.abortConnection()

    def _attach(self, link: Link) -> None:
        self._link = link
        self._leaving = False
        self._succeeded = False
        self._rest(self._patience)

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if not self._stopped:
            self._back_off(failure.getErrorMessage())

    def usable(self, link: Link) -> None:
        """The link's handshake is done."""
        if self._stopped:
            link.transport.abortConnection()
            return
        if self._link is None:
            self._attach(link)
        if link is self._link:
            self._usable = True
            self._rest(self._patience)
            self._pump()

    def lost(self, link: Link, reason: str) -> None:
        """A link ended: resend what has no reply; a close that follows a success is a peer's custom, no failure."""
        if link is not self._link:
            return
        again = self._succeeded or self._refusals.reconnect()
        self._drop()
        if again:
            self.wake()
        else:
            self._back_off(reason)

    def _drop(self) -> None:
        link, self._link = self._link, None
        self._usable = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._read.clear()
        self._sent.clear()
        self._sent_bytes = 0
        self._queue.rewind()
        if link is not None:
            link.transport.abortConnection()

    def _fail(self, reason: str) -> None:
        self._drop()
        self._back_off(reason)

    def _back_off(self, reason: str) -> None:
        self._refusals.nothing_proven()
        if self._stopped or self._pause is not None:
            return
        self.trouble = reason
        first = self._limits.first_pause
        longest = min(self._limits.longest_pause, first * 2.0 ** min(self._failures, 30))
        self._pause_for(max(first, longest * (0.5 + self._random() / 2)), reason)

    @property
    def _patience(self) -> float:
        """Seconds that the server has for its next reply; a slow line earns more by what is on its way."""
        return self._limits.patience + self._sent_bytes / self._limits.slowest

    def _rest(self, seconds: float) -> None:
        if self._watch is None:
            self._watch = self._clock.callLater(seconds, self._expire)
        else:
            self._watch.reset(seconds)

    def _expire(self) -> None:
        self._watch = None
        if self._usable and not self._sent and not self._read and not self._reading:
            self._end()
        else:
            self._fail(f"no reply within {self._limits.patience:.0f} s")

    def _end(self) -> None:
        """Close a connection on which nothing is without a reply."""
        link, self._link = self._link, None
        self._drop()
        if link is not None:
            link.end(self._clock)
        self.wake()

    # Records

    def _pump(self) -> None:
        """Send what the window allows in one write, and have more read when nothing is left to send."""
        link = self._link
        if link is None or not self._usable:
            return
        if self._leaving or (link.expires is not None and self._clock.seconds() > link.expires):
            if not self._sent:
                self._end()
            return
        window = self._limits.window_records if link.pipelining and not self._refusals.suspect else 1
        idle = not self._sent
        doubts = bool(self._refusals)
        frames = []
        while self._read and len(self._sent) < window:
            if doubts and self._refusals.passed_over(self._read[0]):
                self._read.popleft()
                continue
            size = len(self._read[0].payload)
            if self._sent and self._sent_bytes + size > self._limits.window_bytes:
                break
            record = self._read.popleft()
            self._sent.append(record)
            self._sent_bytes += size
            frames.append(il.frame(record.payload))
        if frames:
            if idle:
                self._rest(self._patience)
            link.transport.write(b"".join(frames))
        if not self._read and not self._reading and self._queue.readable:
            self._reading = True
            fetched = self._queue.read(self._limits.window_records, self._limits.window_bytes)
            fetched.addCallbacks(self._fetched, self._unread)
        if self._refusals.passing and not self._sent and not self._reading:
            self._fail("there is nothing behind the record that is refused")

    def _fetched(self, records: list[R]) -> None:
        self._reading = False
        if self._usable:
            self._read.extend(records)
        self.wake()

    def _unread(self, failure: Failure) -> None:
        self._reading = False
        if not self._stopped:
            self._fail(f"spool: {failure.getErrorMessage()}")

    def replied(self, link: Link, replies: list[il.Reply]) -> None:
        """Take replies for what was sent."""
        if link is not self._link:
            return
        doubts = bool(self._refusals)
        done = 0  # the last number of those accepted one after the other
        for reply in replies:
            if not self._sent:
                self._acknowledge(done)
                self._fail("a reply to nothing")
                return
            accepted = reply.major == il.Major.OK
            if not accepted and not il.is_permanent(reply):
                self._acknowledge(done)
                self._refused(reply)
                return
            record = self._sent.popleft()
            self._sent_bytes -= len(record.payload)
            if doubts and (given_up := self._refusals.settled(record.number, accepted)):
                self._give_up(*given_up)
            if not accepted:
                self._acknowledge(done)
                done = 0
                self._set_aside(record, reply)
            elif self._setting_aside:
                self._queue.acknowledge_one(record.number)
            else:
                done = record.number
            self._tell(record, reply)
        self._acknowledge(done)
        if link is not self._link:  # a record could not be set aside
            return
        self._succeeded = True
        self._failures = 0
        self.trouble = None
        self._rest(self._patience)
        self._pump()

    def _acknowledge(self, number: int) -> None:
        if number:
            self._queue.acknowledge(number)
            self._succeeded = True
            self._failures = 0
            self.trouble = None

    def _refused(self, reply: il.Reply) -> None:
        """The first of what was sent is refused for now: pause, or see whether it is this record alone."""
        record = self._sent[0]
        behind = bool(self._read or self._queue.readable)
        if self._refusals.refused(record, reply) and behind:
            self._sent.clear()
            self._sent_bytes = 0
            self._read.appendleft(record)
            self._pump()
        else:
            self._fail(f"the reply was {words(reply)}")

    def _give_up(self, record: R, reply: il.Reply, why: str) -> None:
        """Set aside a record that was refused for now, too often."""
        self._set_aside(record, reply, why)
        self._tell(record, reply)

    def _set_aside(self, record: R, reply: il.Reply, why: str = "") -> None:
        self._setting_aside += 1
        self._quarantine(record, f"{why}{words(reply)}").addCallbacks(self._aside, self._not_aside)

    def _aside(self, _: None) -> None:
        self._setting_aside -= 1

    def _not_aside(self, failure: Failure) -> None:
        self._setting_aside -= 1
        if not self._stopped:
            self._fail(f"quarantine: {failure.getErrorMessage()}")
