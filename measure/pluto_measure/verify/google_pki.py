"""The chain of a Confidential Space token: leaf, intermediate, and a root that is pinned by its hash. Pure.

RFC 5280 sections 4.1, 4.2.1.3, 4.2.1.9 and 6.1, as far as these chains need it: three certificates, names and
signatures that fit, RSA with SHA-256 throughout, issuers that may issue. Google names no source of revocations for its
leaves, which live for two months. Dates are the caller's to judge, at two moments.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from pluto_measure.errors import FormatError
from pluto_measure.verify.certificate import UNREADABLE, constraints

# CN=Confidential Space Root CA, 2024-01-19 to 2034-01-16: SHA-256 of its DER, as published by
# https://confidentialcomputing.googleapis.com/.well-known/attestation-pki-root
GOOGLE_ROOTS: Final = frozenset({bytes.fromhex("148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39")})
_NAMES: Final = ("leaf", "intermediate", "root")
_BITS: Final = range(2048, 4097)
_REMEMBERED: Final = 64  # a leaf signs all tokens of two months
Roots = frozenset[bytes]


class TokenChain(NamedTuple):
    """`problem` says why the chain does not hold; None: it does."""

    key: rsa.RSAPublicKey | None  # the leaf's, where it is one that we accept
    root: bytes  # SHA-256 of the last certificate
    windows: tuple[tuple[str, datetime, datetime], ...]  # name, first and last moment of each certificate
    problem: str | None


@lru_cache(_REMEMBERED)
def token_chain(certificates: tuple[bytes, ...], roots: Roots) -> TokenChain:
    """The chain in a token's `x5c` (DER, the signer's first). FormatError for what are no certificates."""
    chain = [_load(der, index) for index, der in enumerate(certificates)]
    root = hashlib.sha256(certificates[-1]).digest()
    windows = tuple(
        (_NAMES[min(index, 2)], item.not_valid_before_utc, item.not_valid_after_utc) for index, item in enumerate(chain)
    )
    return TokenChain(_rsa_key(chain[0]), root, windows, _problem(chain, root, roots))


def _load(der: bytes, index: int) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.extensions  # noqa: B018  what cannot be read is told here, and not later
        certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018
        certificate.signature_algorithm_oid, certificate.subject, certificate.issuer  # noqa: B018
    except UNREADABLE as error:
        raise FormatError(f"token.header.x5c[{index}]", f"is no certificate: {error}") from error
    return certificate


def _problem(chain: list[x509.Certificate], root: bytes, roots: Roots) -> str | None:
    if root not in roots:
        return "the chain does not end in a pinned root, so anybody may have made it"
    if len(chain) != len(_NAMES):
        return f"there are {len(chain)} certificates, not leaf, intermediate and root"
    leaf, *issuers = chain
    problems = [_leaf_problem(leaf), *(_issuer_problem(item, below) for below, item in enumerate(issuers))]
    # The root is who its hash says, so its own signature says nothing more.
    problems += [_issue_problem(*pair, name) for pair, name in zip(pairwise(chain), _NAMES, strict=False)]
    return next(filter(None, problems), None)


def _issue_problem(subject: x509.Certificate, issuer: x509.Certificate, name: str) -> str | None:
    if subject.signature_algorithm_oid != SignatureAlgorithmOID.RSA_WITH_SHA256 or _rsa_key(issuer) is None:
        return f"the {name} certificate is not signed by RSA of 2048 to 4096 bits with SHA-256"
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return f"the {name} certificate was not issued by the next one"
    return None


def _leaf_problem(leaf: x509.Certificate) -> str | None:
    basic, usage, odd = constraints(leaf)
    if odd is not None:
        return f"the leaf has a critical extension {odd}, which is not known"
    if basic is None or basic.ca:
        return "the leaf is a CA, or does not say that it is none"
    if usage is not None and not usage.digital_signature:  # Google's leaves do not say it
        return "the leaf may not sign"
    return None


def _issuer_problem(issuer: x509.Certificate, below: int) -> str | None:
    """`below`: how many issuers stand between it and the leaf."""
    name = _NAMES[below + 1]
    basic, usage, odd = constraints(issuer)
    if odd is not None:
        return f"the {name} certificate has a critical extension {odd}, which is not known"
    if basic is None or not basic.ca or usage is None or not usage.key_cert_sign:
        return f"the {name} certificate may not issue certificates"
    if basic.path_length is not None and basic.path_length < below:
        return f"the {name} certificate may not have {below} issuers below it"
    return None


def _rsa_key(certificate: x509.Certificate) -> rsa.RSAPublicKey | None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) and key.key_size in _BITS else None
