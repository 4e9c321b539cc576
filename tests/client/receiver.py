"""A receiver of notifications as C programs are, written from the spec alone (wire-notification.md §3.4, §3.5).

Plain blocking sockets and `ssl`, nothing of lb: one message at a time, an answer before the next one is looked at,
no ALPN, TCP closed without a goodbye. Tests in a reactor's thread call it by `deferToThread`.
"""

from __future__ import annotations

import html
import re
import select
import socket
import ssl
import time
import urllib.parse
from pathlib import Path
from typing import NamedTuple

#: Seconds after which a test gives up waiting.
PATIENCE = 60.0
OK = (0, 0, "OK")

_FIELD = re.compile(rb'([A-Z._]+)=(?:"((?:[^"\\]|\\.)*)"|([^ "]*)) ', re.DOTALL)


class Delivered(NamedTuple):
    """One notification and who brought it."""

    line: bytes
    fields: dict[str, str]  #: by key, ULM quoting undone
    jobstat: str  #: the document
    sender: str  #: CN of the sender's certificate
    version: str  #: of TLS

    @property
    def notifid(self) -> str:
        return self.fields["DG.NOTIFICATION.NOTIFID"]

    @property
    def state(self) -> str:
        found = re.match('<jobStat name="([^"]*)">', self.jobstat)
        return found[1] if found else ""

    def element(self, name: str) -> str:
        """The text of an element of the state, empty without it."""
        found = re.search(f"<{name}>([^<]*)</{name}>", self.jobstat)
        return html.unescape(found[1]) if found else ""

    @property
    def jobid(self) -> str:
        return self.element("jobId")


def read_line(line: bytes) -> tuple[dict[str, str], str]:
    """The fields of a notification line, and the document in its JOBSTAT."""
    fields = {}
    end = 0
    for found in _FIELD.finditer(line):
        if found.start() != end:
            break
        end = found.end()
        raw = found[3] if found[2] is None else found[2]
        value = re.sub(rb"\\(.)", lambda pair: b"\n" if pair[1] == b"n" else pair[1], raw, flags=re.DOTALL)
        fields[found[1].decode()] = value.decode()
    if end != len(line):
        raise ValueError(f"no line of fields, each with its blank: {line[end : end + 80]!r}")
    escaped = html.unescape(fields["DG.NOTIFICATION.JOBSTAT"])
    return fields, urllib.parse.unquote(escaped)


class Receiver:
    """A listening socket with a user's credential."""

    def __init__(self, certificate: Path, key: Path, authorities: Path, *, host: str = "127.0.0.1", port: int = 0):
        """`authorities`: a file of CA certificates. Listens at once; `close` when done."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._context.load_verify_locations(authorities)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._connections: list[ssl.SSLSocket] = []
        self.port: int = self._socket.getsockname()[1]
        #: What to register with.
        self.address = f"{host}:{self.port}"
        #: What it answers: numbers and text.
        self.reply = OK
        #: What handshakes failed with.
        self.failures: list[str] = []

    def receive(self, patience: float = PATIENCE) -> Delivered:
        """Wait for the next notification, answer it, return it; raises TimeoutError."""
        deadline = time.monotonic() + patience
        while True:
            connection = self._ready(deadline)
            line = self._read(connection)
            if line is None:
                self._connections.remove(connection)
                connection.close()
                continue
            self._answer(connection)
            fields, jobstat = read_line(line)
            certificate = connection.getpeercert() or {}
            names = dict(pair for part in certificate.get("subject", ()) for pair in part)  # type: ignore[misc]
            return Delivered(line, fields, jobstat, str(names.get("commonName", "")), connection.version() or "")

    def close(self) -> None:
        """Stop listening and drop the connections; registrations stay."""
        for each in (self._socket, *self._connections):
            each.close()
        self._connections = []

    def _ready(self, deadline: float) -> ssl.SSLSocket:
        """A connection with something to read."""
        while True:
            for connection in self._connections:
                if connection.pending():
                    return connection
            wait = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._socket, *self._connections], [], [], wait)
            if not readable:
                raise TimeoutError("no notification")
            if self._socket in readable:
                self._accept()
            else:
                connection = readable[0]
                # Connections take turns.
                self._connections.remove(connection)
                self._connections.append(connection)
                return connection

    def _accept(self) -> None:
        plain, _ = self._socket.accept()
        plain.settimeout(PATIENCE)
        try:
            self._connections.append(self._context.wrap_socket(plain, server_side=True))
        except OSError as error:
            self.failures.append(str(error))
            plain.close()

    def _read(self, connection: ssl.SSLSocket) -> bytes | None:
        """One message, or None at the end of the connection."""
        try:
            header = _exactly(connection, 17)
            body = _exactly(connection, int(header[:16]))
        except OSError:
            return None
        if header[16:] != b"\n" or not body.startswith(b"6 michal\n"):
            raise ValueError(f"no message: {header + body[:40]!r}")
        length, _, rest = body[9:].partition(b" ")
        if len(rest) != int(length) + 1 or not rest.endswith(b"\n"):
            raise ValueError(f"event of {len(rest)} bytes with its LF, announced were {length!r} without")
        return rest[:-1]

    def _answer(self, connection: ssl.SSLSocket) -> None:
        major, minor, text = self.reply
        body = b"%d\n%d\n%d %s\n" % (major, minor, len(text), text.encode())
        try:
            connection.sendall(b"%16d\n%s" % (len(body), body))
        except OSError:
            return


def _exactly(connection: ssl.SSLSocket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the connection ended")
        data += more
    return data
