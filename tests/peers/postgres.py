"""A private PostgreSQL server: a new cluster reached over a socket in its own directory, durable as a real one."""

import functools
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from tests.peers.packages import POSTGRESQL, absence, locate
from tests.peers.process import PrivateProcess, StartError, private_directory

USER = "postgres"  # of the database; the one of the system when root runs the tests, as the server refuses root


class PostgreSQL:
    """A running server; ``url`` is what a client takes."""

    def __init__(self) -> None:
        self.programs = locate(POSTGRESQL).parent
        self.directory = private_directory()
        account = _account()
        if account is not None:
            shutil.chown(self.directory, account, account)
        data = self.directory / "data"
        made = subprocess.run(
            [self.programs / "initdb", "--no-sync", "--auth=trust", f"--username={USER}", "--encoding=UTF8", data],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            user=account,
            group=account,
            extra_groups=[] if account else None,
        )
        if made.returncode:
            raise StartError(made.stdout)
        # No TCP port: the directory's permissions are the access control.
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.directory), "fsync": "on"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = PrivateProcess(
            [self.programs / "postgres", "-D", data, *options],
            ready="database system is ready to accept connections",
            directory=self.directory,
            user=account,
            end=signal.SIGINT,  # fast shutdown: a kill would leave its shared memory behind
        )
        self._process.wait_until_ready()

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The database that every cluster has."""
        return f"postgresql://{USER}@/postgres?host={self.directory}"

    def psql(self, statement: str) -> str:
        """What psql prints for a statement: a line a row, columns separated by bars."""
        command: list[str | Path] = [
            self.programs / "psql",
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
            self.url,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        """End the server and remove its files."""
        self._process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def _account() -> str | None:
    """The system account to run as: None for one's own."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@functools.cache
def shared() -> PostgreSQL:
    """The server of this test process, started on the first call and stopped at exit."""
    return PostgreSQL()


absent = absence(POSTGRESQL)
