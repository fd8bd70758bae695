"""Azure evidence is authentic only as its machine made it: each mistake that verifiers made is refused by name."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.evidence import AzureEvidence, Envelope
from pluto_measure.findings import Finding, NotAuthentic
from pluto_measure.formats import tpm
from pluto_measure.record import replace
from pluto_measure.verify.azure import AkTrust, VerifiedAzure, verify_azure
from pluto_measure.verify.azure_pki import ak_chain, unpadded
from simulators import tpm_quotes, trust_domains
from simulators.azure_evidence import (
    AK_ROOT,
    ISSUERS,
    NONCE,
    SELECTION,
    TRUST,
    AzureMachine,
    chain,
    jwk,
    rsa_key,
)
from simulators.intel import NOW, TD15, key_of, world
from simulators.intel.quotes import pattern
from simulators.tpm_quotes import AK_USAGE, certificate, sign

MACHINE = AzureMachine()
GENUINE = MACHINE.envelope()
COLLATERAL = trust_domains.collateral_of(MACHINE.world)
ROOTS = frozenset({trust_domains.ROOT})
CHECKS = [
    "azure.report_data",
    "azure.td_report",
    "binding.user_data",
    "tpm.ak_scheme",
    "tpm.signature",
    "tpm.selection",
    "tpm.pcr_digest",
    "binding.extra_data",
    "tpm.ak_chain",
]


def inside(envelope: Envelope = GENUINE) -> AzureEvidence:
    assert isinstance(envelope.evidence, AzureEvidence)
    return envelope.evidence


def verified(envelope: Envelope = GENUINE, ak: AkTrust = TRUST) -> VerifiedAzure:
    return verify_azure(envelope, COLLATERAL, ROOTS, at=NOW, ak=ak)


def failed(envelope: Envelope | AzureMachine, ak: AkTrust = TRUST) -> list[str]:
    if isinstance(envelope, AzureMachine):
        envelope = envelope.envelope()
    with pytest.raises(NotAuthentic) as caught:
        verified(envelope, ak)
    found = caught.value.findings
    assert [finding.id for finding in found][-len(CHECKS) :] == CHECKS, "every check ran"
    assert "quote.signature" in [finding.id for finding in found], "those of the TD quote too"
    return [finding.id for finding in found if finding.verdict == "fail"]


def with_evidence(**changes: Any) -> Envelope:
    return replace(GENUINE, evidence=replace(inside(), **changes))


def with_quote(**changes: Any) -> Envelope:
    return with_evidence(quote=replace(inside().quote, **changes))


def test_genuine_evidence_is_verified() -> None:
    found = verified()
    assert [finding.id for finding in found.findings][-len(CHECKS) :] == CHECKS
    assert {finding.verdict for finding in found.findings} == {"pass"}
    assert found.claims == GENUINE.claims
    assert found.registers == {"sha256": MACHINE.registers()}
    assert (found.platform, found.ak_root, found.quote.tcb.status) == ("azure-tdx", AK_ROOT, "UpToDate")


def test_only_verification_makes_verified_evidence() -> None:
    with pytest.raises(TypeError, match="only verify_azure"):
        dataclasses.replace(verified(), _mint=object())
    with pytest.raises(TypeError):
        VerifiedAzure()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="not an Azure"):
        verified(tpm_quotes.Machine().evidence(b"nonce"))


# What verifiers of Azure evidence forgot, by docs/formats/azure-evidence.md.
def test_a_selection_that_leaves_registers_out_is_refused() -> None:
    """With a digest over 24 values that the attester chose and signed for fewer."""
    for registers in (tuple(range(23)), (0,), ()):
        selection = (tpm.PcrSelection("sha256", registers),)
        assert failed(AzureMachine(attest={"selections": selection})) == ["tpm.selection"]


@pytest.mark.parametrize(
    "selections",
    [
        (),
        (*SELECTION, *SELECTION),
        (*SELECTION, tpm.PcrSelection("sha1", tuple(range(24)))),
        (tpm.PcrSelection("sha384", tuple(range(24))),),
        (tpm.PcrSelection("sha1", ()), *SELECTION),
    ],
)
def test_a_quote_of_other_banks_is_refused(selections: tuple[tpm.PcrSelection, ...]) -> None:
    assert failed(AzureMachine(attest={"selections": selections})) == ["tpm.selection"]


def test_a_binding_in_only_one_of_the_two_places_is_refused() -> None:
    assert failed(AzureMachine(user_data=bytes(64))) == ["binding.user_data"]
    assert failed(AzureMachine(extra_data=bytes(32))) == ["binding.extra_data"]
    assert failed(AzureMachine(extra_data=NONCE)) == ["binding.extra_data"]


def test_a_binding_of_other_claims_is_refused() -> None:
    claims = replace(GENUINE.claims, nonce=b"another")
    assert failed(replace(GENUINE, claims=claims)) == ["binding.user_data", "binding.extra_data"]


def test_runtime_data_that_the_quote_does_not_cover_are_refused() -> None:
    """A key of the attacker's in the runtime data, under a genuine quote of the genuine machine."""
    mallory = AzureMachine(key=rsa_key("mallory"), certificates=()).envelope()
    report = inside(mallory).hcl_report
    changed = replace(GENUINE, evidence=replace(inside(mallory), td_quote=inside().td_quote, hcl_report=report))
    assert failed(changed) == ["azure.report_data", "azure.td_report"]


def test_report_data_with_something_behind_the_digest_are_refused() -> None:
    assert failed(AzureMachine(quoted={"reportdata": pattern("x", 64)})) == ["azure.report_data", "azure.td_report"]
    digest = MACHINE.quote_over(MACHINE.runtime(GENUINE.claims.binding()))[1].report.reportdata[:32]
    longer = AzureMachine(td={"reportdata": digest + bytes(31) + b"\1"})
    assert failed(longer) == ["azure.report_data"]


@pytest.mark.parametrize(
    "change",
    [
        {"mrtd": bytes(48)},
        {"tdattributes": 1},
        {"xfam": 0x3},
        {"rtmrs": (b"\1" * 48, bytes(48), bytes(48), bytes(48))},
        {"mrconfigid": b"\1" * 48},
        {"mrowner": b"\1" * 48},
        {"mrownerconfig": b"\1" * 48},
        {"mrseam": b"\1" * 48},
    ],
)
def test_a_quote_of_another_td_report_is_refused(change: dict[str, Any]) -> None:
    assert failed(AzureMachine(quoted=change)) == ["azure.td_report"]


def test_a_quote_of_version_5_is_compared_in_what_it_has_more() -> None:
    newer = world(version=5)
    good = AzureMachine(world=newer)
    collateral = trust_domains.collateral_of(newer)
    assert verify_azure(good.envelope(), collateral, ROOTS, at=NOW, ak=TRUST).quote.report.version == "1.5"
    for change in ({"mrservicetd": b"\1" * 48}, {"tee_tcb_svn2": bytes(16)}):
        bad = AzureMachine(world=newer, quoted={"kind": TD15, **change})
        with pytest.raises(NotAuthentic, match=r"azure\.td_report"):
            verify_azure(bad.envelope(), collateral, ROOTS, at=NOW, ak=TRUST)


def test_a_signature_by_another_key_is_refused() -> None:
    assert failed(AzureMachine(signer=rsa_key("mallory"))) == ["tpm.signature"]
    assert failed(AzureMachine(hash="sha384")) == ["tpm.ak_scheme", "tpm.signature"]
    ecdsa = sign(tpm_quotes.ecc_key(), inside().quote.attest)
    assert failed(with_quote(signature=ecdsa)) == ["tpm.ak_scheme", "tpm.signature"]


def test_a_weak_key_is_refused() -> None:
    short = AzureMachine(key=rsa_key("short", 1024), certificates=())
    assert failed(short) == ["tpm.ak_scheme", "tpm.signature"]
    even = {**jwk(rsa_key("ak")), "n": "gA" + "A" * 340}
    assert failed(AzureMachine(keys=(even,), certificates=())) == ["tpm.ak_scheme", "tpm.signature"]
    three = AzureMachine(keys=({**jwk(rsa_key("ak")), "e": "Aw"},), certificates=())
    assert failed(three) == ["tpm.ak_scheme", "tpm.signature"]


@pytest.mark.parametrize("register", ["pcr0", "pcr4", "pcr11", "pcr23"])
def test_a_register_value_that_was_not_quoted_is_refused(register: str) -> None:
    values = {**MACHINE.registers(), register: b"\7" * 32}
    assert failed(with_quote(registers={"sha256": values})) == ["tpm.pcr_digest"]


def test_a_forged_td_quote_is_refused_beside_all_other_checks() -> None:
    forged = MACHINE.world.with_quote(sign_with=key_of("mallory"))
    assert failed(AzureMachine(world=forged)) == ["quote.signature"]
    assert failed(AzureMachine(world=forged, user_data=bytes(64))) == ["quote.signature", "binding.user_data"]


def test_a_snp_report_is_no_tdx_evidence() -> None:
    with pytest.raises(FormatError, match="AMD SEV-SNP"):
        verified(AzureMachine(report={"kind": 2}).envelope())


def test_what_is_no_quote_is_refused() -> None:
    attest = inside().quote.attest
    for changed in (b"\0" + attest[1:], attest[:5] + b"\x17" + attest[6:], attest + b"\0"):
        with pytest.raises(FormatError):
            verified(with_quote(attest=changed))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_other_byte_is_refused(data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(["hcl_report", "td_quote", "attest", "signature"]))
    quote = inside().quote
    raw: bytes = getattr(quote, part) if part in ("attest", "signature") else getattr(inside(), part)
    at = data.draw(st.integers(0, len(raw) - 1))
    unread = part == "hcl_report" and (16 <= at < 20 or 32 <= at < 1056)
    changed = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    envelope = with_quote(**{part: changed}) if part in ("attest", "signature") else with_evidence(**{part: changed})
    try:
        found = verified(envelope)
    except (FormatError, NotAuthentic):
        return
    # Nobody signed the report's status, nor what no quote has of a TD report; padding of PEM text means nothing.
    assert unread or part == "td_quote", (part, at)
    assert found.registers == verified().registers
    assert found.quote.report == verified().quote.report


@pytest.mark.parametrize("part", ["attest", "signature", "hcl_report", "td_quote"])
def test_every_cut_is_refused(part: str) -> None:
    of_quote = part in ("attest", "signature")
    raw: bytes = getattr(inside().quote if of_quote else inside(), part)
    end = 1236 + len(MACHINE.runtime(bytes(64))) if part == "hcl_report" else len(raw)
    for size in range(0, end, 1 if end < 1000 else 37):
        changed = {part: raw[:size]}
        with pytest.raises((FormatError, NotAuthentic)):
            verified(with_quote(**changed) if of_quote else with_evidence(**changed))


def chained(*certificates: bytes, ak: AkTrust = TRUST) -> Finding:
    envelope = AzureMachine(certificates=certificates).envelope()
    try:
        found = verified(envelope, ak).findings[-1]
    except NotAuthentic as error:
        found = error.findings[-1]
    assert found.id == "tpm.ak_chain"
    return found


def test_the_certificate_and_its_zeros() -> None:
    leaf, issuer, root = chain()
    for padding in (b"", bytes(7), bytes(3087 - len(leaf))):
        assert chained(leaf + padding).verdict == "pass"
    assert "not zero" in chained(leaf + b"\0\1").text
    assert "not a certificate" in chained(b"").text
    assert "cut short" in chained(leaf[:-1]).text
    assert chained(b"\x30\x82\1\0" + bytes(256)).verdict == "fail"
    assert chained(leaf, issuer, root, ak=AkTrust(roots=TRUST.roots)).verdict == "pass"
    assert unpadded(leaf + bytes(9)) == leaf


def test_who_vouches_for_the_key() -> None:
    assert "no certificates" in chained().text
    for ak in (AkTrust(roots=TRUST.roots), AkTrust(issuers=ISSUERS), AkTrust(roots=TRUST.roots, issuers=ISSUERS[:1])):
        found = chained(chain()[0], ak=ak)
        assert (found.verdict, "pinned root" in found.text) == ("warning", True)
        assert verified(ak=ak).ak_root is None
    own = rsa_key("mallory root")
    fake = (
        certificate("vm", rsa_key("ak"), "root", own, ca=False, usage=AK_USAGE),
        certificate("root", own, "root", own, ca=True),
    )
    assert chained(*fake).verdict == "fail", "by its name the issuer is the pinned root, which did not sign"
    assert chained(certificate("vm", rsa_key("ak"), "vm", rsa_key("ak"), ca=False, usage=AK_USAGE)).verdict == "warning"


def test_a_certificate_that_is_not_for_the_key_is_refused() -> None:
    assert "another key" in chained(chain("mallory")[0]).text
    assert "another key" in chained(chain("mallory")[0], ak=AkTrust()).text, "with no way to a root, too"
    assert chained(chain("ak", usage=False)[0]).verdict == "fail"
    assert chained(chain("ak", usage=False)[0], ak=AkTrust()).verdict == "fail"
    with pytest.raises(NotAuthentic, match="certificate 0 is not valid"):
        verify_azure(GENUINE, COLLATERAL, ROOTS, at=NOW + timedelta(31), ak=TRUST)


def test_issuers_of_one_name_are_all_tried_and_chains_end() -> None:
    leaf, issuer, root = chain()
    twin = certificate("issuer", rsa_key("twin"), "issuer", rsa_key("twin"), ca=True)
    loop = certificate("root", rsa_key("twin"), "issuer", rsa_key("twin"), ca=True)
    ak = AkTrust(roots=TRUST.roots, issuers=(twin, loop, issuer, root))
    assert chained(leaf, ak=ak).verdict == "pass"
    assert chained(leaf, ak=AkTrust(roots=TRUST.roots, issuers=(twin, loop))).verdict == "warning"
    with pytest.raises(FormatError, match="17 certificates"):
        ak_chain([leaf], [root] * 17, key=b"", at=NOW, roots=TRUST.roots)
    with pytest.raises(FormatError):
        ak_chain([leaf], [b"no certificate"], key=b"", at=NOW, roots=TRUST.roots)
