"""Which Debian package brings each real program that tests run, and where that program is found.

It uses nothing but the standard library, for it is asked before the virtual environment is of use.
It must never start or install anything.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# The test runner knows by these words that a test was skipped for want of a program.
ABSENT = "not installed:"


@dataclass(frozen=True, slots=True)
class Program:
    """A program as people call it, its Debian package, and the glob pattern of its file."""

    name: str
    package: str
    pattern: str


RABBITMQ = Program("RabbitMQ", "rabbitmq-server", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
ACTIVEMQ = Program("ActiveMQ", "activemq", "/usr/share/activemq/bin/activemq.jar")
POSTGRESQL = Program("PostgreSQL", "postgresql", "/usr/lib/postgresql/*/bin/postgres")
CHROMIUM = Program("Chromium", "chromium", "/usr/bin/chromium")
ZSH = Program("zsh", "zsh", "/usr/bin/zsh")
FISH = Program("fish", "fish", "/usr/bin/fish")
GROFF = Program("groff", "groff-base", "/usr/bin/groff")

VOMS_PROXY_INIT = Program("voms-proxy-init", "voms-clients", "/usr/bin/voms-proxy-init2")
VOMS_PROXY_FAKE = Program("voms-proxy-fake", "voms-clients", "/usr/bin/voms-proxy-fake")
CANL_CLIENT = Program("the client of caNl", "libcanl-c-examples", "/usr/bin/emi-canl-client")

PROGRAMS = (RABBITMQ, ACTIVEMQ, POSTGRESQL, CHROMIUM, ZSH, FISH, GROFF, VOMS_PROXY_INIT, VOMS_PROXY_FAKE, CANL_CLIENT)


def find(program: Program) -> Path | None:
    """The file of the newest installed version, or None."""
    pattern = Path(program.pattern)
    found = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
    return max(found, key=_version_order, default=None)


def locate(program: Program) -> Path:
    """The file of the newest installed version; FileNotFoundError says how to get it."""
    path = find(program)
    if path is None:
        raise FileNotFoundError(absence(program))
    return path


def absence(program: Program) -> str | None:
    """Why tests that need the program cannot run, as trial's ``skip`` wants it: None where they can."""
    if find(program) is not None:
        return None
    return f"{ABSENT} {program.name} ('make debs' installs Debian's package {program.package})"


def missing() -> tuple[Program, ...]:
    """The programs that are not there."""
    return tuple(program for program in PROGRAMS if find(program) is None)


def _version_order(path: Path) -> list[list[tuple[int, str]]]:
    """Sort key that puts 9 before 15, and 15 before 15.2."""
    return [[(int(word or -1), text) for text, word in re.findall(r"(\D*)(\d*)", part)] for part in path.parts]
