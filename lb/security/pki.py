"""A development PKI: an authority, a host and a user certificate made on first start, and more users on demand.

Several processes may ask for it at the same time on an empty directory: it appears complete or not at all, and what is
there is never overwritten. It must not be used where people trust each other less than the owner of its directory.
"""

import fcntl
import ipaddress
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lb.security.credentials import Credential, CredentialError
from lb.security.names import slash_form, subject_hash

ORGANIZATION = "LB Development"
USER = "Development User"
AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=397)  # the longest that common TLS clients accept
RENEWAL = timedelta(days=30)  # a certificate with less than this left is issued again
_SKEW = timedelta(hours=1)  # other machines' clocks may be behind
_LONGEST_COMMON_NAME = 64  # characters, RFC 5280 appendix A

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._@-]{0,62}[A-Za-z0-9._-])?")
# Names that other software would take for a proxy, and the files of the PKI itself.
_RESERVED = frozenset({"proxy", "limited proxy", "ca", "host", "user"})


@dataclass(frozen=True, slots=True)
class DevelopmentPKI:
    """Where the parts of a development PKI lie; `authorities` can be used as X509_CERT_DIR."""

    directory: Path

    @property
    def authority(self) -> Path:
        """The certificate of the CA."""
        return self.directory / "ca.pem"

    @property
    def authorities(self) -> Path:
        """The CA under its hashed name, with its signing policy."""
        return self.directory / "ca"

    @property
    def host(self) -> Credential:
        """The certificate and key of this host."""
        return self.credential("host")

    @property
    def user(self) -> Credential:
        """The certificate and key of the first user."""
        return self.credential("user")

    def credential(self, name: str) -> Credential:
        """The certificate and key issued under a name."""
        return Credential(self.directory / f"{name}.pem", self.directory / f"{name}.key")


def default_host_names() -> list[str]:
    """Return the names and addresses a host certificate stands for unless others are asked for."""
    names = ("localhost", socket.gethostname(), "127.0.0.1", "::1")
    return [name for name in dict.fromkeys(names) if name and name.isascii()]


def ensure(
    directory: Path, host_names: Sequence[str] | None = None, *, now: Callable[[], float] = time.time
) -> DevelopmentPKI:
    """Return the PKI of a directory, made or completed if need be; host and user certificates are renewed in time.

    `host_names` are names and addresses, by default `default_host_names()`; those a certificate stands for already are
    kept. Renewed certificates keep their keys and subjects. Raises CredentialError when it cannot be made.
    """
    pki = DevelopmentPKI(directory)
    names = default_host_names() if host_names is None else host_names
    wanted = frozenset(str(_general_name(name).value) for name in names)
    with _failures_named(directory):
        if _is_current(pki, wanted, now()):
            return pki
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(directory):
            if not pki.authority.exists():
                _create(pki, wanted, now())
            elif not _is_current(pki, wanted, now()):
                _renew(pki, wanted, now())
    return pki


def issue(directory: Path, name: str, *, now: Callable[[], float] = time.time) -> Credential:
    """Issue a user certificate with CN=NAME from an existing PKI and return its files, NAME.pem and NAME.key.

    Raises CredentialError for names that are taken or do not suit a file and a subject.
    """
    pki = DevelopmentPKI(directory)
    credential = pki.credential(name)
    if _NAME.fullmatch(name) is None or name.lower() in _RESERVED:
        raise CredentialError(
            f"name {name!r} cannot be used", str(directory), "Use up to 64 letters, digits, spaces and . _ @ -"
        )
    with _failures_named(directory):
        if not pki.authority.exists():
            raise CredentialError("there is no development PKI", str(directory), "Make it first: lb pki init")
        with _locked(directory):
            if credential.certificate.exists():
                raise CredentialError(
                    f"certificate of {name!r} exists", str(credential.certificate), "Choose another name or remove it"
                )
            _issue_files(credential, _Authority.load(pki, now()), _subject(name), frozenset(), now())
            _sync_directory(directory)
    return credential


@contextmanager
def _failures_named(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"{directory} ({error.filename})" if error.filename else str(directory)
        raise CredentialError(
            f"development PKI cannot be made ({error.strerror})", where, "Give a directory that can be written"
        ) from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time change the directory; the lock lies beside it as it may not exist yet."""
    with open(directory.with_name(directory.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_current(pki: DevelopmentPKI, wanted: frozenset[str], now: float) -> bool:
    return pki.authority.exists() and _lasts(pki.user, frozenset(), now) and _lasts(pki.host, wanted, now)


def _lasts(credential: Credential, names: frozenset[str], now: float) -> bool:
    certificate = _certificate(credential.certificate)
    return (
        certificate is not None
        and certificate.not_valid_after_utc >= datetime.fromtimestamp(now, UTC) + RENEWAL
        and names <= _host_names(certificate)
        and credential.key.exists()
    )


def _renew(pki: DevelopmentPKI, wanted: frozenset[str], now: float) -> None:
    """Issue again what is about to expire, is missing, or does not stand for all names."""
    authority = _Authority.load(pki, now)
    if not _lasts(pki.user, frozenset(), now):
        former = _certificate(pki.user.certificate)
        _issue_files(pki.user, authority, former.subject if former else _subject(USER), frozenset(), now)
    if not _lasts(pki.host, wanted, now):
        former = _certificate(pki.host.certificate)
        names = wanted | _host_names(former) if former else wanted
        _issue_files(pki.host, authority, former.subject if former else _host_subject(names), names, now)
    _sync_directory(pki.directory)


def _create(pki: DevelopmentPKI, wanted: frozenset[str], now: float) -> None:
    """Make a new PKI beside its place and move it there; a directory with other files in it is left alone."""
    if pki.directory.exists() and any(pki.directory.iterdir()):
        raise CredentialError(
            "directory holds other files but no ca.pem", str(pki.directory), "Empty it or choose another one"
        )
    draft = DevelopmentPKI(pki.directory.with_name(pki.directory.name + ".new"))
    if draft.directory.exists():
        shutil.rmtree(draft.directory)  # left by a process that was killed; we hold the lock
    draft.directory.mkdir(mode=0o755)
    authority = _Authority.create(now)
    authority.save(draft)
    _issue_files(draft.host, authority, _host_subject(wanted), wanted, now)
    _issue_files(draft.user, authority, _subject(USER), frozenset(), now)
    _sync_directory(draft.directory)
    os.rename(draft.directory, pki.directory)
    _sync_directory(pki.directory.parent)


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, now: float) -> "_Authority":
        """Make a new authority; a random part of its name tells it from those of other state directories."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject(f"Development CA {secrets.token_hex(4)}")
        builder = _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(authority=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(builder.sign(key, SHA256()), key)

    @classmethod
    def load(cls, pki: DevelopmentPKI, now: float) -> "_Authority":
        """Read the authority of an existing PKI. Raises CredentialError when it expired or its key cannot be used."""
        path = pki.directory / "ca.key"
        try:
            certificate = x509.load_pem_x509_certificate(pki.authority.read_bytes())
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, FileNotFoundError) as error:
            raise CredentialError(
                f"authority of the development PKI cannot be used ({error})",
                str(path),
                "Remove the directory to get a new PKI",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CredentialError("key is not that of ca.pem", str(path), "Remove the directory to get a new PKI")
        if certificate.not_valid_after_utc.timestamp() < now:
            raise CredentialError("authority expired", str(pki.authority), "Remove the directory to get a new PKI")
        return cls(certificate, key)

    def save(self, pki: DevelopmentPKI) -> None:
        """Write the authority into an empty directory, also under its hashed name with its signing policy."""
        pem = self.certificate.public_bytes(Encoding.PEM)
        _write(pki.directory / "ca.key", _pem(self.key), 0o600)
        _write(pki.authority, pem, 0o644)
        pki.authorities.mkdir(mode=0o755)
        digits = subject_hash(self.certificate)
        _write(pki.authorities / f"{digits}.0", pem, 0o644)
        policy = (
            f"access_id_CA   X509     '{slash_form(self.certificate)}'\n"
            "pos_rights     globus   CA:sign\n"
            f"cond_subjects  globus   '\"/O={ORGANIZATION}/*\"'\n"
        )
        _write(pki.authorities / f"{digits}.signing_policy", policy.encode(), 0o644)
        _sync_directory(pki.authorities)

    def sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, names: frozenset[str], now: float) -> bytes:
        """Return a certificate in PEM form, good for both sides of a connection and for signing proxies."""
        life = min(CERTIFICATE_LIFE, self.certificate.not_valid_after_utc - datetime.fromtimestamp(now, UTC))
        builder = _builder(subject, self.certificate.subject, key, now, life)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=False), critical=True)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        issuer = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
        builder = builder.add_extension(identifier, critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName(list(map(_general_name, sorted(names))))
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)


def _subject(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _host_subject(names: frozenset[str]) -> x509.Name:
    fitting = [name for name in sorted(names) if name != "localhost" and len(name) <= _LONGEST_COMMON_NAME]
    hosts = [name for name in fitting if isinstance(_general_name(name), x509.DNSName)]
    return _subject(hosts[0] if hosts else "localhost")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _host_names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset([*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, life: timedelta
) -> x509.CertificateBuilder:
    moment = datetime.fromtimestamp(int(now), UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _SKEW)
        .not_valid_after(moment + life)
    )


def _issue_files(
    credential: Credential, authority: _Authority, subject: x509.Name, names: frozenset[str], now: float
) -> None:
    """Write key and certificate; a key that is there is kept, so that the pair fits at every moment of a renewal."""
    key = _existing_key(credential.key)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        _replace(credential.key, _pem(key), 0o600)
    _replace(credential.certificate, authority.sign(subject, key.public_key(), names, now), 0o644)


def _existing_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes, mode: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # left by a process that was killed; we hold the lock
    _write(draft, data, mode)
    os.rename(draft, path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
