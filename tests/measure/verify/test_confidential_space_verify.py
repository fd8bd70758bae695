"""Tokens of Confidential Space: what Google signed for these claims is authentic, and nothing else is."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.binding import LEGACY_SPACE_AUDIENCE, SPACE_AUDIENCE
from pluto_measure.claims import Claims
from pluto_measure.errors import FormatError
from pluto_measure.evidence import Envelope, TokenEvidence
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats.jwks import JwksDocument
from pluto_measure.record import replace
from pluto_measure.verify.confidential_space import ISSUER, VerifiedToken, token_nonce, verify_token
from pluto_measure.verify.google_pki import GOOGLE_ROOTS, token_chain
from pluto_notary.evidence import confidential_space as notary
from pluto_notary.protocol import legacy
from simulators import tpm_quotes
from simulators.confidential_space import KEY_ID, ROOTS, Space, base64url, jwk, keys, root_hash
from simulators.google_pki import NOW, Google, rsa_key

HONEST = Space().envelope()
OIDC = Space(form="oidc")


def failed(given_: Space | Envelope | str, *, at: datetime = NOW, **options: Any) -> set[str]:
    """The ids of the checks that refuse; empty where it is authentic."""
    envelope = given_.envelope() if isinstance(given_, Space) else given_
    try:
        verify_token(envelope, at=at, **{"roots": ROOTS, **options})
    except NotAuthentic as error:
        return {finding.id for finding in failures(error.findings)}
    return set()


def of(google: Google) -> dict[str, Any]:
    """A machine under another authority, whose root is pinned."""
    chain = tuple(google.chain())
    return {"given_": Space(google=google, chain=chain), "roots": frozenset({root_hash(chain)})}


def test_an_honest_token_is_authentic_in_both_forms_and_spellings() -> None:
    token = verify_token(HONEST, at=NOW, roots=ROOTS)
    assert (token.form, token.root, token.keys_fetched_at) == ("pki", root_hash(), None)
    assert (token.platform, token.bound_claims) == ("gcp-confidential-space", HONEST.claims)
    assert {finding.verdict for finding in token.findings} == {"pass"}
    assert failed(Space(pem=True)) == set()
    oidc = verify_token(OIDC.envelope(), at=NOW, keys=keys())
    assert (oidc.form, oidc.root, oidc.keys_fetched_at, oidc.key_id) == ("oidc", None, NOW, KEY_ID)


def test_nobody_but_verify_token_makes_a_verified_token() -> None:
    token = verify_token(HONEST, at=NOW, roots=ROOTS)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(token, form="oidc")  # type: ignore[call-arg]
    values = {item.name: getattr(token, item.name) for item in dataclasses.fields(token)}
    with pytest.raises(TypeError, match="only verify_token"):
        VerifiedToken(**values, _mint=object())


def test_notary_and_verifier_mean_the_same() -> None:
    assert token_nonce(b"B") == notary.nonce_of(b"B")
    assert len(token_nonce(b"B")) == 68


# One for each mistake that verifiers made, or that is easy to make: facts about others are in the names.
OTHER = Google(leaf_key=rsa_key("a"), intermediate_key=rsa_key("b"), root_key=rsa_key("c"))
CHAIN = list(Space().certificates())
FOREIGN = OTHER.chain()
ROGUE = Google(intermediate_key=rsa_key("leaf"), leaf_key=rsa_key(), leaf_issuer="Pretend Leaf Certificate")


@pytest.mark.parametrize(
    ("space", "check"),
    [
        pytest.param(Space(google=OTHER), "token.chain", id="root-compared-by-name-or-self-consistency"),
        pytest.param(Space(chain=[*FOREIGN[:2], CHAIN[2]]), "token.chain", id="pinned-root-behind-a-foreign-chain"),
        pytest.param(Space(chain=[FOREIGN[0], *CHAIN[1:]]), "token.chain", id="foreign-leaf-before-genuine-issuers"),
        pytest.param(Space(chain=[*CHAIN, *FOREIGN]), "token.chain", id="more-certificates-than-asked"),
        pytest.param(Space(chain=CHAIN[:2]), "token.chain", id="no-root"),
        pytest.param(Space(chain=[CHAIN[0], CHAIN[2]]), "token.chain", id="no-intermediate"),
        pytest.param(Space(chain=CHAIN[::-1]), "token.chain", id="upside-down"),
        pytest.param(Space(chain=[ROGUE.leaf, CHAIN[0], CHAIN[2]]), "token.chain", id="leaf-as-an-issuer"),
        pytest.param(Space(chain=[ROGUE.leaf, *CHAIN]), "token.chain", id="leaf-as-an-issuer-in-a-longer-chain"),
        pytest.param(Space(signed_by=rsa_key()), "token.signature", id="chain-checked-and-not-the-signature"),
        pytest.param(
            Space(claims={"iss": "https://portal.trustauthority.intel.com"}), "token.issuer", id="other-issuer"
        ),
        pytest.param(Space(claims={"iss": ISSUER + "/"}), "token.issuer", id="issuer-by-prefix"),
        pytest.param(Space(claims={"iss": None}), "token.issuer", id="issuer-unset"),
        pytest.param(Space(claims={"aud": "https://sts.googleapis.com"}), "token.audience", id="default-audience"),
        pytest.param(Space(claims={"aud": [SPACE_AUDIENCE, "x"]}), "token.audience", id="audience-is-a-member-of"),
        pytest.param(Space(claims={"aud": None}), "token.audience", id="audience-unset"),
        pytest.param(Space(claims={"eat_nonce": None}), "binding.token_nonce", id="nonce-unset"),
        pytest.param(
            Space(claims={"eat_nonce": [token_nonce(Space().node().binding()), "pt2-" + "00" * 32]}),
            "binding.token_nonce",
            id="nonce-is-a-member-of",
        ),
        pytest.param(
            Space(claims={"eat_nonce": token_nonce(Space().node().binding()).upper()}),
            "binding.token_nonce",
            id="nonce-in-another-spelling",
        ),
    ],
)
def test_a_mistake_of_verifiers_is_none_of_ours(space: Space, check: str) -> None:
    assert check in failed(space)


def test_one_nonce_may_come_as_a_list() -> None:
    assert failed(Space(claims={"eat_nonce": [token_nonce(Space().node().binding())]})) == set()
    assert failed(Space(claims={"aud": [SPACE_AUDIENCE]})) == set()


@pytest.mark.parametrize(
    "google",
    [
        pytest.param(Google(leaf_ca=True), id="leaf-is-a-ca"),
        pytest.param(Google(leaf_ca=None), id="leaf-says-nothing"),
        pytest.param(Google(leaf_usage=False), id="leaf-may-not-sign"),
        pytest.param(Google(leaf_critical=True), id="leaf-with-a-critical-extension"),
        pytest.param(Google(intermediate_critical=True), id="intermediate-with-a-critical-extension"),
        pytest.param(Google(intermediate_ca=False), id="intermediate-is-no-ca"),
        pytest.param(Google(intermediate_signs=False), id="intermediate-may-not-sign-certificates"),
        pytest.param(Google(root_path_length=0), id="root-allows-no-intermediate"),
        pytest.param(Google(leaf_issuer="Another CA"), id="issuer-of-another-name"),
        pytest.param(Google(intermediate_name="Another CA"), id="intermediate-of-another-name"),
        pytest.param(Google(hash=SHA384()), id="another-hash"),
        pytest.param(Google(intermediate_key=rsa_key("small", 1024)), id="intermediate-with-a-small-key"),
    ],
)
def test_a_chain_that_may_not_be_is_refused(google: Google) -> None:
    assert failed(**of(google)) == {"token.chain"}


def test_a_chain_may_say_more_than_googles() -> None:
    assert failed(**of(Google(leaf_usage=True, root_path_length=1))) == set()


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa_key("small", 1024)], ids=["ec", "small"])
def test_a_leaf_without_a_strong_rsa_key_signs_nothing(key: Any) -> None:
    assert "token.signature" in failed(**of(Google(leaf_key=key)))


@pytest.mark.parametrize("name", ["leaf", "intermediate", "root"])
@pytest.mark.parametrize("days", [(-9, -1), (1, 9)], ids=["over", "not begun"])
def test_every_certificate_must_be_valid(name: str, days: tuple[int, int]) -> None:
    changes: dict[str, Any] = {f"{name}_days": days}
    assert failed(**of(Google(**changes))) == {"token.certificate_dates"}


def test_certificates_must_be_valid_when_the_token_was_signed_and_when_it_is_judged() -> None:
    before, after = NOW - timedelta(days=30, minutes=20), NOW + timedelta(days=30, minutes=20)
    early = Space(issued_at=before)
    assert failed(early, at=NOW - timedelta(days=30) + timedelta(minutes=10)) == {"token.certificate_dates"}
    late = Space(issued_at=after - timedelta(minutes=40))
    assert failed(late, at=NOW + timedelta(days=30) - timedelta(minutes=10)) == set()
    assert failed(late, at=after - timedelta(minutes=10)) == {"token.certificate_dates"}


@pytest.mark.parametrize(
    ("seconds", "skew", "checks"),
    [
        (-1, 0, {"token.time"}),
        (-60, 60, set()),
        (-61, 60, {"token.time"}),
        (0, 0, set()),
        (3599, 0, set()),
        (3600, 0, {"token.time"}),
        (3659, 60, set()),
        (3660, 60, {"token.time"}),
    ],
)
def test_a_token_holds_for_its_hour(seconds: int, skew: int, checks: set[str]) -> None:
    assert failed(HONEST, at=NOW + timedelta(seconds=seconds), skew=skew) == checks


@pytest.mark.parametrize("claims", [{"nbf": int(NOW.timestamp()) + 61}, {"exp": int(NOW.timestamp())}, {"exp": 1}])
def test_not_before_and_a_life_that_is_none_are_looked_at(claims: dict[str, Any]) -> None:
    assert failed(Space(claims=claims), skew=60) == {"token.time"}


# The form without a chain.


def test_a_token_without_a_chain_needs_a_key_set() -> None:
    assert failed(OIDC) == {"token.keys_given"}


def test_a_key_is_found_by_name_alone_in_the_given_set() -> None:
    assert failed(OIDC, keys=keys()) == set()
    assert failed(Space(form="oidc", head={"kid": "other"}), keys=keys()) == {"token.key"}
    assert failed(Space(form="oidc", head={"kid": None}), keys=keys()) == {"token.key"}


def test_another_key_of_the_set_is_not_tried() -> None:
    pair = (jwk("other", rsa_key("oidc")), jwk(KEY_ID, rsa_key()))
    assert failed(OIDC, keys=JwksDocument("x", NOW, pair)) == {"token.signature"}


def test_a_key_set_is_no_way_around_the_chain() -> None:
    """A chain of anybody's with the name of a genuine key; and the chain's leaf in the place of that key."""
    assert failed(Space(google=OTHER), keys=keys()) == {"token.chain"}
    assert failed(Space(signed_by=rsa_key("oidc")), keys=keys()) == {"token.signature"}
    assert failed(Space(form="oidc", signed_by=rsa_key("leaf")), keys=keys()) == {"token.signature"}


# What the token was made for.


@pytest.mark.parametrize("claim", ["nonce", "config_digest", "outer_key_digest"])
def test_claims_that_the_token_was_not_made_for_are_refused(claim: str) -> None:
    assert isinstance(HONEST.claims, Claims)
    changes: dict[str, Any] = {claim: b"\x07" * 32}
    assert failed(replace(HONEST, claims=replace(HONEST.claims, **changes))) == {"binding.token_nonce"}


@pytest.mark.parametrize("form", ["pki", "oidc"])
@pytest.mark.parametrize("audience", [LEGACY_SPACE_AUDIENCE, "pluto-notary/1"])
def test_a_token_of_the_old_protocol_is_no_evidence(form: Any, audience: str) -> None:
    """Its audience is another, and its nonce is the keying material of a session."""
    ekm = b"\x0e" * 32
    space = Space(form=form, claims={"aud": audience})
    token = space.token(legacy.token_nonce(ekm))
    refused = {"token.audience", "binding.token_nonce"}
    assert failed(space.envelope(token=token), keys=keys()) == refused
    assert failed(token, keys=keys()) == refused
    assert failed(token, keys=keys(), bound=ekm) == refused


def test_a_bare_token_is_for_the_binding_that_the_verifier_brings() -> None:
    bound = HONEST.claims.binding()
    token = Space().token(token_nonce(bound))
    found = verify_token(token, at=NOW, roots=ROOTS, bound=bound)
    assert (found.bound_claims, found.platform) == (None, "gcp-confidential-space")
    assert failed(token) == {"binding.token_nonce"}
    assert failed(token, bound=b"other") == {"binding.token_nonce"}
    with pytest.raises(ValueError, match="an envelope's binding"):
        verify_token(HONEST, at=NOW, bound=bound)


def test_evidence_of_another_kind_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="not a token"):
        verify_token(tpm_quotes.Machine().evidence(b"n"), at=NOW)


def test_all_findings_are_told_at_once() -> None:
    worst = Space(google=OTHER, signed_by=rsa_key(), claims={"iss": "x", "aud": "x", "eat_nonce": "x", "exp": 1})
    assert failed(worst) == {
        "token.chain",
        "token.signature",
        "token.time",
        "token.issuer",
        "token.audience",
        "binding.token_nonce",
    }


def test_what_a_token_says_is_shown_short_and_on_one_line() -> None:
    space = Space(claims={"iss": "\n" * 500, "aud": "a\u202eb"})
    with pytest.raises(NotAuthentic) as caught:
        verify_token(space.envelope(), at=NOW, roots=ROOTS)
    for finding in caught.value.findings:
        assert len(str(finding.actual)) < 300
        assert str(finding.actual).isprintable()


@pytest.mark.parametrize(
    "der",
    [b"x", CHAIN[0][:-1], CHAIN[0] + b"x", CHAIN[0][:40]],
    ids=["nothing", "a byte less", "a byte more", "a head"],
)
def test_what_is_no_certificate_is_malformed(der: bytes) -> None:
    with pytest.raises(FormatError, match="no certificate"):
        failed(Space(chain=[der, *CHAIN[1:]]))


def test_a_certificate_with_an_unreadable_key_is_no_issuer() -> None:
    """Its key is of a kind that does not exist."""
    oid = bytes.fromhex("2a864886f70d010101")  # rsaEncryption
    odd = CHAIN[0].replace(oid, oid[:-1] + b"\x63", 1)
    chain = token_chain((odd, *CHAIN[1:]), ROOTS)
    assert (chain.key, chain.problem is None) == (None, False)


TOKEN = HONEST.evidence.token if isinstance(HONEST.evidence, TokenEvidence) else ""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def is_refused(token: str) -> bool:
    try:
        return bool(failed(replace(HONEST, evidence=TokenEvidence(token))))
    except FormatError:
        return True


@settings(deadline=None)
@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(LETTERS + "."))
def test_any_letter_changed_is_refused(at: int, letter: str) -> None:
    changed = TOKEN[:at] + letter + TOKEN[at + 1 :]
    assert is_refused(changed) == (changed != TOKEN)


@settings(deadline=None)
@given(st.integers(0, len(TOKEN) - 1))
def test_any_cut_is_refused(at: int) -> None:
    assert is_refused(TOKEN[:at])
    assert is_refused(TOKEN[at:]) == (at > 0)


@settings(deadline=None)
@given(st.integers(0, 255), st.integers(0, 7))
def test_any_bit_of_the_signature_changed_is_refused(at: int, bit: int) -> None:
    signed, _, text = TOKEN.rpartition(".")
    signature = bytearray(base64.urlsafe_b64decode(text + "=="))
    signature[at] ^= 1 << bit
    assert is_refused(f"{signed}.{base64url(bytes(signature))}")


def test_the_pinned_root_is_googles() -> None:
    (root,) = GOOGLE_ROOTS
    assert root.hex() == "148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39"
    assert hashlib.sha256(CHAIN[2]).digest() not in GOOGLE_ROOTS
