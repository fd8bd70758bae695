"""TPM evidence is authentic only as the TPM made it: every changed bit, every weakened key is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pluto_measure.errors import FormatError
from pluto_measure.evidence import Envelope, TpmQuote, tpm_extra_data
from pluto_measure.findings import NotAuthentic
from pluto_measure.formats import tpm
from pluto_measure.record import replace
from pluto_measure.verify.tpm import VerifiedTpmQuote, verify_tpm
from simulators.tpm_quotes import (
    AK_ATTRIBUTES,
    AK_USAGE,
    NOW,
    SELECTION,
    Key,
    Machine,
    attest_of,
    certificate,
    ecc_key,
    public_of,
    registers_of,
    sign,
    tpm_evidence,
)

KEY = ecc_key()
GENUINE = Machine(key=KEY).evidence(b"nonce")
INSIDE = tpm_evidence(GENUINE)
CHECKS = [
    "tpm.ak_attributes",
    "tpm.ak_scheme",
    "tpm.signature",
    "tpm.signer",
    "tpm.selection",
    "tpm.pcr_digest",
    "binding.extra_data",
    "tpm.ak_chain",
]


def failed(envelope: Envelope) -> list[str]:
    with pytest.raises(NotAuthentic) as caught:
        verify_tpm(envelope, at=NOW)
    assert [finding.id for finding in caught.value.findings] == CHECKS, "every check ran"
    return [finding.id for finding in caught.value.findings if finding.verdict == "fail"]


def with_evidence(**changes: object) -> Envelope:
    """Genuine claims beside other evidence."""
    return replace(GENUINE, evidence=replace(INSIDE, **changes))


def with_quote(**changes: Any) -> Envelope:
    return with_evidence(quote=replace(INSIDE.quote, **changes))


def made(
    *,
    key: Key = KEY,
    public: tpm.Public | None = None,
    change: Callable[[tpm.Attest], tpm.Attest] = lambda attest: attest,
    algorithm: str = "sha256",
) -> Envelope:
    """Evidence that a lying TPM signed properly."""
    public = public_of(key) if public is None else public
    registers = registers_of(Machine().events)
    attest = change(attest_of(public, registers, tpm_extra_data(GENUINE.claims.binding()))).marshal()
    quote = TpmQuote(attest, sign(key, attest, algorithm), registers)
    return with_evidence(quote=quote, ak_public=public.marshal())


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)], ids=["ecc", "rsa"])
def test_genuine_evidence_is_verified(key: Key) -> None:
    verified = verify_tpm(Machine(key=key).evidence(b"nonce"), at=NOW)
    assert [finding.id for finding in verified.findings] == CHECKS
    assert verified.claims == GENUINE.claims
    assert verified.ak_root is None


def test_only_verification_makes_a_verified_quote() -> None:
    verified = verify_tpm(GENUINE, at=NOW)
    with pytest.raises(TypeError, match="only verify_tpm"):
        dataclasses.replace(verified, _mint=object())
    with pytest.raises(TypeError):
        VerifiedTpmQuote()  # type: ignore[call-arg]


@pytest.mark.parametrize("part", ["attest", "signature"])
def test_every_single_bit_flip_and_truncation_is_refused(part: str) -> None:
    data: bytes = getattr(INSIDE.quote, part)
    flipped = [data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] for at in range(len(data)) for bit in range(8)]
    cut = [data[:size] for size in range(len(data))]
    for changed in flipped + cut + [data + b"\0"]:
        with pytest.raises((FormatError, NotAuthentic)):
            verify_tpm(with_quote(**{part: changed}), at=NOW)


def test_every_single_bit_flip_of_the_key_is_refused() -> None:
    data = INSIDE.ak_public
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises((FormatError, NotAuthentic)):
                verify_tpm(with_evidence(ak_public=changed), at=NOW)


@pytest.mark.parametrize("bank", ["sha256", "sha384"])
@pytest.mark.parametrize("register", ["pcr0", "pcr4", "pcr12", "pcr23"])
def test_a_register_value_that_was_not_quoted_is_refused(bank: str, register: str) -> None:
    registers = {name: dict(values) for name, values in INSIDE.quote.registers.items()}
    registers[bank][register] = bytes([registers[bank][register][0] ^ 1]) + registers[bank][register][1:]
    assert failed(with_quote(registers=registers)) == ["tpm.pcr_digest"]


@pytest.mark.parametrize("claim", ["nonce", "config_digest", "outer_key_digest"])
def test_claims_that_were_not_quoted_are_refused(claim: str) -> None:
    changes: dict[str, Any] = {claim: b"\x07" * 32}
    claims = replace(GENUINE.claims, **changes)
    assert failed(replace(GENUINE, claims=claims)) == ["binding.extra_data"]


def test_a_signature_by_another_key_is_refused() -> None:
    assert failed(with_quote(signature=sign(ecc_key(), INSIDE.quote.attest))) == ["tpm.signature"]


def test_a_quote_that_names_another_signer_is_refused() -> None:
    other = tpm.qualified_name(tpm.RH_OWNER, public_of(ecc_key()))
    envelope = made(change=lambda attest: replace(attest, qualified_signer=other))
    assert failed(envelope) == ["tpm.signer"]


@pytest.mark.parametrize(
    "attributes",
    [
        AK_ATTRIBUTES & ~tpm.RESTRICTED,
        AK_ATTRIBUTES & ~tpm.SIGN,
        AK_ATTRIBUTES & ~tpm.FIXED_TPM,
        AK_ATTRIBUTES & ~tpm.FIXED_PARENT,
        AK_ATTRIBUTES & ~tpm.SENSITIVE_DATA_ORIGIN,
        AK_ATTRIBUTES | tpm.DECRYPT,
    ],
)
def test_a_key_with_weaker_attributes_is_refused(attributes: int) -> None:
    assert failed(made(public=public_of(KEY, attributes))) == ["tpm.ak_attributes"]


@pytest.mark.parametrize(
    "selections",
    [
        SELECTION[:1],
        SELECTION[::-1],
        (*SELECTION, tpm.PcrSelection("sha1", (0,))),
        (*SELECTION, SELECTION[0]),
        (tpm.PcrSelection("sha256", tuple(range(23))), SELECTION[1]),
        (),
    ],
)
def test_a_quote_over_other_registers_is_refused(selections: tuple[tpm.PcrSelection, ...]) -> None:
    assert failed(made(change=lambda attest: replace(attest, selections=selections))) == ["tpm.selection"]


def test_a_quote_with_the_raw_nonce_is_refused() -> None:
    envelope = made(change=lambda attest: replace(attest, extra_data=b"nonce"))
    assert failed(envelope) == ["binding.extra_data"]


def test_a_key_with_another_scheme_than_its_signature_is_refused() -> None:
    public = dataclasses.replace(public_of(KEY), scheme=tpm.Scheme(tpm.ALG_ECDSA, "sha384"))
    envelope = made(public=public)
    assert failed(envelope) == ["tpm.ak_scheme", "tpm.pcr_digest"]
    assert failed(made(public=dataclasses.replace(public_of(KEY), scheme=None))) == ["tpm.ak_scheme"]


def test_sha1_signatures_are_refused() -> None:
    public = dataclasses.replace(public_of(KEY), scheme=tpm.Scheme(tpm.ALG_ECDSA, "sha1"))
    assert "tpm.ak_scheme" in failed(made(public=public, algorithm="sha1"))


def test_a_short_rsa_key_is_refused() -> None:
    assert "tpm.ak_scheme" in failed(made(key=rsa.generate_private_key(65537, 1024)))


def test_a_point_off_the_curve_is_refused() -> None:
    public = public_of(KEY)
    assert isinstance(public, tpm.EccPublic)
    assert "tpm.signature" in failed(made(public=dataclasses.replace(public, y=b"\x01" * 32)))


def test_signatures_of_another_kind_than_the_key_are_refused() -> None:
    attest = INSIDE.quote.attest
    signature = sign(rsa.generate_private_key(65537, 2048), attest)
    assert failed(with_quote(signature=signature)) == ["tpm.ak_scheme", "tpm.signature"]


def test_several_failures_are_reported_together() -> None:
    public = public_of(KEY, AK_ATTRIBUTES | tpm.DECRYPT)
    envelope = made(public=public, change=lambda attest: replace(attest, selections=(), extra_data=b""))
    assert failed(envelope) == ["tpm.ak_attributes", "tpm.selection", "binding.extra_data"]


def test_certificates_for_another_key_are_refused() -> None:
    root = ecc_key()
    chain = (
        certificate("ak", ecc_key(), "root", root, ca=False, usage=AK_USAGE),
        certificate("root", root, "root", root, ca=True),
    )
    assert failed(with_evidence(ak_certificates=chain)) == ["tpm.ak_chain"]


def test_a_p384_key_is_accepted_like_a_p256_key() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    numbers = key.public_key().public_numbers()
    scheme = tpm.Scheme(tpm.ALG_ECDSA, "sha384")
    x, y = numbers.x.to_bytes(48), numbers.y.to_bytes(48)
    public = tpm.EccPublic("sha256", AK_ATTRIBUTES, b"", scheme, tpm.CURVE_P384, x, y)
    verify_tpm(made(key=key, public=public, algorithm="sha384"), at=NOW)
