"""Certificates of Azure's virtual TPMs: from an attestation key up to a pinned root, over issuers from anywhere. Pure.

A machine has the certificate of its key alone, and its issuers are published elsewhere, so a verifier brings them. None
of these is trusted for being there; the digest of the root decides, so the root's own signature is not looked at.
Microsoft publishes no revocation source for them. Whether a signature holds does not depend on the time, so the answers
are remembered by the exact bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice, pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from pluto_measure.errors import FormatError, VerificationError
from pluto_measure.findings import Finding
from pluto_measure.formats.signed_der import SignedDer
from pluto_measure.verify.chain import check_issuer, check_leaf, loaded

Roots = frozenset[bytes]

# SHA-256 of the DER of "Azure Virtual TPM Root Certificate Authority 2023" (valid 2023 to 2048), and of "Microsoft RSA
# Devices Root CA 2021" (valid 2021 to 2046), which stands above older machines.
AZURE_AK_ROOTS: Final = frozenset(
    {
        bytes.fromhex("e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95"),
        bytes.fromhex("8c2bb9144d4970c94fb8105cc5d860a58e2e675eb360fdd8c14b30833aaaec1d"),
    }
)
MOST_ISSUERS: Final = 16  # that a verifier brings
_LONGEST_CHAIN: Final = 5  # a genuine one has three or four
_MOST_CHAINS: Final = 8  # that names allow and that are tried
_REMEMBERED: Final = 256
_CHECK: Final = "tpm.ak_chain"


def ak_chain(
    certificates: Sequence[bytes], issuers: Sequence[bytes], *, key: bytes, at: datetime, roots: Roots
) -> tuple[bytes | None, Finding]:
    """The pinned root that vouches for `key` (SubjectPublicKeyInfo, DER) at the time `at`, and what is found.

    `certificates`: what came with the evidence, the key's own first, perhaps with zeros behind the DER; `issuers`: what
    the verifier has, the root among them. None where no chain leads to one of `roots`: the policy judges that.
    FormatError for more issuers than MOST_ISSUERS, or one that is no certificate.
    """
    if len(issuers) > MOST_ISSUERS:
        raise FormatError("issuers", f"{len(issuers)} certificates are more than {MOST_ISSUERS}")
    pool = [(SignedDer.certificate(item), item) for item in issuers]
    if not certificates:
        return None, Finding(_CHECK, "pass", "there are no certificates; the policy judges that")
    try:
        given = [unpadded(item) for item in certificates]
        leaf, *more = [(SignedDer.certificate(item), item) for item in given]
    except (FormatError, VerificationError) as error:
        return None, Finding(_CHECK, "fail", f"the certificates cannot be read: {error}")
    chains = list(islice(_chains([leaf], [*pool, *more], roots), _MOST_CHAINS))
    problems = [_problem(chain, key, at) for chain in chains]
    if None in problems:
        root = hashlib.sha256(chains[problems.index(None)][-1]).digest()
        text = "the certificates lead from the attestation key to a pinned root"
        return root, Finding(_CHECK, "pass", text, None, root.hex())
    if (problem := problems[0] if problems else _problem([leaf[1]], key, at)) is not None:
        return None, Finding(_CHECK, "fail", problem)
    text = "the attestation key's certificate does not lead to a pinned root: issuers are missing, or it is another"
    return None, Finding(_CHECK, "warning", text, " ".join(sorted(root.hex() for root in roots)))


def _problem(chain: Sequence[bytes], key: bytes, at: datetime) -> str | None:
    """Why a chain does not hold for `key` at the time `at`; None: it does. The last certificate is taken as it is."""
    try:
        certificates = [loaded(item, index) for index, item in enumerate(chain)]
        check_leaf(certificates[0], key)
        for index, certificate in enumerate(certificates):
            if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
                return f"chain: certificate {index} is not valid at {at:%Y-%m-%dT%H:%M:%SZ}"
            if index:
                check_issuer(certificate, index)
    except VerificationError as error:
        return str(error)
    for index, (subject, issuer) in enumerate(pairwise(chain)):
        if not _issued(subject, issuer):
            return f"chain: certificate {index} was not issued by the next one"
    return None


@lru_cache(_REMEMBERED)
def _issued(subject: bytes, issuer: bytes) -> bool:
    """Whether one certificate (DER) names and is signed by the other."""
    try:
        x509.load_der_x509_certificate(subject).verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def unpadded(data: bytes) -> bytes:
    """The DER that begins `data`, without the zeros behind it. VerificationError for anything else behind it."""
    if data[:2] != b"\x30\x82":  # no genuine certificate is shorter than 256 bytes or longer than 64 KiB
        raise VerificationError("chain: not a certificate in DER")
    end = 4 + int.from_bytes(data[2:4])
    if end > len(data) or any(data[end:]):
        raise VerificationError("chain: bytes behind a certificate are not zero, or it is cut short")
    return data[:end]


def _chains(
    chain: list[tuple[SignedDer, bytes]], pool: Sequence[tuple[SignedDer, bytes]], roots: Roots
) -> Iterator[list[bytes]]:
    """Every way up by names to a certificate of a pinned digest."""
    last, der = chain[-1]
    if hashlib.sha256(der).digest() in roots:
        yield [item for _, item in chain]
        return
    if len(chain) == _LONGEST_CHAIN:
        return
    for candidate in pool:
        if candidate[0].subject == last.issuer and candidate not in chain:
            yield from _chains([*chain, candidate], pool, roots)
