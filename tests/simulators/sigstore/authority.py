"""A pretend Fulcio: a root, an intermediate, a certificate log, and certificates for signers. For tests alone.

Certificates are shaped as the real ones (Fulcio, "certificate specification"; OIDs 1.3.6.1.4.1.57264.1.N), and the log
signs them as RFC 6962, section 3.2, says.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulators.intel import key_of
from simulators.intel.der import octets, tlv

ARC = "1.3.6.1.4.1.57264.1."
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
GITHUB = "https://token.actions.githubusercontent.com"
LIFETIME = timedelta(minutes=10)
P256 = ec.EllipticCurvePrivateKey


def spki(key: P256) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def ecdsa(key: P256, message: bytes) -> bytes:
    """ECDSA with SHA-256 as DER, the same for the same message."""
    return key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


@dataclass(frozen=True)
class Signer:
    """Who asks for a certificate. `claims`: the number of an extension and its text (or its bytes, as they are)."""

    san: str
    issuer: str
    claims: Mapping[int, str | bytes] = field(default_factory=dict)

    def extensions(self) -> dict[int, bytes]:
        texts = {8: self.issuer, **self.claims}
        encoded = {n: t if isinstance(t, bytes) else tlv(0x0C, t.encode()) for n, t in sorted(texts.items())}
        return {1: self.issuer.encode(), **encoded}


def workflow(
    repository: str = "pluto/pluto",
    ref: str = "refs/tags/v1.0.0",
    *,
    file: str = "release.yml",
    signer: str | None = None,
    commit: str = "c0ffee" * 6 + "c0de",
    repository_id: str = "4711",
    **changed: str | bytes | None,
) -> Signer:
    """A workflow of `repository`, run at `ref`. `signer`: the reusable workflow (REPO/PATH@REF) that really signs.

    `changed`: by the number of the extension (`_14="..."`), None to leave it out.
    """
    own = f"{repository}/.github/workflows/{file}@{ref}"
    san = f"https://github.com/{signer or own}"
    claims: dict[int, str | bytes] = {
        9: san,
        10: commit,
        11: "github-hosted",
        12: f"https://github.com/{repository}",
        13: commit,
        14: ref,
        15: repository_id,
        16: f"https://github.com/{repository.partition('/')[0]}",
        17: "42",
        18: f"https://github.com/{own}",
        19: commit,
        20: "push",
        21: f"https://github.com/{repository}/actions/runs/1/attempts/1",
        22: "public",
    }
    for name, value in changed.items():
        number = int(name.removeprefix("_"))
        claims.pop(number, None)
        if value is not None:
            claims[number] = value
    return Signer(san, GITHUB, claims)


def person(address: str = "somebody@pluto.example") -> Signer:
    """Somebody who signs in with a browser: an e-mail address and an issuer, nothing else."""
    return Signer(address, "https://accounts.example")


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    key: P256
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def _name(common_name: str) -> x509.Name:
    names = ((NameOID.ORGANIZATION_NAME, "sigstore.pluto.example"), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names])


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)


def builder(
    public: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    above: P256,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    """What every certificate here has; the serial number follows from what is certified."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    seed = identifier.digest + subject.public_bytes() + begin.isoformat().encode()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(hashlib.sha256(seed).digest()[:16], "big") | 1)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    )


def authority(name: str, key: P256, issuer: Issued | None, begin: datetime, length: int) -> Issued:
    """A certificate authority, self-signed without an issuer; valid for ten years."""
    above, names = (issuer.key, issuer.certificate.subject) if issuer else (key, _name(name))
    made = builder(key.public_key(), _name(name), names, above, begin, begin + timedelta(days=3653))
    made = made.add_extension(x509.BasicConstraints(True, length), critical=True)
    made = made.add_extension(_usage(ca=True), critical=True)
    return Issued(key, made.sign(above, hashes.SHA256(), ecdsa_deterministic=True))


@dataclass(frozen=True)
class Fulcio:
    """The authority with its certificate log."""

    root: Issued
    intermediate: Issued
    log_key: P256

    @classmethod
    def of(cls, seed: object, begin: datetime) -> Fulcio:
        root = authority("root", key_of(seed, "root"), None, begin, 1)
        between = authority("intermediate", key_of(seed, "intermediate"), root, begin, 0)
        return cls(root, between, key_of(seed, "certificate log"))

    def issue(
        self,
        signer: Signer,
        public: ec.EllipticCurvePublicKey,
        at: datetime,
        *,
        sct: P256 | None,
        code_signing: bool = True,
    ) -> x509.Certificate:
        """A certificate of ten minutes. `sct`: whose promise it carries, the log's or another's; None for none."""
        issuer = self.intermediate
        made = builder(public, x509.Name([]), issuer.certificate.subject, issuer.key, at, at + LIFETIME)
        purpose = ExtendedKeyUsageOID.CODE_SIGNING if code_signing else ExtendedKeyUsageOID.CLIENT_AUTH
        is_uri = "://" in signer.san
        name = x509.UniformResourceIdentifier(signer.san) if is_uri else x509.RFC822Name(signer.san)
        made = (
            made.add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        )
        for number, value in signer.extensions().items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{ARC}{number}"), value)
            made = made.add_extension(extension, critical=False)
        if sct is not None:
            unsigned = made.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=True).tbs_certificate_bytes
            promise = x509.UnrecognizedExtension(SCT_LIST, self._sct(unsigned, at, sct))
            made = made.add_extension(promise, critical=False)
        return made.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=True)

    def _sct(self, to_be_signed: bytes, at: datetime, key: P256) -> bytes:
        """A list of one signed certificate timestamp over a precertificate, in the OCTET STRING of the extension."""
        milliseconds = int(at.timestamp() * 1000)
        issuer = hashlib.sha256(spki(self.intermediate.key)).digest()
        body = len(to_be_signed).to_bytes(3, "big") + to_be_signed
        signature = ecdsa(key, struct.pack("!BBQH", 0, 0, milliseconds, 1) + issuer + body + bytes(2))
        log_id = hashlib.sha256(spki(self.log_key)).digest()
        sct = b"\0" + log_id + struct.pack("!QH", milliseconds, 0) + b"\4\3" + _vector(signature)
        return octets(_vector(_vector(sct)))


def _vector(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content
