"""Whether a registrar signs: what is refused whatever the policy says, and until when it is good."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluto_measure.appraise import NOTHING
from pluto_measure.claims import KeyClaims
from pluto_measure.errors import FormatError, PlutoError, RefusedError, VerificationError
from pluto_measure.evidence import Envelope
from pluto_measure.formats.quote import Quote
from pluto_measure.formats.strict_json import canonical
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy
from pluto_measure.record import replace
from pluto_measure.verify.quote import verify_quote
from pluto_notary.registry.judge import NotAuthenticError, NotFitError, check_policy, fit_key
from pluto_notary.registry.shown import ShownKey, shown_key
from pluto_notary.statement.judge import Brought
from pluto_notary.statement.proof import KeyEvidence
from simulators import azure_evidence, confidential_space
from simulators.intel import DEBUG, NOW, Authority, world
from simulators.notary import proofs
from simulators.notary.proofs import HONEST, KEY, OTHER_KEY, envelope, made
from simulators.trust_domains import POLICY, REFERENCE, ROOT, TrustDomain, collateral_of, other

assert POLICY.tdx is not None
STRICT = dataclasses.replace(POLICY, tdx=dataclasses.replace(POLICY.tdx, insecure_roots=()))
HOUR = timedelta(hours=1)
GOOGLES = dataclasses.replace(confidential_space.POLICY, confidential_space=confidential_space.RULES)
AZURES = dataclasses.replace(azure_evidence.POLICY, azure=azure_evidence.RULES, tdx=STRICT.tdx)


def keys_document(change: Callable[[Any], object] = lambda _: None, domain: TrustDomain = HONEST) -> bytes:
    """What a notary answers at /v1/meta/keys."""
    evidence = envelope(domain).to_json()
    statement = {"publicKey": KEY.public.hex(), "address": f"0x{KEY.address.hex()}", "evidence": evidence}
    document = {"statement": statement, "channel": {"publicKey": "00", "epoch": 1, "evidence": {}}}
    change(document)
    return canonical(document)


def bringing(**changes: Any) -> Callable[[datetime], Brought]:
    found = dataclasses.replace(proofs.brought(), **changes)
    return lambda _: found


def fit(shown: ShownKey, policy: Policy | None = STRICT, **changes: Any) -> Any:
    given: dict[str, Any] = {"at": NOW, "brought": bringing(), **changes}
    return fit_key(shown, policy, given.pop("at"), **given)


@pytest.fixture
def honest() -> ShownKey:
    return shown_key(made().to_bytes())


# What is shown.


def test_a_proof_and_the_notarys_own_page_show_the_same_key(honest: ShownKey) -> None:
    assert shown_key(keys_document()) == honest
    assert (honest.public, honest.account) == (KEY.public, KEY.address)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda d: d["statement"].update(evidence=None), RefusedError),
        (lambda d: d["statement"].update(evidence={"type": "insecure"}), RefusedError),
        (lambda d: d["statement"].update(publicKey=OTHER_KEY.public.hex()), FormatError),
        (lambda d: d["statement"].update(address="0x" + "00" * 20), FormatError),
        (lambda d: d["statement"].update(publicKey="02" + "00" * 32), FormatError),
        (lambda d: d["statement"].update(evidence=HONEST.envelope().to_json()), FormatError),
        (lambda d: d["statement"].update(evidence={"type": "tdx"}), FormatError),
        (lambda d: d["statement"].update(evidence={"type": 1.5}), FormatError),
        (lambda d: d["statement"].update(more=1), FormatError),
        (lambda d: d.update(more=1), FormatError),
        (lambda d: d.update(channel=1), FormatError),
        (lambda d: d.pop("statement"), FormatError),
    ],
)  # fmt: skip
def test_a_page_of_keys_that_shows_none(change: Any, error: Any) -> None:
    document = json.loads(keys_document())
    change(document)
    with pytest.raises(error):
        shown_key(json.dumps(document).encode())


def test_a_proof_without_evidence_or_by_another_key_is_of_no_use() -> None:
    with pytest.raises(RefusedError, match="proves nothing"):
        shown_key(proofs.made_by(KEY).to_bytes())
    forged = proofs.edited(made(), lambda d: d["statement"]["message"].update(host="other.example"))
    with pytest.raises(VerificationError, match=r"signature\.signer"):
        shown_key(forged)
    theirs = KeyEvidence.of(envelope(HONEST, OTHER_KEY.public), None)
    with pytest.raises(VerificationError, match=r"key\.signer"):
        shown_key(replace(made(), key_evidence=theirs).to_bytes())
    with pytest.raises(FormatError):
        shown_key(b"[]")


# What is signed.


@pytest.mark.usefixtures("intel")
def test_an_honest_key_fits_until_the_collateral_runs_out(honest: ShownKey) -> None:
    claim, found = fit(honest)
    assert found.accepted
    assert (claim.key, claim.build_id) == (KEY.address, HONEST.build_id)
    assert claim.until % 3600 == 0
    until = datetime.fromtimestamp(claim.until, UTC)
    assert NOW < until <= NOW + timedelta(days=30) - HOUR
    assert until == ends() - timedelta(seconds=int(ends().timestamp()) % 3600)
    for hours in range(1, 4):  # who asks a little later says the same
        assert fit(honest, at=NOW + timedelta(seconds=100 * hours))[0] == claim


def ends() -> datetime:
    """The first date of all that the honest evidence is judged by."""
    quote = Quote.parse(HONEST.quote())
    windows = verify_quote(quote, collateral_of(HONEST.world), frozenset({ROOT})).windows
    return min(NOW + timedelta(days=30) - HOUR, *(window.end for window in windows))


@pytest.mark.usefixtures("intel")
def test_registrars_agree_on_an_earlier_time_and_on_no_later_one(honest: ShownKey) -> None:
    end = NOW + timedelta(hours=5, seconds=7)
    assert fit(honest, until=end)[0].until == int(end.timestamp())
    with pytest.raises(RefusedError, match="nobody can say"):
        fit(honest, until=ends() + timedelta(seconds=1))
    for early in (NOW, NOW - HOUR):
        with pytest.raises(RefusedError, match="no time left"):
            fit(honest, until=early)


@pytest.mark.usefixtures("intel")
def test_a_policys_own_limit_for_collateral_is_a_limit_for_keys(honest: ShownKey) -> None:
    assert STRICT.tdx is not None
    day = dataclasses.replace(STRICT.tdx, max_collateral_age=20 * 24 * 3600)
    claim, _ = fit(honest, dataclasses.replace(STRICT, tdx=day))
    assert claim.until < fit(honest)[0].until


@pytest.mark.usefixtures("intel")
def test_what_is_accepted_now_and_not_then_is_not_signed(honest: ShownKey) -> None:
    """As by a release that ends before the collateral does."""
    sooner = NOW + timedelta(days=2)

    def brought(at: datetime) -> Brought:
        references: tuple[Measurements, ...] = (REFERENCE,) if at < sooner else ()
        return dataclasses.replace(proofs.brought(), references=references)

    with pytest.raises(NotFitError, match="accepted now, and not until") as error:
        fit(honest, brought=brought)
    assert error.value.hint == "--until an earlier time"
    assert "reference.profile" in {finding["id"] for finding in error.value.findings}
    assert fit(honest, brought=brought, until=sooner - HOUR)[0].until < sooner.timestamp()


# What is refused.


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (POLICY, "insecure_roots"),
        (dataclasses.replace(STRICT, allow_debug=True), "allowDebug"),
        (dataclasses.replace(STRICT, insecure_software_tpm=True), "insecure_software_tpm"),
        (GOOGLES, "insecure_roots"),
    ],
    ids=["a pretend Intel", "debug", "a TPM of software", "a pretend Google"],
)
def test_no_policy_makes_a_registrar_believe_what_proves_nothing(policy: Policy, word: str, honest: ShownKey) -> None:
    for call in (lambda: check_policy(policy), lambda: fit(honest, policy)):
        with pytest.raises(RefusedError, match=word):
            call()


def test_the_strict_policy_is_good_enough() -> None:
    check_policy(None)
    check_policy(STRICT)


def test_the_pretend_intel_is_not_intel(honest: ShownKey) -> None:
    with pytest.raises(NotAuthenticError):
        fit(honest)


def shown_of(domain: TrustDomain) -> ShownKey:
    return shown_key(keys_document(lambda _: None, domain))


@pytest.mark.usefixtures("intel")
@pytest.mark.parametrize(
    ("domain", "found"),
    [
        (TrustDomain(report={"tdattributes": DEBUG}), "td.debug"),
        (TrustDomain(edits=(other("initrd"),)), "register."),
        (TrustDomain(later=(("rtmr3", b"x"),)), "register.rtmr3"),
        (TrustDomain(issued_at=NOW - timedelta(days=1)), "age"),
        (TrustDomain(world=world(platform="OutOfDate")), "tcb."),
        (TrustDomain(world=world(platform="Revoked")), "tcb."),
        (TrustDomain(build_id=b"\1" * 32), "claims.build_id"),
    ],
    ids=["debug", "another initrd", "measured later", "old", "out of date", "revoked", "another build"],
)
def test_a_machine_that_is_not_the_one(domain: TrustDomain, found: str) -> None:
    with pytest.raises(PlutoError) as error:
        fit(shown_of(domain), brought=bringing(tdx=domain.inputs()))
    assert isinstance(error.value, NotFitError | NotAuthenticError)
    assert any(found in str(finding["id"]) for finding in error.value.findings), error.value.findings


@pytest.mark.usefixtures("intel")
def test_a_debug_build_is_refused_by_its_flavour(honest: ShownKey) -> None:
    debug = dataclasses.replace(REFERENCE, flavour="debug")
    with pytest.raises(NotFitError, match=r"policy\.debug"):
        fit(honest, brought=bringing(references=(debug,)))


@pytest.mark.usefixtures("intel")
@pytest.mark.parametrize(
    "brought", [{"tdx": NOTHING}, {"references": ()}], ids=["no collateral", "no reference"]
)  # fmt: skip
def test_what_was_not_brought_refuses(honest: ShownKey, brought: dict[str, Any]) -> None:
    with pytest.raises(NotFitError):
        fit(honest, brought=bringing(**brought))


@pytest.mark.usefixtures("intel")
def test_evidence_of_another_key_is_not_of_this_one() -> None:
    """The claims were changed after the machine was quoted."""
    genuine = envelope(HONEST, OTHER_KEY.public)
    lie = replace(genuine, claims=proofs.evidence().claims)
    shown = ShownKey(KEY.public, canonical(lie.to_json()), proofs.evidence().claims)
    with pytest.raises(NotAuthenticError):
        fit(shown)
    theirs = ShownKey(KEY.public, canonical(genuine.to_json()), proofs.evidence().claims)
    with pytest.raises(NotFitError, match=r"binding\.statement_key"):
        fit(theirs)


@pytest.mark.usefixtures("intel")
def test_collateral_of_another_intel_is_none(honest: ShownKey) -> None:
    stranger = TrustDomain(world=world(authority=Authority.make(now=NOW, seed=7)))
    assert stranger.world.authority.root_der != HONEST.world.authority.root_der
    with pytest.raises(NotAuthenticError):
        fit(honest, brought=bringing(tdx=stranger.inputs()))


# Machines of clouds.


@pytest.mark.usefixtures("intel")
def test_a_token_lets_its_key_fit_until_it_runs_out() -> None:
    """An hour at most, for nobody knows what Google would say later."""
    claims = KeyClaims(KEY.public, confidential_space.CONFIG, confidential_space.Space().build_id)
    machine = confidential_space.Space()
    shown = ShownKey(KEY.public, canonical(machine.envelope(claims).to_json()), claims)
    assert GOOGLES.confidential_space is not None
    rules = dataclasses.replace(GOOGLES.confidential_space, insecure_roots=())
    policy = dataclasses.replace(GOOGLES, confidential_space=rules)
    brought = bringing(references=(confidential_space.REFERENCE,), tdx=NOTHING)
    claim, _ = fit(shown, policy, brought=brought)
    assert NOW < datetime.fromtimestamp(claim.until, UTC) <= NOW + HOUR
    with pytest.raises(RefusedError, match="nobody can say"):
        fit(shown, policy, brought=brought, until=NOW + HOUR + timedelta(seconds=1))
    with pytest.raises(NotAuthenticError):
        fit(shown, policy, brought=brought, at=NOW + 2 * HOUR)


@pytest.mark.usefixtures("intel")
def test_an_azure_machines_key_fits_until_the_collateral_runs_out() -> None:
    machine = azure_evidence.AzureMachine()
    claims = KeyClaims(KEY.public, confidential_space.CONFIG, HONEST.build_id)
    said = Envelope(machine.named, 0, NOW, machine.evidence(claims.binding()), claims)
    shown = ShownKey(KEY.public, canonical(said.to_json()), claims)
    inputs = machine.inputs(ak_issuers=azure_evidence.ISSUERS)
    brought = bringing(references=(azure_evidence.REFERENCE,), tdx=inputs)
    claim, found = fit(shown, AZURES, brought=brought)
    assert found.evidence_type == "azure"
    assert NOW + HOUR < datetime.fromtimestamp(claim.until, UTC) <= NOW + timedelta(days=30)
