"""Verify a launch endorsement: Google's signing key says which MRTD its firmware has. Pure.

1. A certificate with a pinned digest, Google's root for confidential computing, is at hand (in the endorsement itself).
2. That root issued the certificate in the endorsement, whose key (RSA-4096) is for signatures and for nothing else.
3. Root and certificate are valid at the time that is asked for.
4. The key signed the golden measurement: RSASSA-PSS with SHA-256, a salt of 32 bytes, over its very bytes.
5. The golden measurement says when it was made.

All run; one failure makes the endorsement unusable. Google publishes no revocation source for these certificates. The
form is `pluto_measure.formats.endorsement`; which genuine endorsement is good enough, the appraisal says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtensionOID

from pluto_measure.errors import VerificationError
from pluto_measure.evidence import format_time
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats import endorsement
from pluto_measure.formats.endorsement import EndorsedMrtd, Endorsement
from pluto_measure.formats.pck import split_pem
from pluto_measure.verify.certificate import UNREADABLE

# SHA-256 of the DER of "GCE-cc-tcb-root_1" (valid 2023 to 2048), which Google publishes at pki.goog/cloud_integrity.
GOOGLE_TCB_ROOTS: Final = frozenset({bytes.fromhex("e876bc6978bf4f3da445f98a0a82363c8c0bae5a1fc033c6df65846a6cb0f18c")})

_MINT: Final = object()
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)  # that the root may have signed the certificate over
_BITS: Final = 4096
_EXPONENT: Final = 65537
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)


@dataclass(frozen=True, slots=True)
class VerifiedEndorsement:
    """What a pinned root vouches for. Only verify_endorsement() makes one.

    `svn` is Google's security version of the firmware, `firmware_digest` SHA-384 of its file, `valid_until` the end of
    the certificate that signed.
    """

    digest: bytes  # SHA-256 of the endorsement's bytes
    timestamp: datetime
    svn: int
    firmware_digest: bytes
    cl_spec: int
    mrtds: tuple[EndorsedMrtd, ...]
    root: bytes  # SHA-256 of the root certificate's DER
    valid_until: datetime
    findings: tuple[Finding, ...]
    _mint: InitVar[object]  # not kept, so that dataclasses.replace() has none to hand on

    def __post_init__(self, _mint: object) -> None:
        if _mint is not _MINT:
            raise TypeError("only verify_endorsement() makes a VerifiedEndorsement")

    def named(self, mrtd: bytes) -> tuple[EndorsedMrtd, ...]:
        """The entries that have this MRTD; none where it is not endorsed."""
        return tuple(entry for entry in self.mrtds if entry.mrtd == mrtd)


def verify_endorsement(
    data: bytes,
    *,
    at: datetime,
    roots: AbstractSet[bytes] = GOOGLE_TCB_ROOTS,
    ca_bundle: bytes = b"",
) -> VerifiedEndorsement:
    """Verify an endorsement at the time `at` (aware). FormatError, or NotAuthentic with all findings.

    `roots`: SHA-256 of the DER of certificates that are trusted. `ca_bundle`: PEM text that may hold the root too, for
    endorsements that come without; nothing in either place is trusted for being there.
    """
    parsed = endorsement.parse(data)
    root, leaf = _root(parsed, roots, ca_bundle), _certificate(parsed.certificate)
    findings = (
        _check_root(root, roots),
        _check_certificate(leaf, root),
        _check_validity((leaf, root), at),
        _check_signature(leaf, parsed),
        judge(
            "endorsement.dated",
            parsed.timestamp is not None,
            "the endorsement says when it was made",
            otherwise="the endorsement does not say when it was made",
            actual=None if parsed.timestamp is None else format_time(parsed.timestamp),
        ),
    )
    if failures(findings) or root is None or leaf is None or parsed.timestamp is None:
        raise NotAuthentic(findings)
    return VerifiedEndorsement(
        digest=hashlib.sha256(data).digest(),
        timestamp=parsed.timestamp,
        svn=parsed.svn,
        firmware_digest=parsed.firmware_digest,
        cl_spec=parsed.cl_spec,
        mrtds=parsed.mrtds,
        root=_digest(root),
        valid_until=leaf.not_valid_after_utc.astimezone(UTC),
        findings=findings,
        _mint=_MINT,
    )


def _root(parsed: Endorsement, roots: AbstractSet[bytes], ca_bundle: bytes) -> x509.Certificate | None:
    """The first certificate at hand whose digest is pinned; None where there is none."""
    bundles = [one for one in (parsed.ca_bundle, ca_bundle) if one.strip()]
    for der in (der for one in bundles for der in split_pem(one, what="launch endorsement.ca_bundle")):
        if hashlib.sha256(der).digest() in roots:
            return _certificate(der)
    return None


def _certificate(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE:
        return None


def _digest(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


def _check_root(root: x509.Certificate | None, roots: AbstractSet[bytes]) -> Finding:
    return judge(
        "endorsement.root",
        root is not None,
        "the endorsement names a root that is pinned",
        otherwise="none of the certificates beside the endorsement is a root that is pinned",
        expected=" ".join(sorted(one.hex() for one in roots)),
        actual=None if root is None else _digest(root).hex(),
    )


def _check_certificate(leaf: x509.Certificate | None, root: x509.Certificate | None) -> Finding:
    check = "endorsement.certificate"
    try:
        if leaf is None:
            raise VerificationError("the endorsement holds no certificate that can be read")
        _check_key(leaf)
        _check_extensions(leaf)
        _check_issuer(leaf, root)
    except VerificationError as error:
        return Finding(check, "fail", str(error))
    except UNREADABLE as error:
        return Finding(check, "fail", f"the endorsement's certificate cannot be read: {error}")
    return Finding(check, "pass", "the pinned root issued the certificate of the key that signs endorsements")


def _check_key(leaf: x509.Certificate) -> None:
    key = leaf.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise VerificationError("the endorsement's certificate is for a key that is not RSA")
    if key.key_size != _BITS or key.public_numbers().e != _EXPONENT:
        raise VerificationError(f"the endorsement's certificate is for an RSA key of {key.key_size} bits, not {_BITS}")


def _check_extensions(leaf: x509.Certificate) -> None:
    usage, is_ca = None, False
    for extension in leaf.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            oid = extension.oid.dotted_string
            raise VerificationError(f"the endorsement's certificate has an extension that is not understood: {oid}")
        if isinstance(extension.value, x509.KeyUsage):
            usage = extension.value
        if isinstance(extension.value, x509.BasicConstraints):
            is_ca = extension.value.ca
    if usage is None or not usage.digital_signature or usage.key_cert_sign or is_ca:
        raise VerificationError("the endorsement's certificate is not one for signatures alone")


def _check_issuer(leaf: x509.Certificate, root: x509.Certificate | None) -> None:
    if root is None:
        raise VerificationError("there is no pinned root that could have issued the endorsement's certificate")
    if not isinstance(leaf.signature_hash_algorithm, _HASHES):
        raise VerificationError("the endorsement's certificate is signed over a hash that is not accepted")
    try:
        leaf.verify_directly_issued_by(root)
    except (*UNREADABLE, InvalidSignature) as error:
        raise VerificationError("the pinned root did not issue the endorsement's certificate") from error


def _check_validity(chain: tuple[x509.Certificate | None, ...], at: datetime) -> Finding:
    check, there = "endorsement.validity", [one for one in chain if one is not None]
    begin = max((one.not_valid_before_utc for one in there), default=None)
    end = min((one.not_valid_after_utc for one in there), default=None)
    if len(there) < len(chain) or begin is None or end is None:
        return Finding(check, "fail", "without its certificates nobody knows when the endorsement is valid")
    return judge(
        check,
        begin <= at <= end,
        "the endorsement's certificates are valid",
        otherwise="the endorsement's certificates are not valid at this time",
        expected=f"{format_time(begin)} to {format_time(end)}",
        actual=format_time(at),
    )


def _check_signature(leaf: x509.Certificate | None, parsed: Endorsement) -> Finding:
    return judge(
        "endorsement.signature",
        leaf is not None and _is_signed(leaf, parsed),
        "the certificate's key signed the golden measurement",
        otherwise="the certificate's key did not sign this golden measurement",
    )


def _is_signed(leaf: x509.Certificate, parsed: Endorsement) -> bool:
    try:
        key = leaf.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            return False
        key.verify(parsed.signature, parsed.golden, _PSS, hashes.SHA256())
    except (*UNREADABLE, InvalidSignature):
        return False
    return True
