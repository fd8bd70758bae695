"""A pretend timestamp authority: RFC 3161 answers in CMS (RFC 5652), written by hand. For tests alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulators.intel import key_of
from simulators.intel.der import identifier, integer, octets, sequence, tlv

from .authority import Issued, authority, builder, ecdsa

SIGNED_DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SHA256, ECDSA_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
POLICY = "1.3.6.1.4.1.57264.2"
_SET, _TIME = 0x31, 0x18


def _algorithm(dotted: str, *, null: bool = False) -> bytes:
    return sequence(identifier(dotted), *((b"\5\0",) if null else ()))


def _attribute(dotted: str, value: bytes) -> bytes:
    return sequence(identifier(dotted), tlv(_SET, value))


@dataclass(frozen=True)
class TimestampAuthority:
    """A root and the certificate that signs times."""

    root: Issued
    signer: Issued

    @classmethod
    def of(cls, seed: object, begin: datetime) -> TimestampAuthority:
        root = authority("timestamp root", key_of(seed, "timestamp root"), None, begin, 0)
        key = key_of(seed, "timestamps")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "timestamps")])
        made = builder(
            key.public_key(), subject, root.certificate.subject, root.key, begin, begin + timedelta(days=3653)
        )
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        made = made.add_extension(usage, critical=True).add_extension(purpose, critical=True)
        return cls(root, Issued(key, made.sign(root.key, hashes.SHA256(), ecdsa_deterministic=True)))

    def stamp(self, digest: bytes, at: datetime, *, forged: bool = False) -> bytes:
        """TimeStampResp: what has this SHA-256 existed then. `forged`: signed with somebody else's key."""
        imprint = sequence(_algorithm(SHA256, null=True), octets(digest))
        when = tlv(_TIME, at.strftime("%Y%m%d%H%M%SZ").encode())
        info = sequence(integer(1), identifier(POLICY), imprint, integer(7), when)
        signed = sequence(
            integer(3),
            tlv(_SET, _algorithm(SHA256)),
            sequence(identifier(TST_INFO), tlv(0xA0, octets(info))),
            tlv(0xA0, self.signer.der),
            tlv(_SET, self._signer_info(info, forged)),
        )
        token = sequence(identifier(SIGNED_DATA), tlv(0xA0, signed))
        return sequence(sequence(integer(0)), token)

    def _signer_info(self, info: bytes, forged: bool) -> bytes:
        certificate = self.signer.certificate
        attributes = _attribute(CONTENT_TYPE, identifier(TST_INFO)) + _attribute(
            MESSAGE_DIGEST, octets(hashlib.sha256(info).digest())
        )
        key = key_of("mallory") if forged else self.signer.key
        return sequence(
            integer(1),
            sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number)),
            _algorithm(SHA256),
            tlv(0xA0, attributes),
            _algorithm(ECDSA_SHA256),
            octets(ecdsa(key, tlv(_SET, attributes))),
        )

    def in_root(self) -> list[bytes]:
        return [issued.certificate.public_bytes(Encoding.DER) for issued in (self.signer, self.root)]
