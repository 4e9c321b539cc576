"""Whether a certificate stands for a host (spec/security.md §6.1)."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from lb.security.hostname import host_name_mismatch, is_address
from tests.security.grid import authority

CA = authority()
Host = x509.DNSName


def address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


class HostNameTests(SynchronousTestCase):
    """A table of certificates and the hosts they are and are not for."""

    def check(self, common_name: str, names: list[x509.GeneralName], good: list[str], bad: list[str]) -> None:
        certificate = CA.host(common_name, *names).certificate
        for host in good:
            self.assertIsNone(host_name_mismatch(certificate, host), host)
        for host in bad:
            self.assertIsNotNone(host_name_mismatch(certificate, host), host)

    def test_alternative_names(self) -> None:
        """With dNSName alternative names the subject does not count; case and a final dot do not either."""
        self.check(
            "cn.example.org",
            [Host("lb.example.org"), Host("B.example.org")],
            ["lb.example.org", "LB.example.ORG", "b.example.org", "lb.example.org."],
            ["cn.example.org", "example.org", "xlb.example.org", ""],
        )

    def test_wildcard(self) -> None:
        """A wildcard is exactly one leading label."""
        self.check(
            "x",
            [Host("*.example.org")],
            ["a.example.org"],
            ["example.org", "a.b.example.org", ".example.org", "*.org", "aexample.org"],
        )
        self.check("x", [Host("lb*.example.org")], [], ["lb1.example.org"])

    def test_common_name(self) -> None:
        """Without them the first CN counts, plain or after host/; a wildcard there means nothing."""
        self.check("lb.example.org", [], ["lb.example.org", "LB.EXAMPLE.ORG"], ["example.org"])
        self.check("*.example.org", [], [], ["a.example.org"])
        for service, good in (("host", True), ("ldap", False)):
            attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{service}/lb.example.org")]
            certificate = CA.issue(x509.Name(attributes)).certificate
            self.assertEqual(good, host_name_mismatch(certificate, "lb.example.org") is None)
        second = CA.issue("/CN=first.example.org/CN=second.example.org").certificate
        self.assertIsNone(host_name_mismatch(second, "first.example.org"))
        self.assertIsNotNone(host_name_mismatch(second, "second.example.org"))
        self.assertEqual("it names no host", host_name_mismatch(CA.issue("/O=Test").certificate, "a"))

    def test_mail(self) -> None:
        """An e-mail alternative name leaves the CN in force."""
        self.check("lb.example.org", [x509.RFC822Name("root@example.org")], ["lb.example.org"], ["other"])

    def test_address(self) -> None:
        """An address is matched by an iPAddress alternative name, in brackets or not; then the CN does not count."""
        self.check(
            "lb.example.org",
            [address("192.0.2.1"), address("2001:db8::1")],
            ["192.0.2.1", "2001:db8::1", "[2001:db8:0::1]", "[2001:db8::1%eth0]"],
            ["192.0.2.2", "lb.example.org", "2001:db8::2"],
        )
        self.check("192.0.2.1", [address("192.0.2.9")], [], ["192.0.2.1"])
        self.check("x", [Host("a.example.org"), address("192.0.2.1")], ["192.0.2.1", "a.example.org"], ["x"])

    def test_damaged(self) -> None:
        """Alternative names that cannot be read stand for no host, whatever the subject says."""
        damaged = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x05\x82")
        certificate = CA.issue("/CN=lb.example.org", damaged).certificate
        self.assertIn("cannot be read", str(host_name_mismatch(certificate, "lb.example.org")))

    def test_is_address(self) -> None:
        """Addresses are told from names, so that only names are sent as server name."""
        for host, expected in (
            ("127.0.0.1", True),
            ("[::1]", True),
            ("::1", True),
            ("localhost", False),
            ("1.2", False),
        ):
            self.assertEqual(expected, is_address(host))
