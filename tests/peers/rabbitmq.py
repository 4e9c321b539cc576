"""A private RabbitMQ broker that speaks AMQP 0-9-1 and STOMP on loopback ports, plain and, given certificates, TLS."""

import base64
import functools
import hashlib
import json
import os
import subprocess

from tests.peers.broker import PrivateBroker
from tests.peers.certificates import Certificates, shared_certificates
from tests.peers.packages import RABBITMQ, absence, locate
from tests.peers.process import PrivateProcess, free_ports, private_directory

LOGIN, PASSCODE = "guest", "guest"  # as the broker itself would create it, for loopback only
READER = "reader"  # may consume, not publish; its password is its name
CERTIFICATE_USER = "CN=Test User,O=Test"  # as the broker spells the subject of the user's certificate


def _definitions() -> str:
    """Users and permissions of a new broker; who logs in by a certificate has no password."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    rights = {LOGIN: everything, CERTIFICATE_USER: everything, READER: {**everything, "write": "^$"}}
    users = [
        {"name": LOGIN, "password_hash": _hash(PASSCODE), "tags": ["administrator"]},
        {"name": READER, "password_hash": _hash(READER), "tags": []},
        {"name": CERTIFICATE_USER, "password_hash": "", "tags": []},
    ]
    return json.dumps(
        {
            "users": [{**user, "hashing_algorithm": "rabbit_password_hashing_sha256"} for user in users],
            "vhosts": [{"name": "/"}],
            "permissions": [{"user": user, "vhost": "/", **allowed} for user, allowed in rights.items()],
        }
    )


def _hash(password: str) -> str:
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


class RabbitMQ(PrivateBroker):
    """A running broker; the TLS ports are None without certificates."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        program = locate(RABBITMQ)
        self.directory = private_directory()
        ports = iter(free_ports(6))
        self.amqp_port, self.stomp_port = next(ports), next(ports)
        self.amqps_port: int | None = None
        self.stomp_tls_port: int | None = None
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.amqp_port}",
            "stomp.listeners.tcp.1": f"127.0.0.1:{self.stomp_port}",
            "log.console": "true",
            "log.file": "false",
            "load_definitions": str(self.directory / "definitions.json"),
        }
        if certificates is not None:
            self.amqps_port, self.stomp_tls_port = next(ports), next(ports)
            settings |= {
                "listeners.ssl.1": f"127.0.0.1:{self.amqps_port}",
                "stomp.listeners.ssl.1": f"127.0.0.1:{self.stomp_tls_port}",
                "ssl_options.cacertfile": str(certificates.ca),
                "ssl_options.certfile": str(certificates.host.certificate),
                "ssl_options.keyfile": str(certificates.host.key),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
                "auth_mechanisms.1": "EXTERNAL",
                "auth_mechanisms.2": "PLAIN",
                "stomp.ssl_cert_login": "true",
            }
        (self.directory / "definitions.json").write_text(_definitions())
        configuration = self.directory / "rabbitmq.conf"
        configuration.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        plugins = self.directory / "enabled_plugins"
        plugins.write_text("[rabbitmq_stomp,rabbitmq_auth_mechanism_ssl].\n")
        self._control = program.with_name("rabbitmqctl")
        self._environment = environment = {
            "HOME": str(self.directory),  # the Erlang cookie
            "RABBITMQ_NODENAME": "lb@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_DIST_PORT": str(next(ports)),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(next(ports)),
            # The start script then becomes the broker instead of waiting beside it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        # Erlang's name server would be started as a daemon that stays; as a process of ours it ends with us.
        names = self.directory / "names"
        names.mkdir()
        self._name_server = PrivateProcess(
            ["epmd", "-d"], ready="epmd running", directory=names, environment=environment
        )
        self._name_server.wait_until_ready()
        self._process = PrivateProcess(
            [program], ready="Server startup complete", directory=self.directory, environment=environment
        )
        self._process.wait_until_ready()

    @property
    def pids(self) -> tuple[int, int]:
        """The ids of the broker and of its name server."""
        return self._process.pid, self._name_server.pid

    def control(self, *command: str) -> str:
        """What rabbitmqctl says."""
        words = [self._control, *command]
        done = subprocess.run(
            words, env={**os.environ, **self._environment}, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def stop(self) -> None:
        """End broker and name server at once and remove their files."""
        super().stop()
        self._name_server.stop()


@functools.cache
def shared() -> RabbitMQ:
    """The broker of this test process, with TLS, started on the first call and stopped at exit."""
    return RabbitMQ(shared_certificates())


absent = absence(RABBITMQ)
