"""A process of its own: opens the spool in argv[1], says so, appends until it is killed, prints what was accepted."""

import sys

from twisted.internet import reactor

from lb.spool.errors import SpoolLockedError
from lb.spool.limits import Limits
from lb.spool.queue import Queue
from lb.spool.spool import Spool


def main() -> None:
    spool = Spool.threaded(sys.argv[1], reactor, reactor.callFromThread, Limits(segment_bytes=20_000))
    try:
        spool.open()
    except SpoolLockedError as error:
        sys.exit(str(error))
    print("open", flush=True)
    count = 0

    def append() -> None:
        nonlocal count
        count += 1
        spool.append([("a:1", b"%d" % count * 50), ("b:2", b"%d" % count)]).addCallback(accepted)

    def accepted(records: list[tuple[Queue, int]]) -> None:
        for queue, number in records:
            print(queue.destination, number, flush=True)
        append()

    for _ in range(5):
        reactor.callWhenRunning(append)
    reactor.run()


if __name__ == "__main__":
    main()
