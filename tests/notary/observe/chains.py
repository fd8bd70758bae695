"""Certificates for tests: roots, authorities between, sites; honest unless an argument makes them lie."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from notary.observe.keys import key_of

NOW = 1_800_000_000  # Unix time, about which certificates are valid
DAY = 86400


def public_of(kind: str) -> Any:
    """The public key of that name. Of a large one nobody needs the other half."""
    if kind == "rsa8200":
        return rsa.RSAPublicNumbers(65537, (1 << 8199) + 1).public_key()
    return key_of(kind).public_key()


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key's name."""

    value: x509.Certificate
    key: str

    @property
    def der(self) -> bytes:
        return self.value.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.value.public_bytes(serialization.Encoding.PEM)

    @property
    def private_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return bytes(key_of(self.key).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(*names: str) -> x509.KeyUsage:
    all_of_them = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{one: one in names for one in all_of_them})


def made(
    subject: str,
    issuer: Certificate | None = None,
    *,
    key: str = "",
    authority: bool = True,
    names: tuple[str, ...] = (),
    addresses: tuple[Any, ...] = (),
    first: int = NOW - 100 * DAY,
    last: int = NOW + 100 * DAY,
    path_length: int | None = None,
    constraints: x509.NameConstraints | None = None,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    uses: tuple[str, ...] | None = None,
    signed_by: str = "",
    algorithm: Any = None,
    unknown_critical: bool = False,
) -> Certificate:
    """A certificate by `issuer`, or by itself. `key`, `signed_by`: names of keys, by default one for each subject."""
    key = key or f"p256.{subject}"
    signer = signed_by or (issuer.key if issuer else key)
    builder = _begun(subject, issuer, key, first, last)
    default = ("key_cert_sign", "crl_sign") if authority else ("digital_signature",)
    for extension, critical in (
        (x509.BasicConstraints(ca=authority, path_length=path_length), True),
        (usage(*(default if uses is None else uses)) if uses != () else None, True),
        (x509.SubjectKeyIdentifier.from_public_key(public_of(key)), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public_of(signer)), False),
        (constraints, True),
        (None if authority else x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName([*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]), False)
        if names or addresses
        else (None, False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0") if unknown_critical else None, True),
    ):
        if extension is not None:
            builder = builder.add_extension(extension, critical=critical)
    how = None if signer.startswith("ed25519") else algorithm or hashes.SHA256()
    return Certificate(builder.sign(key_of(signer), how), key)


def _begun(subject: str, issuer: Certificate | None, key: str, first: int, last: int) -> x509.CertificateBuilder:
    """Names, key and time of a certificate."""
    start, end = (datetime.datetime.fromtimestamp(at, datetime.UTC) for at in (first, last))
    by = issuer.value.subject if issuer else name(subject)
    return x509.CertificateBuilder(by, name(subject), public_of(key), x509.random_serial_number(), start, end)


def site(issuer: Certificate, *names: str, **changes: Any) -> Certificate:
    """The certificate of a site with these DNS names."""
    return made(changes.pop("subject", "site"), issuer, authority=False, names=names, **changes)
