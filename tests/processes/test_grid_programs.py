"""Programs of the grids' own C security libraries as visitors: caNl, which the C clients use, and voms-proxy-init."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.packages import CANL_CLIENT, VOMS_PROXY_INIT, absence, locate
from tests.processes.daemon import PATIENCE, Daemon, free_port

_LB = (sys.executable, "-m", "lb.client.cli")


class GridProgramTests(SynchronousTestCase):
    """A server whose development authority the programs trust, by its hashed directory and signing policy."""

    skip = absence(CANL_CLIENT) or absence(VOMS_PROXY_INIT)

    def _serve(self, *options: str) -> Daemon:
        """Start a server."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.port = free_port()
        server = Daemon("lb", self.directory / "state", "--port", str(self.port), *options, level="info")
        self.addCleanup(server.kill)
        server.start()
        self.pki = self.directory / "state" / "pki"
        return server

    def _said(self, *words: str | Path, **variables: str | Path) -> str:
        """What a program says."""
        environ = os.environ | {"X509_CERT_DIR": str(self.pki / "ca"), "HOME": str(self.directory)}
        ran = subprocess.run(
            words,
            env=environ | {name: str(value) for name, value in variables.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            text=True,
        )
        return ran.stdout

    def _proxy(self) -> Path:
        """A proxy of the development user as `voms-proxy-init` makes it."""
        proxy = self.directory / "proxy.pem"
        (self.directory / ".rnd").touch()
        user = ("-cert", self.pki / "user.pem", "-key", self.pki / "user.key", "-certdir", self.pki / "ca")
        said = self._said(locate(VOMS_PROXY_INIT), "-rfc", "-noregen", *user, "-out", proxy, "-valid", "1:00")
        self.assertTrue(proxy.exists(), said)
        return proxy

    def _register(self, proxy: Path) -> str:
        """What `lb register` says that acts with a proxy."""
        return self._said(*_LB, "register", "--server", f"localhost:{self.port}", X509_USER_PROXY=proxy)

    def test_canl(self) -> None:
        """caNl believes the server and is believed by it: what its client sends is read as the user's."""
        server = self._serve()
        user = ("-c", str(self.pki / "user.pem"), "-k", str(self.pki / "user.key"))
        said = self._said(locate(CANL_CLIENT), "-s", "localhost", "-p", str(self.port + 1), *user)
        self.assertIn("connection established", said)
        self.assertIn("sent successfully", said)
        server.kill()
        self.assertIn("/O=LB Development/CN=Development User", server.log.read_text())
        self.assertIn("frame header b'This is the testi'", server.log.read_text())

    def test_proxies(self) -> None:
        """A proxy of `voms-proxy-init` acts for its owner where SHA-1 is taken of proxies."""
        self._serve("--sha1-proxies")
        registered = self._register(self._proxy())
        job = next(word for word in registered.split() if f"https://localhost:{self.port}/" in word)
        jobs = self._said(*_LB, "jobs", "--server", f"localhost:{self.port}", "--state-dir", self.pki.parent)
        self.assertIn(job.rpartition("/")[2].strip('"'), jobs)

    def test_weak_proxies(self) -> None:
        """Elsewhere it is refused, and the log tells the operator what to do."""
        server = self._serve()
        self.assertIn("certificate", self._register(self._proxy()))
        server.kill()
        self.assertIn("--sha1-proxies", server.log.read_text())
