"""The check that a server's certificate was issued for the host a client meant to reach.

The name compared is the one in the job id or the configuration, never the answer of a reverse look-up.
Rules: spec/security.md §6.1; in addition an iPAddress alternative name answers for a connection by address.
"""

import ipaddress

from cryptography import x509

from lb.security.names import first_common_name

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_name_mismatch(certificate: x509.Certificate, host: str) -> str | None:
    """Return None when the certificate stands for the host, else what it stands for instead.

    The host is a name or an address, an IPv6 address with or without brackets and zone.
    """
    wanted = host.removeprefix("[").removesuffix("]").lower().removesuffix(".")
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = alternatives.get_values_for_type(x509.DNSName)
        addresses = alternatives.get_values_for_type(x509.IPAddress)
    except x509.ExtensionNotFound:
        dns_names, addresses = [], []
    except (ValueError, x509.DuplicateExtension) as error:
        return f"its extensions cannot be read ({error})"
    if _address(wanted) in addresses:
        return None
    if dns_names:
        if any(_stands_for(name.lower(), wanted) for name in dns_names):
            return None
        return "it is for " + ", ".join([*dns_names, *map(str, addresses)])
    if addresses:
        return "it is for " + ", ".join(map(str, addresses))
    common_name = first_common_name(certificate)
    if common_name is None:
        return "it names no host"
    if common_name.lower().removeprefix("host/") == wanted:
        return None
    return f"it is for {common_name}"


def is_address(host: str) -> bool:
    """Tell whether a host is written as an address, bracketed or not."""
    return _address(host.removeprefix("[").removesuffix("]")) is not None


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _stands_for(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == name
    label, dot, rest = name.partition(".")
    return bool(label and dot) and rest == pattern[2:]
