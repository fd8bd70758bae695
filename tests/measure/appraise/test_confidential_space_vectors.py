"""Recorded tokens: what Google signed is found genuine at its time, and what others made up is not."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.appraise.confidential_space import appraise_envelope
from pluto_measure.claims import Claims
from pluto_measure.evidence import Envelope, TokenEvidence
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats.confidential_space import SpaceClaims
from pluto_measure.formats.jwks import JwksDocument
from pluto_measure.formats.jwt import Jwt
from pluto_measure.verify.confidential_space import verify_token
from pluto_measure.verify.google_pki import GOOGLE_ROOTS
from simulators.confidential_space import POLICY, REFERENCE, expected, keys
from simulators.google_pki import NOW

NOT_OURS = {"token.audience", "binding.token_nonce"}  # nobody made these tokens for our claims
GENUINE = ["valid.jwt", "flare_pki.txt"]


@pytest.fixture(scope="module")
def folder(vectors: Path) -> Path:
    return vectors / "quotes/confidential-space"


def text(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


def issued(token: str) -> datetime:
    return SpaceClaims.parse(Jwt.parse(token).payload).issued_at


def failed(token: str, at: datetime, key_set: JwksDocument | None = None) -> set[str]:
    with pytest.raises(NotAuthentic) as caught:
        verify_token(token, at=at, keys=key_set)
    return {finding.id for finding in failures(caught.value.findings)}


@pytest.mark.parametrize("name", GENUINE)
def test_chain_and_signature_of_a_genuine_token_hold_at_its_time(folder: Path, name: str) -> None:
    token = text(folder, name)
    assert failed(token, issued(token)) == NOT_OURS


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_token_does_not_hold_today(folder: Path, name: str) -> None:
    assert failed(text(folder, name), NOW) == NOT_OURS | {"token.time", "token.certificate_dates"}


@pytest.mark.parametrize("name", ["root.crt", "flare_root_cert.pem"])
def test_the_recorded_root_is_the_pinned_one(folder: Path, name: str) -> None:
    root = x509.load_pem_x509_certificate((folder / name).read_bytes()).public_bytes(Encoding.DER)
    assert hashlib.sha256(root).digest() in GOOGLE_ROOTS


def test_a_changed_signature_is_refused(folder: Path) -> None:
    token = text(folder, "invalid_signature.jwt")
    assert failed(token, issued(token)) == NOT_OURS | {"token.signature"}


def test_a_chain_that_only_fits_itself_is_refused(folder: Path) -> None:
    token = text(folder, "oak_selfsigned_confidential_space_valid.jwt")
    # Its one certificate is valid for a hundred years, which begin three months after it signed.
    assert failed(token, issued(token)) == NOT_OURS | {"token.chain", "token.certificate_dates", "token.issuer"}
    # Pinned, it is a leaf without issuers all the same.
    (der,) = Jwt.parse(token).certificates or ()
    with pytest.raises(NotAuthentic, match="1 certificates, not leaf"):
        verify_token(token, at=issued(token), roots=frozenset({hashlib.sha256(der).digest()}))


def test_a_token_without_a_chain_needs_its_key(folder: Path) -> None:
    token = text(folder, "flare_oidc.txt")
    assert failed(token, issued(token)) == NOT_OURS | {"token.keys_given"}
    # This set has another key of the very name; the recorded one is not published any more.
    assert failed(token, issued(token), keys(issued(token))) == NOT_OURS | {"token.signature"}
    other = JwksDocument("x", NOW, (keys().keys[0].__class__("other", keys().keys[0].modulus),))
    assert failed(token, issued(token), other) == NOT_OURS | {"token.key"}


@pytest.mark.parametrize("name", GENUINE)
def test_recorded_evidence_is_not_authentic_for_our_claims(folder: Path, name: str) -> None:
    token = text(folder, name)
    at = issued(token)
    claims = Claims("node", b"n", bytes(32), bytes(32), bytes(32))
    envelope = Envelope("gcp-confidential-space", 0, at, TokenEvidence(token), claims)
    appraisal = appraise_envelope(envelope, [REFERENCE], POLICY, None, at=at, expected=expected())
    assert (appraisal.exit_code, appraisal.claims) == (4, None)
