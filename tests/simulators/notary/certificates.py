"""A certificate authority for test sites, and certificates that lie in one way each."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Identity:
    """What a site shows: its chain and key in PEM, its certificate in DER."""

    chain: str
    key: str
    der: bytes


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """One root. `issue` gives an honest certificate; its arguments make it lie."""

    def __init__(self, name: str = "Root of the test sites", *, from_day: float = -1000, to_day: float = 1000) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._start = datetime.datetime.now(datetime.UTC)
        builder = self._builder(self._name, self._key, from_day, to_day)
        self._certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(PEM).decode()

    def issue(
        self,
        *names: str,
        common_name: str = "site",
        from_day: float = -1,
        to_day: float = 30,
        self_signed: bool = False,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
        alternatives: bool = True,
    ) -> Identity:
        """A leaf for these DNS names and addresses, valid between two days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(common_name), key, from_day, to_day, self_signed=self_signed)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        builder = builder.add_extension(_usage(ca=False), critical=True)
        if alternatives:
            alternative = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        certificate = builder.sign(key if self_signed else self._key, hashes.SHA256())
        text = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        der = certificate.public_bytes(serialization.Encoding.DER)
        return Identity(certificate.public_bytes(PEM).decode(), text, der)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        from_day: float,
        to_day: float,
        *,
        self_signed: bool = False,
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=subject if self_signed else self._name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=self._start + datetime.timedelta(days=from_day),
            not_valid_after=self._start + datetime.timedelta(days=to_day),
        )
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = key if self_signed else self._key
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        return builder.add_extension(own, critical=False).add_extension(issuer, critical=False)
