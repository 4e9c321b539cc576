"""What is packaged, found by twistd and shown as an example is what there is."""

import configparser
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from setuptools import find_namespace_packages
from twisted.trial.unittest import SynchronousTestCase

import lb
from lb.security import policy

TOP = Path(__file__).resolve().parents[2]
SERVICES = {"lb": "lb.server.tap", "lb-logger": "lb.logger.tap"}

# An option as the examples show it; prose has a space after the hash.
SHOWN = re.compile(r"^#([a-z].* = .*)$", re.MULTILINE)


class PackagingTests(SynchronousTestCase):
    """setup.cfg against the tree."""

    def setUp(self) -> None:
        """Read setup.cfg."""
        self.setup = configparser.ConfigParser()
        self.setup.read(TOP / "setup.cfg")

    def lines(self, section: str, option: str) -> list[str]:
        """The lines of a list in setup.cfg."""
        return self.setup[section][option].split()

    def test_installed(self) -> None:
        """The installed project is this tree's version."""
        self.assertEqual(importlib.metadata.version("lb"), lb.__version__)

    def test_packages(self) -> None:
        """Every room and the plugins are packaged, tests are not, and Twisted's own packages are left alone."""
        packages = set(find_namespace_packages(str(TOP), include=self.lines("options.packages.find", "include")))
        modules = (path for path in (TOP / "lb").rglob("*.py") if "__pycache__" not in path.parts)
        self.assertEqual({".".join(path.parent.relative_to(TOP).parts) for path in modules} - packages, set())
        self.assertEqual({name for name in packages if not name.startswith("lb")}, {"twisted.plugins"})
        self.assertEqual(list((TOP / "twisted").rglob("__init__.py")), [])

    def test_data(self) -> None:
        """Every file in lb that is not Python is packaged with it."""
        patterns = self.lines("options.package_data", "lb")
        files = (path for path in (TOP / "lb").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
        data = [str(path.relative_to(TOP / "lb")) for path in files]
        self.assertEqual([name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)], [])

    def test_test_packages(self) -> None:
        """Every directory with tests is a package, or trial would not look into it."""
        directories = {path.parent for path in (TOP / "tests").rglob("test_*.py")}
        self.assertEqual([path for path in directories if not (path / "__init__.py").exists()], [])

    def test_plugins(self) -> None:
        """twistd finds both services from wherever it is called."""
        elsewhere = Path(self.mktemp())
        elsewhere.mkdir()
        command = [sys.executable, "-m", "twisted", "--help"]
        printed = subprocess.run(command, cwd=elsewhere, check=True, capture_output=True, text=True).stdout
        for name in SERVICES:
            self.assertRegex(printed, rf"(?m)^ +{name} +[A-Z]")


class ExampleTests(SynchronousTestCase):
    """The examples in conf/."""

    def test_options(self) -> None:
        """Each daemon takes its example with every line in force, and the example shows every option."""
        for name, module in SERVICES.items():
            options = importlib.import_module(module).Options()
            text = SHOWN.sub(r"\1", (TOP / "conf" / f"{name}.toml").read_text())
            path = Path(self.mktemp())
            path.write_text(text)
            known = {parameter[0] for parameter in options.optParameters} - {"config"}
            known |= {flag[0] for flag in getattr(options, "optFlags", ())}
            self.assertEqual(set(tomllib.loads(text)), known, name)
            options.parseOptions(["--config", str(path)])
            self.assertEqual(options["host"], "127.0.0.1")

    def test_nothing_set(self) -> None:
        """As they are, the examples set nothing."""
        for name in SERVICES:
            self.assertEqual(tomllib.loads((TOP / "conf" / f"{name}.toml").read_text()), {})

    def test_policy(self) -> None:
        """The example policy is valid and shows every action."""
        path = TOP / "conf" / "lb-authz.conf"
        policy.load(path)
        shown = re.findall(r'^action "(\w+)"', path.read_text(), re.MULTILINE)
        self.assertEqual(set(shown), {action.value for action in policy.Action} - {"REGISTER_FOREIGN"})

    def test_units(self) -> None:
        """Each unit starts its daemon with its example, and waits for its word that it is ready."""
        for name in SERVICES:
            unit = configparser.ConfigParser(strict=False, interpolation=None)
            unit.optionxform = str  # type: ignore[assignment,method-assign]
            unit.read(TOP / "conf" / f"{name}.service")
            self.assertEqual(unit["Service"]["Type"], "notify")
            self.assertTrue(unit["Service"]["ExecStart"].endswith(f" {name} --config /etc/lb/{name}.toml"))
