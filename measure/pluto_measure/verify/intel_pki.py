"""Intel's certificates and revocation lists: chains up to a pinned root, and who revoked what. Pure.

Intel SGX PCK Certificate and CRL Profile Specification 1.5. Three kinds of chain end in the root: PCK certificate under
the Platform or the Processor CA, TCB Signing, and the CA alone, which signs the list of revoked PCK certificates.

Whether a signature holds does not depend on the time, so the answers are remembered by the exact bytes: quotes of one
machine share nearly all of them. Dates come back as `Window`s, for the appraisal to compare with its time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import SignatureAlgorithmOID

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import EXTENSION, PckExtension, split_pem
from pluto_measure.formats.signed_der import SignedDer, common_name

# SHA-256 of the DER of "Intel SGX Root CA" (valid 2018-05-21 to 2049-12-31), the root of all of Intel's attestation.
INTEL_ROOTS: Final = frozenset({bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")})

CAS: Final = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}
_PCK_PHRASE: Final = "SGX PCK Certificate"
_SIGNER: Final = "Intel SGX TCB Signing"
_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
_REMEMBERED: Final = 1024
_LISTS_REMEMBERED: Final = 64  # a list may be long, and there are three in force at a time
_LARGEST_CHAIN: Final = 64 * 1024  # bytes of PEM text, a genuine chain has 4 KiB: what is remembered stays bounded
# What `cryptography` raises for bytes that are no certificate or list. A warning is one where they are made errors.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)

Roots = frozenset[bytes]


class Window(NamedTuple):
    """When a certificate is valid, or from when until when a document counts."""

    what: str
    kind: Literal["certificate", "document"]
    begin: datetime
    end: datetime


class Chain(NamedTuple):
    """A chain in the order leaf, issuers, root. `problem` says why it does not hold; None: it does."""

    certificates: tuple[x509.Certificate, ...]
    ders: tuple[bytes, ...]
    problem: str | None

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]

    @property
    def issuer_der(self) -> bytes:
        """The certificate above the leaf, DER."""
        return self.ders[1]

    def windows(self, *names: str) -> tuple[Window, ...]:
        """When each certificate is valid, under the given names."""
        return tuple(
            Window(name, "certificate", certificate.not_valid_before_utc, certificate.not_valid_after_utc)
            for name, certificate in zip(names, self.certificates, strict=False)
        )


@dataclass(frozen=True, slots=True)
class PckChain:
    """The chain of a quote's PCK certificate, with what Intel says of the platform."""

    chain: Chain
    ca: str  # "platform", "processor"; "" where the chain does not hold
    extension: PckExtension


@dataclass(frozen=True, slots=True)
class Crl:
    """A revocation list, loaded. `number` is CRLNumber, RFC 5280 section 5.2.3; -1 where it is not there."""

    der: bytes
    number: int
    this_update: datetime
    next_update: datetime
    _list: x509.CertificateRevocationList

    def revokes(self, certificate: x509.Certificate) -> bool:
        serial = certificate.serial_number
        # DER has one spelling of a number. Most lists do not hold it anywhere, and are not searched entry by entry.
        if serial.to_bytes(serial.bit_length() // 8 + 1, "big") not in self.der:
            return False
        return self._list.get_revoked_certificate_by_serial_number(serial) is not None

    def window(self, what: str) -> Window:
        return Window(what, "document", self.this_update, self.next_update)


@lru_cache(_REMEMBERED)
def pck_chain(pem: bytes, roots: Roots) -> PckChain:
    """The chain in a quote's certification data, certificates in any order.

    FormatError for what holds no PCK certificate; a chain that does not hold has its reason in `problem`.
    """
    loaded = _loaded(pem, "quote.certificates", exact=True)
    leaves = [(item, value) for item in loaded if (value := _sgx_extension(item[0])) is not None]
    if len(leaves) != 1:
        raise FormatError("quote.certificates", f"hold {len(leaves)} PCK certificates, not one")
    leaf, value = leaves[0]
    extension = PckExtension.parse(value)
    chain = _ordered(leaf, [item for item in loaded if item is not leaf], 3, roots)
    if chain.problem is not None:
        return PckChain(chain, "", extension)
    ca = CAS.get(_name(chain.ders[1]), "")
    problem = _pck_problem(chain, ca)
    return PckChain(Chain(chain.certificates, chain.ders, problem), ca if problem is None else "", extension)


def signing_chain(pem: bytes, roots: Roots, *, what: str) -> Chain:
    """The chain of a "TCB Signing" certificate: exactly two, in any order. FormatError where there is none."""
    chain = _listed(pem, 2, roots, what)
    if chain.problem is None and (name := _name(chain.ders[0])) != _SIGNER:
        return Chain(chain.certificates, chain.ders, f"the signer is {name!r}, not {_SIGNER!r}")
    if chain.problem is None and (problem := _leaf_problem(chain.leaf)):
        return Chain(chain.certificates, chain.ders, problem)
    return chain


def ca_chain(pem: bytes, roots: Roots, *, what: str) -> Chain:
    """The chain of a PCK CA, which signs a list of revoked PCK certificates: exactly two, in any order."""
    chain = _listed(pem, 2, roots, what)
    if chain.problem is None and (name := _name(chain.ders[0])) not in CAS:
        return Chain(chain.certificates, chain.ders, f"the signer is {name!r}, not one of {', '.join(CAS)}")
    if chain.problem is None and (problem := _issuer_problem(chain.leaf, chain.ders[0])):
        return Chain(chain.certificates, chain.ders, problem)
    return chain


def load(der: bytes, what: str) -> x509.Certificate:
    """A certificate. FormatError for bytes that are none, or that have more than one reading."""
    try:
        return _read(der).certificate
    except _UNREADABLE as error:
        raise FormatError(what, f"hold what is no certificate: {error}") from error


class _Read(NamedTuple):
    """A certificate, read to the end: nothing of it raises any more."""

    certificate: x509.Certificate
    parts: SignedDer
    key: ec.EllipticCurvePublicKey | None  # where it is one on P-256


# Intel's root is a constant of this program, so it is read once and for all. Its hash is compared at every use.
_ROOTS_READ: Final[dict[bytes, _Read]] = {}


@lru_cache(_REMEMBERED)
def _read(der: bytes) -> _Read:
    """Root and CA stand in several chains. Raises one of _UNREADABLE."""
    if (known := _ROOTS_READ.get(der)) is not None:
        return known
    certificate = x509.load_der_x509_certificate(der)
    certificate.extensions  # noqa: B018
    certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018
    if not _ends_in(der, certificate.signature):
        raise ValueError("it does not end in its signature")
    if certificate.serial_number <= 0:  # RFC 5280 section 4.1.2.2; no list can be asked for one below
        raise ValueError(f"the serial number is {certificate.serial_number}")
    found = _Read(certificate, SignedDer.certificate(der), p256_key(certificate))
    if _is_root(der, INTEL_ROOTS):
        _ROOTS_READ[der] = found
    return found


@lru_cache(_LISTS_REMEMBERED)
def _list(der: bytes) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(der)


def load_crl(der: bytes, what: str) -> Crl:
    """A revocation list. FormatError for bytes that are none, and for a list without a next update."""
    try:
        loaded = _list(der)
        begin, end = loaded.last_update_utc, loaded.next_update_utc
        number = next((e.value.crl_number for e in loaded.extensions if type(e.value) is x509.CRLNumber), -1)
    except _UNREADABLE as error:
        raise FormatError(what, f"is no revocation list: {error}") from error
    if not _ends_in(der, loaded.signature):
        raise FormatError(what, "does not end in its signature")
    if end is None:
        raise FormatError(what, "does not say when its next update is due")
    return Crl(der, number, begin, end, loaded)


@lru_cache(_LISTS_REMEMBERED)
def crl_problem(crl_der: bytes, issuer_der: bytes) -> str | None:
    """Why the list was not signed by that certificate's key under its name; None: it was."""
    crl, issuer = _list(crl_der), _read(issuer_der)
    parts, key = SignedDer.revocation_list(crl_der), issuer.key
    try:
        if parts.issuer != issuer.parts.subject:
            return f"the list was issued by {common_name(parts.issuer)!r}, not by {_name(issuer_der)!r}"
        critical = [extension.oid.dotted_string for extension in crl.extensions if extension.critical]
        if critical:
            return f"the list has a critical extension {critical[0]}, so it does not cover all that its issuer issued"
        if key is None or _is_other_algorithm(crl, parts):
            return "the list is not signed by ECDSA with SHA-256"
        key.verify(crl.signature, parts.signed, _ECDSA_SHA256)
    except (InvalidSignature, ValueError):  # of the latter kind is a name that cannot be read
        return f"{_name(issuer_der)!r} did not sign the list"
    return None


def signs(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Whether `signature` (r and s, 32 bytes each) is `key`'s over SHA-256 of `data`."""
    encoded = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(encoded, data, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


@lru_cache(_REMEMBERED)
def p256_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey | None:
    """The certificate's key where it is one on P-256."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1" else None


Loaded = tuple[x509.Certificate, bytes]


def _loaded(pem: bytes, what: str, *, exact: bool = False) -> list[Loaded]:
    if len(pem) > _LARGEST_CHAIN:
        raise FormatError(what, f"{len(pem)} bytes are more than {_LARGEST_CHAIN}")
    return [(load(der, what), der) for der in split_pem(pem, what=what, exact=exact)]


def _ends_in(der: bytes, signature: bytes) -> bool:
    """Whether the signature's BIT STRING, which nobody signs, has its one spelling: no unused bits."""
    return der.endswith(b"\0" + signature)


def _listed(pem: bytes, size: int, roots: Roots, what: str) -> Chain:
    loaded = _loaded(pem, what)
    leaves = [item for item in loaded if not _is_root(item[1], roots) and not _is_self_issued(item[1])]
    leaf = leaves[0] if leaves else loaded[0]
    return _ordered(leaf, [item for item in loaded if item is not leaf], size, roots)


def _ordered(leaf: Loaded, others: list[Loaded], size: int, roots: Roots) -> Chain:
    """Leaf first, pinned root last, each issued by the next; anything else is a problem."""
    top = [item for item in others if _is_root(item[1], roots)]
    middle = [item for item in others if item not in top]
    chain = [leaf, *middle, *top]
    problem = None
    if len(chain) != size:
        problem = f"there are {len(chain)} certificates, not {size}"
    elif len(top) != 1:
        problem = "the chain does not end in a pinned root"
    else:
        problem = next(filter(None, map(_issue_problem, chain, chain[1:])), None)
    return Chain(tuple(item[0] for item in chain), tuple(item[1] for item in chain), problem)


def _is_self_issued(der: bytes) -> bool:
    parts = _read(der).parts
    return parts.issuer == parts.subject


def _is_root(der: bytes, roots: Iterable[bytes]) -> bool:
    return hashlib.sha256(der).digest() in roots


def _issue_problem(subject: Loaded, issuer: Loaded) -> str | None:
    if issued(subject[1], issuer[1]):
        return None
    return f"{_name(subject[1])!r} was not issued by {_name(issuer[1])!r}"


@lru_cache(_REMEMBERED)
def issued(subject_der: bytes, issuer_der: bytes) -> bool:
    """Whether names fit and the issuer's P-256 key signed the subject, by ECDSA with SHA-256."""
    subject, issuer = _read(subject_der), _read(issuer_der)
    try:
        if issuer.key is None or _is_other_algorithm(subject.certificate, subject.parts):
            return False
        if subject.parts.issuer != issuer.parts.subject:
            return False
        issuer.key.verify(subject.certificate.signature, subject.parts.signed, _ECDSA_SHA256)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _is_other_algorithm(item: x509.Certificate | x509.CertificateRevocationList, parts: SignedDer) -> bool:
    """Whether it says of itself that it is signed otherwise than by ECDSA with SHA-256, inside or outside."""
    return (
        parts.algorithm != parts.signed_algorithm
        or item.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256
    )


def _pck_problem(chain: Chain, ca: str) -> str | None:
    if not ca:
        return f"the issuer is {_name(chain.ders[1])!r}, not one of {', '.join(CAS)}"
    if _PCK_PHRASE not in (name := _name(chain.ders[0])):
        return f"the leaf is {name!r}, not a PCK certificate"
    return _leaf_problem(chain.leaf) or _issuer_problem(chain.certificates[1], chain.issuer_der)


def _leaf_problem(certificate: x509.Certificate) -> str | None:
    basic, usage, odd = _constraints(certificate)
    if odd is not None:
        return odd
    if basic is None or basic.ca:
        return "the leaf is a CA, or does not say that it is none"
    if usage is None or not usage.digital_signature:
        return "the leaf may not sign"
    return None if p256_key(certificate) is not None else "the leaf has no key on P-256"


def _issuer_problem(certificate: x509.Certificate, der: bytes) -> str | None:
    basic, usage, odd = _constraints(certificate)
    if odd is not None:
        return odd
    if basic is None or not basic.ca or usage is None or not usage.key_cert_sign:
        return f"{_name(der)!r} may not issue certificates"
    return None


def _constraints(
    certificate: x509.Certificate,
) -> tuple[x509.BasicConstraints | None, x509.KeyUsage | None, str | None]:
    basic = usage = None
    for extension in certificate.extensions:
        value = extension.value
        if type(value) is x509.BasicConstraints:  # isinstance would ask its abstract class each time
            basic = value
        elif type(value) is x509.KeyUsage:
            usage = value
        elif extension.critical:
            return None, None, f"critical extension {extension.oid.dotted_string} is not known"
    return basic, usage, None


def _sgx_extension(certificate: x509.Certificate) -> bytes | None:
    for extension in certificate.extensions:
        value = extension.value
        if type(value) is x509.UnrecognizedExtension and value.oid.dotted_string == EXTENSION:
            return value.value
    return None


def _name(der: bytes) -> str:
    """The common name of a certificate's subject."""
    return _read(der).parts.name
