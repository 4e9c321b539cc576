"""Which credential and which authorities are found, and which are refused (spec/security.md §2, §3)."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from lb.security.credentials import (
    Credential,
    CredentialError,
    Surroundings,
    for_client,
    for_daemon,
    load,
    trust_directory,
)
from tests.security.grid import authority, write_key

UID = 4711
NOW = time.time()


class PlacesCase(SynchronousTestCase):
    """A file system with a home and an environment of its own."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.home = self.root / "home"
        self.environ: dict[str, str] = {}
        self.ca = authority()
        self.user = self.ca.issue("/C=CZ/O=Test/CN=Alice")
        for directory in ("home/.globus", "etc/grid-security", "globus/etc", "tmp", "given"):
            (self.root / directory).mkdir(parents=True)

    def surroundings(self) -> Surroundings:
        return Surroundings(self.environ, self.home, UID, self.root)

    def pair(self, directory: str, stem: str) -> Credential:
        """Put a certificate at a customary place."""
        credential = Credential(self.root / directory / f"{stem}cert.pem", self.root / directory / f"{stem}key.pem")
        credential.certificate.write_bytes(self.user.pem())
        write_key(credential.key, self.user.key_pem())
        return credential

    def proxy(self, path: str) -> Credential:
        return self.user.proxy().save_proxy(self.root / path)


class SearchTests(PlacesCase):
    """The order of the places, found by taking the first one away again and again."""

    def setUp(self) -> None:
        super().setUp()
        self.places = {
            "explicit": self.pair("given", "explicit"),
            "variables": self.pair("given", "variables"),
            "proxy": self.proxy("given/proxy"),
            "customary proxy": self.proxy(f"tmp/x509up_u{UID}"),
            "machine": self.pair("etc/grid-security", "host"),
            "globus": self.pair("globus/etc", "host"),
            "account": self.pair("home/.globus", "host"),
            "user": self.pair("home/.globus", "user"),
            "fallback": self.pair("given", "fallback"),
        }
        self.environ |= {
            "X509_USER_CERT": str(self.places["variables"].certificate),
            "X509_USER_KEY": str(self.places["variables"].key),
            "X509_USER_PROXY": str(self.places["proxy"].key),
            "GLOBUS_LOCATION": str(self.root / "globus"),
        }

    def order(self, search: type[object] | object) -> list[str]:
        found = []
        explicit, fallback = self.places["explicit"], self.places["fallback"]
        options = {"certificate": explicit.certificate, "key": explicit.key, "fallback": fallback}
        while True:
            try:
                credential = search(self.surroundings(), NOW, **options)
            except CredentialError as error:
                self.assertIn("No credentials found", str(error))
                return found
            (name,) = (name for name, place in self.places.items() if place == credential)
            found.append(name)
            if name == "explicit":
                options["certificate"] = options["key"] = None
            elif name == "fallback":
                options["fallback"] = None
            elif name in ("variables", "proxy"):
                del self.environ["X509_USER_KEY" if name == "variables" else "X509_USER_PROXY"]
            else:
                credential.key.unlink()

    def test_daemon(self) -> None:
        """Daemons know options, variables and host certificates."""
        self.assertEqual(["explicit", "variables", "machine", "globus", "account", "fallback"], self.order(for_daemon))

    def test_client(self) -> None:
        """Clients prefer proxies to host certificates and know the user's certificate."""
        expected = [
            "explicit",
            "variables",
            "proxy",
            "customary proxy",
            "machine",
            "globus",
            "account",
            "user",
            "fallback",
        ]
        self.assertEqual(expected, self.order(for_client))

    def test_one_option(self) -> None:
        """Certificate and key are given together or not at all."""
        for options in ({"certificate": Path("a")}, {"key": Path("a")}):
            error = self.assertRaises(CredentialError, for_daemon, self.surroundings(), NOW, **options)
            self.assertIn("Give both", str(error))

    def test_broken_is_an_error(self) -> None:
        """A place that is named or found first but unusable is an error, not a reason to look further."""
        self.places["variables"].key.unlink()
        error = self.assertRaises(CredentialError, for_client, self.surroundings(), NOW)
        self.assertEqual(str(self.places["variables"].key), error.where)
        del self.environ["X509_USER_CERT"]
        self.user.proxy(days=(-2, -1)).save_proxy(self.places["proxy"].key)
        error = self.assertRaises(CredentialError, for_client, self.surroundings(), NOW)
        self.assertIn("expired", str(error))


class LoadTests(PlacesCase):
    """What is checked of a credential."""

    def refusal(self, credential: Credential, now: float = NOW) -> str:
        return str(self.assertRaises(CredentialError, load, credential, now))

    def test_pair_and_proxy(self) -> None:
        """Certificate, key and chain are read from two files and from one."""
        below = self.ca.issue("/O=Test/CN=Below", authority=True)
        user = below.issue("/O=Test/CN=Bob")
        pair = load(user.save(self.root), NOW)
        self.assertEqual((user.certificate, user.chain), (pair.certificate, pair.chain))
        proxy = user.proxy()
        pair = load(proxy.save_proxy(self.root / "proxy"), NOW)
        self.assertEqual((proxy.certificate, proxy.chain), (pair.certificate, pair.chain))
        self.assertEqual(proxy.key.private_numbers(), pair.key.private_numbers())

    def test_permissions(self) -> None:
        """A key or proxy file that others could use is refused; stricter modes are fine."""
        for credential in (self.pair("given", "host"), self.proxy("given/proxy")):
            for mode, fine in (
                (0o600, True),
                (0o400, True),
                (0o640, False),
                (0o604, False),
                (0o620, False),
                (0o700, False),
            ):
                os.chmod(credential.key, mode)
                if fine:
                    load(credential, NOW)
                else:
                    self.assertIn(f"mode {mode:04o}", self.refusal(credential))
                    self.assertIn("chmod 600", self.refusal(credential))

    def test_dates(self) -> None:
        """Expired and future certificates are refused, by name and date, an expired user behind a proxy included."""
        credential = self.pair("given", "host")
        end = self.user.certificate.not_valid_after_utc
        load(credential, end.timestamp() - 1)
        self.assertIn(f"/CN=Alice expired on {end:%Y-%m-%d}", self.refusal(credential, end.timestamp() + 1))
        start = self.user.certificate.not_valid_before_utc
        self.assertIn("is not valid before", self.refusal(credential, start.timestamp() - 1))
        proxy = self.user.proxy(days=(-0.5, 90)).save_proxy(self.root / "proxy")
        self.assertIn("/CN=Alice expired on", self.refusal(proxy, end.timestamp() + 1))

    def test_files(self) -> None:
        """Missing files, files that hold something else, foreign and encrypted keys are told apart."""
        good = self.pair("given", "host")
        other = self.ca.issue("/CN=Other").save(self.root)
        self.assertIn("does not belong", self.refusal(Credential(good.certificate, other.key)))
        self.assertIn("No such file", self.refusal(Credential(self.root / "none", good.key)))
        self.assertIn("No such file", self.refusal(Credential(good.certificate, self.root / "none")))
        self.assertIn("no PEM certificate", self.refusal(Credential(good.key, good.key)))
        write_key(self.root / "bad", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.assertIn("no PEM certificate", self.refusal(Credential(self.root / "bad", good.key)))
        self.assertIn("no PEM private key", self.refusal(Credential(good.certificate, self.root / "bad")))
        write_key(self.root / "bad", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        self.assertIn("cannot be read", self.refusal(Credential(good.certificate, self.root / "bad")))
        locked = self.user.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        write_key(self.root / "locked", locked)
        self.assertIn("encrypted", self.refusal(Credential(good.certificate, self.root / "locked")))


class TrustTests(PlacesCase):
    """The places of trusted authorities."""

    def test_order(self) -> None:
        """Option, variable, account, machine, Globus, fallback."""
        fallback = self.root / "pki/ca"
        self.environ |= {"X509_CERT_DIR": str(self.root / "variable"), "GLOBUS_LOCATION": str(self.root / "globus")}
        places = [
            self.root / "option",
            self.root / "variable",
            self.home / ".globus/certificates",
            self.root / "etc/grid-security/certificates",
            self.root / "globus/share/certificates",
            fallback,
        ]
        for place in places:
            place.mkdir(parents=True)
        self.assertEqual(places[0], trust_directory(self.surroundings(), explicit=places[0], fallback=fallback))
        for expected in places[1:]:
            self.assertEqual(expected, trust_directory(self.surroundings(), fallback=fallback))
            expected.rmdir()
            self.environ.pop("X509_CERT_DIR", None)
        error = self.assertRaises(CredentialError, trust_directory, self.surroundings(), fallback=fallback)
        self.assertIn(str(fallback), error.where)

    def test_demanded(self) -> None:
        """A directory that is asked for has to exist."""
        (self.home / ".globus/certificates").mkdir()
        nowhere = self.root / "nowhere"
        self.assertRaises(CredentialError, trust_directory, self.surroundings(), explicit=nowhere)
        self.environ["X509_CERT_DIR"] = str(nowhere)
        error = self.assertRaises(CredentialError, trust_directory, self.surroundings())
        self.assertEqual(str(nowhere), error.where)

    def test_development(self) -> None:
        """Who uses a development certificate trusts the development authority before the machine's."""
        fallback = self.root / "pki/ca"
        for place in (fallback, self.root / "etc/grid-security/certificates"):
            place.mkdir(parents=True)
        ours = Credential(self.root / "pki/user.pem", self.root / "pki/user.key")
        found = trust_directory(self.surroundings(), fallback=fallback, credential=ours)
        self.assertEqual(fallback, found)
        foreign = self.pair("given", "user")
        found = trust_directory(self.surroundings(), fallback=fallback, credential=foreign)
        self.assertEqual(self.root / "etc/grid-security/certificates", found)
