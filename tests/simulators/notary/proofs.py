"""Proofs of a pretend trust domain, and a verifier who accepts the honest one. For tests alone.

made()                              an honest proof
made(host="other.example")          with fields of the statement changed, signed by the same key
judged(proof)                       its verdict; every argument of `verify_proof` and of `Asked` may be changed
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from pluto_measure.claims import KeyClaims
from pluto_measure.evidence import Envelope
from pluto_measure.formats.strict_json import canonical
from pluto_notary.statement.asked import Asked
from pluto_notary.statement.curve import ORDER
from pluto_notary.statement.judge import Brought, ProofVerdict, verify_proof
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import Signature, SigningKey
from pluto_notary.statement.model import Domain, Statement
from pluto_notary.statement.proof import KeyEvidence, Proof
from pluto_notary.statement.values import Opening, committed, digests, revealed
from simulators.intel import NOW
from simulators.notary.evidence import tdx_envelope
from simulators.trust_domains import CONFIG, POLICY, REFERENCE, TrustDomain

HONEST: Final = TrustDomain()
KEY: Final = SigningKey(keccak256(b"the statement key"))
OTHER_KEY: Final = SigningKey(keccak256(b"another key"))
LEGACY_KEY: Final = SigningKey(keccak256(b"the key of the old format"))
VALUES: Final = (("price", b'"12.50"'), ("stock", b"7"), ("tags", b'["a","b"]'))
SECONDS: Final = int(NOW.timestamp())
COLLATERAL: Final = b"\xc0" * 32
RECIPIENT: Final = b"\x0a" * 20
CONTRACT: Final = b"\x0c" * 20
NONCE: Final = b"\x5a" * 32
MANIFEST: Final = keccak256(b"{}")
# All that a verifier can ask of an honest proof.
ASKED: Final = Asked(
    manifest=MANIFEST,
    host="shop.example",
    nonce=NONCE,
    recipient=RECIPIENT,
    chain_id=8453,
    contract=CONTRACT,
    max_age=3600,
)


def salts(seed: bytes = b"salt") -> Callable[[int], bytes]:
    """A source of bytes that are always the same."""
    made: list[bytes] = []

    def random(size: int) -> bytes:
        made.append(keccak256(seed + len(made).to_bytes(4, "big")))
        return made[-1][:size]

    return random


def openings(*, hidden: bool = False) -> tuple[Opening, ...]:
    return committed(VALUES, salts()) if hidden else revealed(VALUES)


def statement(**changes: Any) -> Statement:
    """What the honest notary saw."""
    fields: dict[str, Any] = {
        "mode": "fetch",
        "host": "shop.example",
        "certificate": b"\xce" * 32,
        "manifest": MANIFEST,
        "values": digests(openings()),
        "session": b"\x5e" * 32,
        "nonce": NONCE,
        "recipient": RECIPIENT,
        "not_before": SECONDS - 12,
        "not_after": SECONDS - 8,
        "build": HONEST.build_id,
        "domain": Domain(8453, CONTRACT),
    }
    return Statement(**{**fields, **changes})


def envelope(domain: TrustDomain, public: bytes = KEY.public, **claims: Any) -> Envelope:
    """A trust domain's evidence that it holds a key; `claims` are changed before it is quoted."""
    said: dict[str, Any] = {"statement_key": public, "config_digest": CONFIG, "build_id": domain.build_id, **claims}
    return tdx_envelope(domain, KeyClaims(**said))


@cache
def honest_envelope() -> Envelope:
    return envelope(HONEST)


def evidence(collateral: bytes | None = COLLATERAL) -> KeyEvidence:
    return KeyEvidence.of(honest_envelope(), collateral)


def made(
    *, hidden: bool = False, legacy: bool = False, key_evidence: KeyEvidence | None = None, **changes: Any
) -> Proof:
    """A proof by KEY; `changes` are fields of the statement."""
    opened = openings(hidden=hidden)
    said = statement(**{"values": digests(opened), **changes})
    shown = opened if said.values == digests(opened) else ()
    return Proof.sign(
        said,
        shown,
        key=KEY,
        key_evidence=key_evidence or evidence(),
        legacy_key=LEGACY_KEY if legacy else None,
    )


def judged(proof: Proof, **changes: Any) -> ProofVerdict:
    """The verdict of a verifier who brings and asks all that the honest proof needs."""
    mine = {name: changes.pop(name) for name in list(changes) if name in _ASKED}
    given: dict[str, Any] = {"policy": POLICY, "at": NOW, "then": brought(), "today": brought()}
    given |= {"asked": dataclasses.replace(ASKED, **mine), **changes}
    return verify_proof(proof, given.pop("policy"), given.pop("at"), **given)


_ASKED: Final = {field.name for field in dataclasses.fields(Asked)}


def brought(**changes: Any) -> Brought:
    """What the honest verifier brings, changed."""
    whole = Brought(references=(REFERENCE,), tdx=HONEST.inputs(), collateral=COLLATERAL)
    return dataclasses.replace(whole, **changes)


def refused(verdict: ProofVerdict) -> list[str]:
    """The ids of the findings that fail, in their order."""
    return [finding.id for finding in verdict.findings if finding.verdict == "fail"]


def warned(verdict: ProofVerdict) -> list[str]:
    return [finding.id for finding in verdict.findings if finding.verdict == "warning"]


def edited(proof: Proof, change: Callable[[Any], object]) -> bytes:
    """The proof's file after `change` was done to its JSON."""
    document = json.loads(proof.to_bytes())
    change(document)
    return canonical(document)


def other_spelling(signature: Signature) -> tuple[bytes, bytes, int]:
    """The second signature that holds wherever this one does: r, n - s, the other v. No `Signature` takes it."""
    s = ORDER - int.from_bytes(signature.s, "big")
    return signature.r, s.to_bytes(32, "big"), 55 - signature.v


def made_by(key: SigningKey) -> Proof:
    """The honest statement, signed by any key and without evidence."""
    return Proof.sign(statement(), openings(), key=key, key_evidence=None)


def signature_of(proof: Proof) -> dict[str, object]:
    """The member `signature` of a proof's file."""
    found: dict[str, object] = json.loads(proof.to_bytes())["signature"]
    return found
