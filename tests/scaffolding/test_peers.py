"""The private brokers and the private database answer, and are gone afterwards."""

import os
import select
import socket
import ssl
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import activemq, postgres, rabbitmq
from tests.peers.certificates import shared_certificates
from tests.peers.process import PrivateProcess, StartError, free_ports, outgoing_ports_from, private_directory
from tests.processes.daemon import free_port

PATIENCE = 30  # seconds a broker may take to answer

CONNECT = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0"


def stomp_answer(port: int, context: ssl.SSLContext | None = None) -> bytes:
    """The command with which a broker answers a STOMP 1.2 CONNECT."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
        connection = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        with connection:
            connection.sendall(CONNECT)
            answer = b""
            while b"\0" not in answer:
                received = connection.recv(4096)
                if not received:
                    break
                answer += received
    return answer.partition(b"\n")[0]


def tls_context(*, with_user: bool) -> ssl.SSLContext:
    """A client that trusts the test authority, with or without a certificate of its own."""
    certificates = shared_certificates()
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if with_user:
        context.load_cert_chain(certificates.user.certificate, certificates.user.key)
    return context


class PeerTests(SynchronousTestCase):
    """What is the same for all of them."""

    def assert_gone(self, pids: tuple[int, ...], directory: Path) -> None:
        """Neither processes nor files are left."""
        self.assertEqual([pid for pid in pids if Path(f"/proc/{pid}").exists()], [])
        self.assertFalse(directory.exists())

    def assert_refuses_strangers(self, port: int) -> None:
        """Over TLS, whoever has no certificate gets no answer."""
        try:
            answer = stomp_answer(port, tls_context(with_user=False))
        except (ssl.SSLError, ConnectionError):
            return
        self.assertNotEqual(answer, b"CONNECTED")


class RabbitMQTests(PeerTests):
    """RabbitMQ."""

    skip = rabbitmq.absent

    def test_shared(self) -> None:
        """STOMP is answered, plain and over TLS with a user's certificate only; AMQP greets on both its ports."""
        broker = rabbitmq.shared()
        self.assertEqual(stomp_answer(broker.stomp_port), b"CONNECTED")
        assert broker.stomp_tls_port is not None
        assert broker.amqps_port is not None
        self.assertEqual(stomp_answer(broker.stomp_tls_port, tls_context(with_user=True)), b"CONNECTED")
        self.assert_refuses_strangers(broker.stomp_tls_port)
        with socket.create_connection(("127.0.0.1", broker.amqp_port), PATIENCE) as connection:
            connection.sendall(b"AMQP\0\0\x09\x01")
            self.assertEqual(connection.recv(3), b"\x01\0\0")  # a method frame on channel 0: Connection.Start
        with (
            socket.create_connection(("127.0.0.1", broker.amqps_port), PATIENCE) as plain,
            tls_context(with_user=True).wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"AMQP\0\0\x09\x01")
            self.assertEqual(connection.recv(3), b"\x01\0\0")
        self.assertIs(rabbitmq.shared(), broker)

    def test_stop(self) -> None:
        """A stopped broker leaves neither processes nor files; without certificates it has no TLS ports."""
        broker = rabbitmq.RabbitMQ()
        self.assertEqual((broker.amqps_port, broker.stomp_tls_port), (None, None))
        broker.stop()
        self.assert_gone(broker.pids, broker.directory)


class ActiveMQTests(PeerTests):
    """ActiveMQ."""

    skip = activemq.absent

    def test_shared(self) -> None:
        """STOMP is answered, plain and over TLS with a user's certificate only."""
        broker = activemq.shared()
        self.assertEqual(stomp_answer(broker.stomp_port), b"CONNECTED")
        assert broker.stomp_tls_port is not None
        self.assertEqual(stomp_answer(broker.stomp_tls_port, tls_context(with_user=True)), b"CONNECTED")
        self.assert_refuses_strangers(broker.stomp_tls_port)
        self.assertIs(activemq.shared(), broker)

    def test_stop(self) -> None:
        """A stopped broker leaves neither processes nor files; without certificates it has no TLS port."""
        broker = activemq.ActiveMQ()
        self.assertIsNone(broker.stomp_tls_port)
        broker.stop()
        self.assert_gone((broker.pid,), broker.directory)


class PostgreSQLTests(PeerTests):
    """PostgreSQL."""

    skip = postgres.absent

    def test_shared(self) -> None:
        """A statement is answered, and the server is as durable as a real one (P1 rests on fsync)."""
        server = postgres.shared()
        self.assertEqual(server.psql("SELECT 1"), "1\n")
        self.assertEqual(server.psql("SHOW fsync"), "on\n")
        self.assertIs(postgres.shared(), server)

    def test_stop(self) -> None:
        """A stopped server leaves neither processes nor files."""
        server = postgres.PostgreSQL()
        server.stop()
        self.assert_gone((server.pid,), server.directory)


class ProcessTests(SynchronousTestCase):
    """Processes of whatever program."""

    def test_fails(self) -> None:
        """A program that ends before it is ready raises what it printed."""
        process = PrivateProcess(["sh", "-c", "echo no luck; exit 3"], ready="ready", directory=private_directory())
        error = self.assertRaises(StartError, process.wait_until_ready)
        self.assertEqual(str(error), "no luck\n")

    def test_stop_takes_the_group(self) -> None:
        """What a program started in its group ends with it, and a second stop does nothing."""
        script = "sleep 600 & echo started $!; wait"
        process = PrivateProcess(["sh", "-c", script], ready=r"started (\d+)", directory=private_directory())
        self.addCleanup(process.stop)
        child = os.pidfd_open(int(process.wait_until_ready()[1]))
        self.addCleanup(os.close, child)
        self.assertEqual(select.select([child], [], [], 0)[0], [])
        process.stop()
        self.assertEqual(select.select([child], [], [], PATIENCE)[0], [child])  # readable: it has ended
        process.stop()

    def test_ports(self) -> None:
        """Free ports are distinct and outside what the kernel gives to outgoing connections."""
        ports = free_ports(50)
        self.assertEqual(len(set(ports)), 50)
        self.assertLess(max(ports), outgoing_ports_from())

    def test_rows_of_ports(self) -> None:
        """Ports of servers: likewise, with those beside them, and none twice although nobody listens on them yet."""
        taken = [port + offset for port in (free_port() for _ in range(300)) for offset in (0, 1, 3)]
        self.assertEqual(len(set(taken)), 900)
        self.assertLess(max(taken), outgoing_ports_from())
