"""Where a daemon or a client finds its own certificate and key, and the directory of the authorities it trusts.

Search orders: spec/security.md §2 and §3. A credential that is found but unusable is an error, never a reason to look
further; a private key that others can read is refused.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lb.security.identity import is_proxy
from lb.security.names import slash_form

_PRIVATE_KEY = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_OWNER_READ_WRITE = stat.S_IRUSR | stat.S_IWUSR
_LARGEST_FILE = 1 << 20  # bytes; a chain of a hundred certificates is a tenth of it


class CredentialError(Exception):
    """A credential or trust directory is missing or unusable: what is wrong, where, and what to do about it."""

    def __init__(self, what: str, where: str, advice: str) -> None:
        super().__init__(f"{what}: {where}. {advice}")
        self.what, self.where, self.advice = what, where, advice


@dataclass(frozen=True, slots=True)
class Credential:
    """The files of a certificate (followed by its chain) and its private key; equal paths mean a proxy file."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A credential in memory: certificate, the issuers that came with it (nearest first), private key."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


def load(credential: Credential, now: float) -> KeyPair:
    """Read and check a credential at the time `now` (seconds since the epoch); CredentialError when it is unusable."""
    pem, _ = _read(credential.certificate)
    key_pem, key_mode = (
        (pem, _mode(credential.key)) if credential.key == credential.certificate else _read(credential.key)
    )
    if key_mode & ~_OWNER_READ_WRITE:
        raise CredentialError(
            f"private key is accessible to others (mode {key_mode:04o})",
            str(credential.key),
            "Make it private: chmod 600",
        )
    try:
        certificate, *chain = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CredentialError(
            f"no PEM certificate ({error})", str(credential.certificate), "Give the file of a certificate in PEM form"
        ) from error
    key = _private_key(key_pem, credential.key)
    if key.public_key() != certificate.public_key():
        raise CredentialError(
            "private key does not belong to the certificate",
            f"{credential.key}, {credential.certificate}",
            "Give the key the certificate was issued for",
        )
    _check_dates([certificate, *chain], credential.certificate, now)
    return KeyPair(certificate, tuple(chain), key)


def _read(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise _unreadable(path, error) from error


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> CredentialError:
    return CredentialError(
        f"cannot read credential ({error.strerror})",
        str(path),
        "Give a readable file or remove the setting that names it",
    )


def _private_key(pem: bytes, path: Path) -> PrivateKeyTypes:
    match = _PRIVATE_KEY.search(pem)
    if match is None:
        raise CredentialError("no PEM private key", str(path), "Give the file of a private key in PEM form")
    try:
        return load_pem_private_key(match[0], password=None)
    except TypeError as error:
        raise CredentialError(
            "private key is encrypted", str(path), "Use a proxy certificate or a key without a pass phrase"
        ) from error
    except ValueError as error:
        raise CredentialError(f"private key cannot be read ({error})", str(path), "Give an intact PEM key") from error


def _check_dates(chain: list[x509.Certificate], path: Path, now: float) -> None:
    """Check the proxies and the end entity; what stands above them is the business of the trust anchors."""
    moment = datetime.fromtimestamp(now, UTC)
    for certificate in chain:
        if certificate.not_valid_after_utc < moment:
            raise CredentialError(
                f"certificate {slash_form(certificate)} expired on"
                f" {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
                str(path),
                "Get a new certificate or make a new proxy",
            )
        if certificate.not_valid_before_utc > moment:
            raise CredentialError(
                f"certificate {slash_form(certificate)} is not valid before"
                f" {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC",
                str(path),
                "Check the clock of this machine",
            )
        if not is_proxy(certificate):
            return


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the search orders depend on: environment, home directory, user id, and the root of the file system."""

    environ: Mapping[str, str]
    home: Path
    uid: int
    root: Path = Path("/")

    def from_certificate_variables(self) -> Iterator[Credential]:
        """Yield the pair of X509_USER_CERT and X509_USER_KEY if both are set."""
        certificate, key = self.environ.get("X509_USER_CERT"), self.environ.get("X509_USER_KEY")
        if certificate and key:
            yield Credential(Path(certificate), Path(key))

    def host_credentials(self) -> Iterator[Credential]:
        """Yield the readable host certificates of the machine and of the account."""
        directories = [self.root / "etc/grid-security", self.home / ".globus"]
        if globus := self.environ.get("GLOBUS_LOCATION"):
            directories.insert(1, Path(globus) / "etc")
        for directory in directories:
            yield from _readable(directory / "hostcert.pem", directory / "hostkey.pem")

    def proxies(self) -> Iterator[Credential]:
        """Yield the proxy file named by X509_USER_PROXY, then the one at its customary place."""
        if proxy := self.environ.get("X509_USER_PROXY"):
            yield Credential(Path(proxy), Path(proxy))
        customary = self.root / f"tmp/x509up_u{self.uid}"
        yield from _readable(customary, customary)

    def user_credentials(self) -> Iterator[Credential]:
        """Yield the user certificate of the account."""
        yield from _readable(self.home / ".globus/usercert.pem", self.home / ".globus/userkey.pem")


def _readable(certificate: Path, key: Path) -> Iterator[Credential]:
    if os.access(certificate, os.R_OK) and os.access(key, os.R_OK):
        yield Credential(certificate, key)


def _explicit(certificate: Path | None, key: Path | None) -> Iterator[Credential]:
    if certificate is not None and key is not None:
        yield Credential(certificate, key)
    elif certificate is not None or key is not None:
        raise CredentialError(
            "certificate and key belong together", str(certificate or key), "Give both of them or none"
        )


def for_daemon(
    surroundings: Surroundings,
    now: float,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    fallback: Credential | None = None,
) -> Credential:
    """Return the checked credential of a daemon: the options, the certificate variables, host certificates, `fallback`.

    Raises CredentialError when the first one found is unusable, or none is found.
    """

    def candidates() -> Iterator[Credential]:
        yield from _explicit(certificate, key)
        yield from surroundings.from_certificate_variables()
        yield from surroundings.host_credentials()
        if fallback is not None:
            yield fallback

    return _first(candidates(), now, "Give a certificate and a key, or set X509_USER_CERT and X509_USER_KEY")


def for_client(
    surroundings: Surroundings,
    now: float,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    fallback: Credential | None = None,
) -> Credential:
    """Return the checked credential of a client: as a daemon's, but with proxies before host certificates.

    After those come the account's user certificate and `fallback`. Raises CredentialError like `for_daemon`.
    """

    def candidates() -> Iterator[Credential]:
        yield from _explicit(certificate, key)
        yield from surroundings.from_certificate_variables()
        yield from surroundings.proxies()
        yield from surroundings.host_credentials()
        yield from surroundings.user_credentials()
        if fallback is not None:
            yield fallback

    return _first(
        candidates(), now, "Make a proxy certificate, or set X509_USER_PROXY, or X509_USER_CERT and X509_USER_KEY"
    )


def _first(candidates: Iterator[Credential], now: float, advice: str) -> Credential:
    for credential in candidates:
        load(credential, now)
        return credential
    raise CredentialError("No credentials found", "options, environment and customary places", advice)


def trust_directory(
    surroundings: Surroundings,
    *,
    explicit: Path | None = None,
    fallback: Path | None = None,
    credential: Credential | None = None,
) -> Path:
    """Return the directory (or file) of trusted authorities (spec/security.md §3).

    The option, then X509_CERT_DIR must exist if given; then the customary places, then `fallback`. A credential from
    the directory of `fallback` (a development PKI) puts `fallback` before the customary places, as no other authority
    vouches for it.
    """
    demanded = explicit or (Path(named) if (named := surroundings.environ.get("X509_CERT_DIR")) else None)
    if demanded is not None:
        if os.path.exists(demanded):  # unlike Path.exists it never raises
            return demanded
        raise CredentialError(
            "no such trust directory", str(demanded), "Give a directory of CA certificates or a CA file"
        )
    places = [surroundings.home / ".globus/certificates", surroundings.root / "etc/grid-security/certificates"]
    if globus := surroundings.environ.get("GLOBUS_LOCATION"):
        places.append(Path(globus) / "share/certificates")
    if fallback is not None:
        ours = credential is not None and credential.certificate.parent == fallback.parent
        places.insert(0 if ours else len(places), fallback)
    for place in places:
        if place.exists():
            return place
    raise CredentialError("no trusted authorities found", ", ".join(map(str, places)), "Set X509_CERT_DIR")
