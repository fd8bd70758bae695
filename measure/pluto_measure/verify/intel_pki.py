"""Intel's chains of certificates, up to a pinned root. Pure.

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

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import PckExtension, split_pem
from pluto_measure.verify.intel_certificate import (
    is_self_issued,
    issued,
    issuer_problem,
    keep,
    leaf_problem,
    load,
    name_of,
    sgx_extension,
)

# SHA-256 of the DER of "Intel SGX Root CA" (valid 2018-05-21 to 2049-12-31), the root of all of Intel's attestation.
INTEL_ROOTS: Final = frozenset({bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")})

CAS: Final = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}
_PCK_PHRASE: Final = "SGX PCK Certificate"
_SIGNER: Final = "Intel SGX TCB Signing"
_REMEMBERED: Final = 1024
_LARGEST_CHAIN: Final = 64 * 1024  # bytes of PEM text, a genuine chain has 4 KiB: what is remembered stays bounded
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


@lru_cache(_REMEMBERED)
def pck_chain(pem: bytes, roots: Roots) -> PckChain:
    """The chain in a quote's certification data, certificates in any order.

    FormatError for what holds no PCK certificate; a chain that does not hold has its reason in `problem`.
    """
    loaded = _loaded(pem, "quote.certificates", exact=True)
    leaves = [(item, value) for item in loaded if (value := sgx_extension(item[0])) is not None]
    if len(leaves) != 1:
        raise FormatError("quote.certificates", f"hold {len(leaves)} PCK certificates, not one")
    leaf, value = leaves[0]
    extension = PckExtension.parse(value)
    chain = _ordered(leaf, [item for item in loaded if item is not leaf], 3, roots)
    if chain.problem is not None:
        return PckChain(chain, "", extension)
    ca = CAS.get(name_of(chain.ders[1]), "")
    problem = _pck_problem(chain, ca)
    return PckChain(Chain(chain.certificates, chain.ders, problem), ca if problem is None else "", extension)


def signing_chain(pem: bytes, roots: Roots, *, what: str) -> Chain:
    """The chain of a "TCB Signing" certificate: exactly two, in any order. FormatError where there is none."""
    chain = _listed(pem, 2, roots, what)
    if chain.problem is None and (name := name_of(chain.ders[0])) != _SIGNER:
        return Chain(chain.certificates, chain.ders, f"the signer is {name!r}, not {_SIGNER!r}")
    if chain.problem is None and (problem := leaf_problem(chain.leaf)):
        return Chain(chain.certificates, chain.ders, problem)
    return chain


def ca_chain(pem: bytes, roots: Roots, *, what: str) -> Chain:
    """The chain of a PCK CA, which signs a list of revoked PCK certificates: exactly two, in any order."""
    chain = _listed(pem, 2, roots, what)
    if chain.problem is None and (name := name_of(chain.ders[0])) not in CAS:
        return Chain(chain.certificates, chain.ders, f"the signer is {name!r}, not one of {', '.join(CAS)}")
    if chain.problem is None and (problem := issuer_problem(chain.leaf, chain.ders[0])):
        return Chain(chain.certificates, chain.ders, problem)
    return chain


Loaded = tuple[x509.Certificate, bytes]


def _loaded(pem: bytes, what: str, *, exact: bool = False) -> list[Loaded]:
    if len(pem) > _LARGEST_CHAIN:
        raise FormatError(what, f"{len(pem)} bytes are more than {_LARGEST_CHAIN}")
    return [(load(der, what), der) for der in split_pem(pem, what=what, exact=exact)]


def _listed(pem: bytes, size: int, roots: Roots, what: str) -> Chain:
    loaded = _loaded(pem, what)
    leaves = [item for item in loaded if not _is_root(item[1], roots) and not is_self_issued(item[1])]
    leaf = leaves[0] if leaves else loaded[0]
    return _ordered(leaf, [item for item in loaded if item is not leaf], size, roots)


def _ordered(leaf: Loaded, others: list[Loaded], size: int, roots: Roots) -> Chain:
    """Leaf first, pinned root last, each issued by the next; anything else is a problem."""
    top = [item for item in others if _is_root(item[1], roots)]
    middle = [item for item in others if item not in top]
    for _, der in top:
        if _is_root(der, INTEL_ROOTS):  # a constant of this program
            keep(der)
    chain = [leaf, *middle, *top]
    problem = None
    if len(chain) != size:
        problem = f"there are {len(chain)} certificates, not {size}"
    elif len(top) != 1:
        problem = "the chain does not end in a pinned root"
    else:
        problem = next(filter(None, map(_issue_problem, chain, chain[1:])), None)
    return Chain(tuple(item[0] for item in chain), tuple(item[1] for item in chain), problem)


def _is_root(der: bytes, roots: Iterable[bytes]) -> bool:
    return hashlib.sha256(der).digest() in roots


def _issue_problem(subject: Loaded, issuer: Loaded) -> str | None:
    if issued(subject[1], issuer[1]):
        return None
    return f"{name_of(subject[1])!r} was not issued by {name_of(issuer[1])!r}"


def _pck_problem(chain: Chain, ca: str) -> str | None:
    if not ca:
        return f"the issuer is {name_of(chain.ders[1])!r}, not one of {', '.join(CAS)}"
    if _PCK_PHRASE not in (name := name_of(chain.ders[0])):
        return f"the leaf is {name!r}, not a PCK certificate"
    return leaf_problem(chain.leaf) or issuer_problem(chain.certificates[1], chain.issuer_der)
