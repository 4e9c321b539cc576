"""P5, P6, P10 from outside: peers that send nonsense, too much, too slowly or half, beside one that does not."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from contextlib import closing

from lb.wire import dglog, http, il
from tests.processes.daemon import PATIENCE, connect, replies
from tests.processes.house import House, answers
from tests.server.test_ingest import running

#: What a daemon may take for messages that have begun, bytes: twice the bound below, while a buffer grows.
MARGIN = 64 << 20
GREAT = 100_000_000

Peer = Callable[[], socket.socket]


def end_of(connection: socket.socket) -> bytes:
    """What still comes until the daemon closes; nothing else ends the waiting but the test's patience."""
    came = b""
    while True:
        try:
            data = connection.recv(65536)
        except TimeoutError:
            raise AssertionError(f"not closed within {PATIENCE} s") from None
        except OSError:  # closed without goodbye
            return came
        if not data:
            return came
        came += data


class Peers(House):
    """Both daemons, and a good peer of each port that is served all the time."""

    def setUp(self) -> None:
        super().setUp()
        self.job = self.register()
        self.sent = 0
        self.good = {port: self._connect(port) for port in (self.logger_port, self.port + 1)}
        self.came = {
            self.logger_port: iter(answers(self.good[self.logger_port])),
            self.port + 1: (reply.major for reply in replies(self.good[self.port + 1])),
        }
        for connection in self.good.values():
            self.addCleanup(connection.close)
        self._good_peers()

    def _connect(self, port: int) -> ssl.SSLSocket:
        connection = connect(port, self.state / "pki")
        self.addCleanup(connection.close)
        return connection

    def _plain(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def _line(self, node: str) -> bytes:
        self.sent += 1
        return running(self.sent, node, job=str(self.job), user=self.user).encode()

    def _good_peers(self, node: str = "wn") -> None:
        """One event more over each kept connection, answered; and a question."""
        self.good[self.logger_port].sendall(dglog.message(self._line(node)))
        self.good[self.port + 1].sendall(il.frame(self._line(node)))
        self.assertEqual([next(self.came[port]) for port in self.good], [0, 0])
        self.nodes(self.job)


class BadPeers(Peers):
    """Daemons that give a peer three seconds: enough for good ones on a busy machine."""

    server_options = logger_options = ("--handshake-timeout", "3", "--message-timeout", "3")

    def _each(self, wrong: dict[int, tuple[bytes, bytes]]) -> None:
        """Send something wrong to each port: it says so and closes, and the good peers are served."""
        for port, (sent, answered) in wrong.items():
            connection = self._connect(port)
            connection.sendall(sent)
            self._good_peers()
            self.assertTrue(end_of(connection).startswith(answered), port)
            self._good_peers()

    def test_garbage(self) -> None:
        """What is no message is answered as far as the protocol can, and closed."""
        garbage = b"\0\xff garbage \r\n\r\n" * 100
        refusal = dglog.answer(22)
        self._each(
            {
                self.logger_port: (garbage, refusal),
                self.port + 1: (garbage, b""),
                self.port: (garbage, b"HTTP/1.1 400 "),
            }
        )

    def test_wrong_length(self) -> None:
        """Lengths that contradict themselves are refused."""
        frame = il.frame(b"x" * 50)
        inner = frame.replace(b"\n50 ", b"\n60 ")
        self.assertNotEqual(frame, inner)
        decoding = il.write_reply(il.Reply(il.Major.PROTO, 0, "decoding event string failed"))
        head = http.request("POST", "/queryJobs", b"x" * 77).replace(b": 77", b": -7")
        self._each(
            {
                self.logger_port: (b"DGLOG" + (-1).to_bytes(4, "little", signed=True), dglog.answer(22)),
                self.port + 1: (inner, decoding),
                self.port: (head, b"HTTP/1.1 400 "),
            }
        )

    def test_huge_length(self) -> None:
        """An announced length beyond the bound is refused before anything of it is read."""
        head = http.request("POST", "/queryJobs", b"x" * 77).replace(b": 77", b": 999999999999")
        self._each(
            {
                self.logger_port: (b"DGLOG" + (0x7FFFFFFF).to_bytes(4, "little"), dglog.answer(22)),
                self.port + 1: (b"%16d\n" % 9_999_999_999, b""),
                self.port: (head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", b"HTTP/1.1 413 "),
            }
        )

    def test_slow(self) -> None:
        """Peers that begin and do not go on - with TLS, a message, or byte by byte - are closed in their time."""
        begun = {
            self.logger_port: dglog.message(b"x" * 5_000),
            self.port + 1: il.frame(b"x" * 5_000),
            self.port: http.request("POST", "/queryJobs", b"x" * 5_000),
        }
        silent = [self._plain(port) for port in begun]
        stuck = [self._connect(port) for port in begun]
        for connection, data in zip(stuck, begun.values(), strict=True):
            connection.sendall(data[:-1])
        self._good_peers()
        for connection in [*silent, *stuck]:
            self.assertEqual(end_of(connection), b"")
        self._good_peers()
        trickling = {self._connect(port): data for port, data in begun.items()}
        for connection in trickling:
            connection.settimeout(0.02)  # between two bytes
        for connection, count in self._trickle(list(trickling.items())).items():
            self.assertLess(count, len(trickling[connection]), "the whole message was taken byte by byte")
        self._good_peers()

    @staticmethod
    def _trickle(messages: list[tuple[ssl.SSLSocket, bytes]]) -> dict[ssl.SSLSocket, int]:
        """Send byte by byte until the daemon closes; how many bytes it let through on each connection."""
        ended: dict[ssl.SSLSocket, int] = {}
        for position in range(max(len(data) for _, data in messages)):
            for connection, data in messages:
                if connection in ended:
                    continue
                try:
                    connection.sendall(data[position : position + 1])
                    if not connection.recv(1):
                        ended[connection] = position
                except TimeoutError:
                    continue
                except OSError:
                    ended[connection] = position
            if len(ended) == len(messages):
                break
        return {connection: ended.get(connection, len(data)) for connection, data in messages}

    def test_half_closed(self) -> None:
        """A peer that closes its side after a whole event has it stored; after half of one it is closed."""
        for port, whole in ((self.logger_port, dglog.message), (self.port + 1, il.frame)):
            connection = self._connect(port)
            connection.sendall(whole(self._line(f"half-{port}")))
            # The way for TCP alone: the TLS layer of `ssl.SSLSocket.shutdown` would forget its keys.
            socket.socket.shutdown(connection, socket.SHUT_WR)
            end_of(connection)
            connection = self._connect(port)
            connection.sendall(whole(self._line("lost"))[:-1])
            self.sent -= 1
            socket.socket.shutdown(connection, socket.SHUT_WR)
            self.assertEqual(end_of(connection), b"")
            self._good_peers()
        connection = self._connect(self.port)
        connection.sendall(b"POST /queryJobs HTTP/1.1\r\nContent-Le")
        socket.socket.shutdown(connection, socket.SHUT_WR)
        self.assertEqual(end_of(connection), b"")
        nodes = self.wait_for(self.job, self.sent)
        self.assertEqual(len(nodes), self.sent)
        self.assertLessEqual({f"half-{self.logger_port}", f"half-{self.port + 1}"}, set(nodes))
        self.assertNotIn("lost", nodes)


class ManyPeers(Peers):
    """Daemons with narrow bounds."""

    server_options = logger_options = ("--max-unfinished", "32M", "--max-connections", "100")

    def test_memory(self) -> None:
        """Many great messages begun at once cost no more memory than is allowed."""
        query = http.request("POST", "/queryJobs", b"x" * 8_000_000)
        for daemon, port, begin in (
            (self.logger, self.logger_port, b"DGLOG" + GREAT.to_bytes(4, "little")),
            (self.server, self.port + 1, b"%16d\n" % GREAT),
            (self.server, self.port, query[: query.index(b"\r\n\r\n") + 4]),
        ):
            with contextlib.ExitStack() as opened:
                many = [opened.enter_context(closing(self._connect(port))) for _ in range(40)]
                daemon.memory()
                before = daemon.memory()
                for connection in many:
                    with contextlib.suppress(OSError):  # closed in the middle of it
                        connection.sendall(begin + b"x" * 4_000_000)
                self._good_peers()
                self.assertLess(daemon.memory() - before, MARGIN)

    def test_sizes(self) -> None:
        """Events of 100 bytes of content and of 10 MB pass, on either way, beside a peer that is stuck."""
        stuck = self._connect(self.port + 1)
        stuck.sendall(il.frame(b"x" * 5_000)[:-1])
        for size in (100, 10_000_000):
            self._good_peers("n" * size)
        nodes = self.wait_for(self.job, self.sent)
        self.assertEqual(sorted(map(len, nodes)), [2, 2, 100, 100, 10_000_000, 10_000_000])

    def test_too_many(self) -> None:
        """Connections beyond the bound are closed at once, those before them are served; room is given back."""
        for port in self.good:
            with contextlib.ExitStack() as opened:
                plain = [opened.enter_context(closing(self._plain(port))) for _ in range(110)]
                self.assertEqual(end_of(plain[-1]), b"")
                plain[0].setblocking(False)
                self.assertRaises(BlockingIOError, plain[0].recv, 1)
                self._good_peers()
            self._connect_at_last(port)

    def _connect_at_last(self, port: int) -> None:
        """Try until there is room again; each try takes the daemon some time."""
        for _ in range(1_000):
            with contextlib.suppress(OSError):
                self._connect(port)
                return
        raise AssertionError("no room again")
