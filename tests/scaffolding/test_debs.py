"""Debian packages are found, and installed without a trace on the machine's services."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import debs
from tests.peers.packages import ABSENT, Program, absence, find, locate

OWN = "#!/bin/sh\nexit 0\n"


class FindTests(SynchronousTestCase):
    """Finding programs."""

    def setUp(self) -> None:
        """A directory with three versions of a program."""
        self.top = Path(self.mktemp()).resolve()
        for version in ("9", "15", "15.2"):
            (self.top / version).mkdir(parents=True)
            (self.top / version / "program").touch()

    def test_newest(self) -> None:
        """The newest version is found, by number and not by letter."""
        program = Program("Program", "package", f"{self.top}/*/program")
        self.assertEqual(locate(program), self.top / "15.2" / "program")
        self.assertIsNone(absence(program))

    def test_missing(self) -> None:
        """A program that is not there is told with its package and what to do."""
        program = Program("Program", "package", f"{self.top}/*/other")
        self.assertIsNone(find(program))
        reason = absence(program)
        assert reason is not None
        self.assertTrue(reason.startswith(ABSENT))
        self.assertIn("Debian's package package", reason)
        error = self.assertRaises(FileNotFoundError, locate, program)
        self.assertEqual(str(error), reason)


class ServicesDeniedTests(SynchronousTestCase):
    """While packages are installed, no service may start; before and after, the machine's own word counts."""

    def setUp(self) -> None:
        """The place of the policy, which belongs to nobody else."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.policy = self.directory / "policy-rc.d"

    def assert_denied(self) -> None:
        """The policy says 101 to every question."""
        self.assertEqual(subprocess.run([self.policy.resolve(), "rabbitmq-server", "start"]).returncode, 101)

    def assert_own(self) -> None:
        """Only the machine's own policy is there, as it was."""
        self.assertEqual(list(self.directory.iterdir()), [self.policy])
        self.assertEqual((self.policy.read_text(), self.policy.stat().st_mode & 0o777), (OWN, 0o750))

    def put_own(self) -> None:
        """The machine has a policy."""
        self.policy.write_text(OWN)
        self.policy.chmod(0o750)

    def test_without_policy(self) -> None:
        """A machine without a policy has none afterwards."""
        with debs.services_denied(self.policy):
            self.assert_denied()
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_with_policy(self) -> None:
        """A policy comes back with its permissions."""
        self.put_own()
        with debs.services_denied(self.policy):
            self.assert_denied()
        self.assert_own()

    def test_failure(self) -> None:
        """The policy comes back when the installation fails, and the failure is passed on."""
        self.put_own()
        with self.assertRaises(ZeroDivisionError), debs.services_denied(self.policy):
            raise ZeroDivisionError
        self.assert_own()

    def test_after_kill(self) -> None:
        """What an earlier call that was killed left is put right by the next."""
        self.put_own()
        debs.services_denied(self.policy).__enter__()  # never left
        with debs.services_denied(self.policy):
            self.assert_denied()
        self.assert_own()

    def test_after_kill_without_policy(self) -> None:
        """Our own word, left by a killed call, is not taken for the machine's."""
        self.policy.write_text(debs.DENY)
        with debs.services_denied(self.policy):
            self.assert_denied()
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_install(self) -> None:
        """Only the named packages are installed, after the lists were updated, under the policy."""
        commands: list[Sequence[str]] = []

        def run(command: Sequence[str]) -> None:
            self.assert_denied()
            commands.append(command)

        debs.install([Program("One", "one", ""), Program("Two", "two", "")], run, self.policy)
        self.assertEqual([command[4] for command in commands], ["update", "install"])
        self.assertEqual([word for word in commands[1][5:] if not word.startswith("-")], ["one", "two"])
        self.assertFalse(self.policy.exists())
