"""A world of the pretend Intel, given to the verifier: what it says and which findings refuse. For tests alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pluto_measure.errors import FormatError
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote
from pluto_measure.verify import collateral, intel_certificate, intel_crl, intel_pki
from pluto_measure.verify import quote as verifier
from pluto_measure.verify.quote import VerifiedQuote, verify_quote
from simulators.intel import Authority, Issued, World

INTEL = Authority.make()
# What cannot hold where the chain of the PCK certificate does not.
PCK_CHAIN = {"pck.chain", "pck.crl", "pck.revoked", "pck.ca_revoked"}


def roots_of(*authorities: Authority) -> frozenset[bytes]:
    return frozenset(hashlib.sha256(authority.root_der).digest() for authority in authorities)


ROOTS = roots_of(INTEL)


def parsed(members: dict[str, Any]) -> Collateral:
    return Collateral.parse(json.dumps(members).encode())


def verified(world: World, roots: frozenset[bytes] = ROOTS) -> VerifiedQuote:
    return verify_quote(Quote.parse(world.quote), parsed(world.collateral), roots)


def refusals(world: World, roots: frozenset[bytes] = ROOTS) -> set[str]:
    """The ids of the findings that fail; none where the quote is verified."""
    try:
        verified(world, roots)
    except NotAuthentic as error:
        return {finding.id for finding in failures(error.findings)}
    return set()


def outcome(quote: bytes, given: Collateral, roots: frozenset[bytes] = ROOTS) -> str:
    """ "accepted", "refused" or "format"; any other exception is a bug and comes through."""
    try:
        verify_quote(Quote.parse(quote), given, roots)
    except NotAuthentic:
        return "refused"
    except FormatError:
        return "format"
    return "accepted"


def pem(*issued: Issued) -> str:
    return "".join(item.pem for item in issued)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def forget() -> None:
    """Empty every cache of the verifier."""
    for module in (intel_certificate, intel_crl, intel_pki, collateral, verifier):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def texts(world: World, check: str, roots: frozenset[bytes] = ROOTS) -> Sequence[str]:
    """What the findings with that id say."""
    try:
        findings = verified(world, roots).findings
    except NotAuthentic as error:
        findings = error.findings
    return [finding.text for finding in findings if finding.id == check]
