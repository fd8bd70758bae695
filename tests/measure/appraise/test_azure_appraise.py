"""Azure evidence against policy and reference: every check passes and can fail, and findings say which."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from pluto_measure.appraise.appraisal import Appraisal
from pluto_measure.appraise.azure import appraise_azure
from pluto_measure.appraise.expected import KeyExpected, NodeExpected
from pluto_measure.appraise.request import NOTHING
from pluto_measure.policy.azure import STRICT_AZURE
from pluto_measure.registers.rules import RegisterRule
from pluto_measure.verify.azure import verify_azure
from simulators import event_logs, trust_domains
from simulators.azure_evidence import (
    AK_ROOT,
    ISSUERS,
    NONCE,
    OUTER_KEY,
    PARAVISOR,
    POLICY,
    REFERENCE,
    RULES,
    TRUST,
    VM_ID,
    AzureMachine,
    appraised,
    rsa_key,
    td_rules,
)
from simulators.intel import ABSENT, DEBUG, MIGRATABLE, NOW, SEPT_VE_DISABLE, key_of, tcb_info, world
from simulators.trust_domains import failed, verdicts, warned

OTHER = b"\x99" * 48
OWN = ["collateral.rollback", "policy.insecure_root", "policy.reference_signature"]  # warnings of this test's world


def rules(**changes: Any) -> Any:
    return dataclasses.replace(RULES, **changes)


def finding(appraisal: Appraisal, check: str) -> Any:
    return next(one for one in appraisal.findings if one.id == check)


def with_rule(name: str, rule: RegisterRule) -> Any:
    profile = REFERENCE.profiles[0]
    changed = dataclasses.replace(profile, registers={**profile.registers, name: rule})
    return (dataclasses.replace(REFERENCE, profiles=(changed,)),)


def test_an_honest_machine_is_accepted() -> None:
    machine = AzureMachine()
    appraisal = appraised(machine)
    assert (appraisal.accepted, failed(appraisal), warned(appraisal)) == (True, [], OWN)
    assert (appraisal.evidence_type, appraisal.platform) == ("azure", "azure-tdx")
    assert appraisal.registers == {"sha256": machine.registers()}
    assert appraisal.tcb is not None
    assert appraisal.claims == machine.claims()
    facts = appraisal.explanation["azure"]
    assert isinstance(facts, dict)
    assert (facts["paravisor"], facts["reproducible"], facts["akRoot"]) == (PARAVISOR.hex(), False, AK_ROOT.hex())
    assert facts["vmConfiguration"]["vmId"] == VM_ID.lower()
    document = appraisal.to_json()
    assert document["registers"] == {"sha256": {name: value.hex() for name, value in machine.registers().items()}}
    assert isinstance(document["quote"], dict)
    assert document["quote"]["mrtd"] == PARAVISOR.hex()
    assert document["quote"]["pck"]["ca"] == "platform"


def test_without_a_policy_the_strict_one_applies() -> None:
    appraisal = appraised(policy=None, rules=None)
    assert failed(appraisal)[0] == "collateral.root_crl", "the pretend Intel is no root of the strict policy"
    strict = dataclasses.replace(POLICY, ak_trust=())
    assert failed(appraised(policy=strict, rules=None)) == ["policy.ak_trust"]
    given = verify_azure(
        AzureMachine().envelope(),
        trust_domains.collateral_of(AzureMachine().world),
        frozenset({trust_domains.ROOT}),
        at=NOW,
        ak=TRUST,
    )
    expected = NodeExpected(NONCE, OUTER_KEY)
    found = appraise_azure(given, [REFERENCE], None, None, at=NOW, expected=expected, tdx=NOTHING)
    assert failed(found) == ["policy.platform", "policy.evidence_type", "policy.reference_signature"]
    assert "policy.given" in warned(found)


def test_what_is_forged_is_not_authentic() -> None:
    appraisal = appraised(AzureMachine(user_data=bytes(64)))
    assert (failed(appraisal), appraisal.exit_code) == (["binding.user_data"], 4)
    assert (appraisal.claims, appraisal.registers) == (None, {})


def test_without_collateral_nothing_is_decided_but_forgeries_are_told() -> None:
    missing = appraised(collateral=None)
    assert (failed(missing), missing.exit_code, missing.authentic) == (["collateral.given"], 5, False)
    assert missing.quote is not None
    forged = appraised(AzureMachine(extra_data=b""), collateral=None)
    assert (failed(forged), forged.exit_code) == (["collateral.given", "binding.extra_data"], 4)
    quote = AzureMachine(world=AzureMachine().world.with_quote(sign_with=key_of("mallory")))
    assert appraised(quote, collateral=None).exit_code == 4


# The machine's purpose, age, names.
def test_what_every_kind_of_evidence_is_asked() -> None:
    assert failed(appraised(expected=NodeExpected(b"other", OUTER_KEY))) == ["binding.nonce"]
    assert failed(appraised(expected=NodeExpected(NONCE, bytes(32)))) == ["binding.outer_key"]
    assert failed(appraised(expected=KeyExpected(b"\2" * 33))) == ["binding.purpose"]
    assert failed(appraised(AzureMachine(issued_at=NOW - timedelta(days=1)))) == ["policy.evidence_age"]
    assert failed(appraised(policy=dataclasses.replace(POLICY, config_digest=bytes(32)))) == ["policy.config_digest"]
    assert failed(appraised(policy=dataclasses.replace(POLICY, evidence_types=("tdx",)))) == ["policy.evidence_type"]
    unsigned = dataclasses.replace(POLICY, allow_unsigned_reference=False)
    assert failed(appraised(policy=unsigned)) == ["policy.reference_signature"]
    assert failed(appraised(AzureMachine(build_id=bytes(32)))) == ["claims.build_id"]
    assert failed(appraised(AzureMachine(named="qemu-vtpm"))) == ["policy.platform", "reference.profile"]
    assert failed(appraised(references=())) == ["reference.profile"]


def test_machines_by_platform_and_by_key() -> None:
    appraisal = appraised()
    names = finding(appraisal, "policy.machine").actual.split()
    assert [name.split(":")[0] for name in names[:2]] == ["platformInstance", "ppid"]
    for name in names:
        assert appraised(policy=dataclasses.replace(POLICY, machines=(name,))).accepted
    other = dataclasses.replace(POLICY, machines=("ppid:" + "00" * 16, "00" * 32))
    assert failed(appraised(policy=other)) == ["policy.machine"]


# Who vouches for the TPM's key.
def test_the_key_needs_a_certificate_or_a_paravisor_that_is_known() -> None:
    for machine, issuers in ((AzureMachine(certificates=()), ISSUERS), (AzureMachine(), ())):
        assert failed(appraised(machine, issuers=issuers)) == ["policy.ak_trust"]
        appraisal = appraised(machine, issuers=issuers, rules=rules(ak_certificate="any"))
        assert (appraisal.accepted, verdicts(appraisal)["policy.ak_trust"]) == (True, "pass")
    nobody = rules(ak_certificate="any", paravisors="any")
    assert failed(appraised(AzureMachine(certificates=()), rules=nobody)) == ["policy.ak_trust"]
    assert appraised(rules=nobody).accepted, "the certificate is there all the same"


def test_an_attackers_own_trust_domain_is_refused() -> None:
    """Genuine hardware, his own firmware, his own key in runtime data of his own: all signatures hold."""
    mallory = AzureMachine(key=rsa_key("mallory"), certificates=(), td={"mrtd": OTHER})
    assert failed(appraised(mallory, rules=STRICT_AZURE)) == ["policy.ak_trust"]
    assert failed(appraised(mallory)) == ["policy.ak_trust", "azure.paravisor"]
    assert failed(appraised(mallory, rules=rules(ak_certificate="any"))) == ["azure.paravisor"]


def test_the_paravisor_is_an_observed_value() -> None:
    appraisal = appraised()
    found = finding(appraisal, "azure.paravisor")
    assert (found.verdict, found.actual) == ("pass", PARAVISOR.hex())
    assert "nobody can reproduce it" in found.text
    assert verdicts(appraisal)["register.mrtd"] == "pass"
    anyone = finding(appraised(rules=rules(paravisors="any")), "azure.paravisor")
    assert (anyone.verdict, anyone.expected) == ("warning", "any")
    assert failed(appraised(rules=rules(paravisors=(OTHER,)))) == ["azure.paravisor"]
    listed = with_rule("mrtd", RegisterRule("oneOf", ({"sha384": OTHER},), "observed"))
    assert failed(appraised(references=listed)) == ["register.mrtd"]
    known = with_rule("mrtd", RegisterRule("oneOf", ({"sha384": OTHER}, {"sha384": PARAVISOR}), "observed"))
    assert appraised(references=known).accepted


def test_registers_of_the_trust_domain_that_nothing_extends() -> None:
    machine = AzureMachine(td={"rtmrs": (bytes(48), bytes(48), b"\1" * 48, bytes(48))})
    assert failed(appraised(machine)) == ["register.rtmr2"]
    lax = with_rule("rtmr2", RegisterRule("any", (), "observed"))
    assert warned(appraised(machine, references=lax)) == [*OWN[:2], "register.rtmr2", OWN[2]]


# How the paravisor was told to run the machine.
SETTINGS = [
    ("secure-boot", "secure_boot", "azure.secure_boot"),
    ("tpm-enabled", "tpm_enabled", "azure.tpm_enabled"),
    ("tpm-persisted", "tpm_persisted", "azure.tpm_persisted"),
    ("console-enabled", "console", "azure.console"),
    ("interactive-console-enabled", "interactive_console", "azure.interactive_console"),
    ("filtered-vpci-devices-allowed", "filtered_vpci_devices", "azure.vpci_devices"),
]


@pytest.mark.parametrize(("member", "field", "check"), SETTINGS)
@pytest.mark.parametrize("wanted", [True, False])
def test_settings(member: str, field: str, check: str, wanted: bool) -> None:
    asked = rules(**{field: wanted})
    assert appraised(AzureMachine(settings={member: wanted}), rules=asked).accepted
    for value in (not wanted, ABSENT):
        machine = AzureMachine(settings={member: value})
        assert failed(appraised(machine, rules=asked)) == [check]
        assert verdicts(appraised(machine, rules=rules(**{field: "any"})))[check] == "pass"


def test_which_virtual_machine_it_is() -> None:
    assert appraised(rules=rules(vm_ids=(VM_ID.lower(),))).accepted
    assert failed(appraised(rules=rules(vm_ids=("0" * 8,)))) == ["azure.vm_id"]
    silent = AzureMachine(settings={"vmUniqueId": ABSENT})
    assert failed(appraised(silent, rules=rules(vm_ids=(VM_ID.lower(),)))) == ["azure.vm_id"]
    assert appraised(silent).accepted


def test_a_setting_that_nobody_knows_is_refused_until_its_name_is_accepted() -> None:
    machine = AzureMachine(settings={"ipmi-enabled": True})
    found = appraised(machine)
    assert failed(found) == ["azure.other_settings"]
    assert "ipmi-enabled" in finding(found, "azure.other_settings").text
    assert appraised(machine, rules=rules(other_settings=("ipmi-enabled",))).accepted
    assert appraised(machine, rules=rules(other_settings="any")).accepted
    assert failed(appraised(machine, rules=rules(other_settings=("tpm-version",)))) == ["azure.other_settings"]


# The trust domain and its platform, as for any quote.
def test_the_trust_domain() -> None:
    debug = AzureMachine(td={"tdattributes": SEPT_VE_DISABLE | DEBUG})
    assert failed(appraised(debug)) == ["td.debug"]
    assert "td.debug" in warned(appraised(debug, policy=dataclasses.replace(POLICY, allow_debug=True)))
    assert failed(appraised(AzureMachine(td={"tdattributes": 0}))) == ["td.sept_ve_disable"]
    assert appraised(AzureMachine(td={"tdattributes": 0}), policy=td_rules(sept_ve_disable="any")).accepted
    assert failed(appraised(AzureMachine(td={"tdattributes": SEPT_VE_DISABLE | MIGRATABLE}))) == ["td.migratable"]
    assert failed(appraised(AzureMachine(td={"mrowner": b"\1" * 48}))) == ["td.mr_owner"]


def test_the_platform_and_its_collateral() -> None:
    old = AzureMachine(world=world(platform="OutOfDate"))
    appraisal = appraised(old)
    assert failed(appraisal) == ["tcb.status"]
    assert "tcb" in appraisal.explanation
    assert appraised(old, policy=td_rules(accepted_statuses=("UpToDate", "OutOfDate"))).accepted
    assert "collateral.expired" in failed(appraised(at=NOW + timedelta(days=29), policy=ageless()))
    assert failed(appraised(rollbacks=("TCB info is older",))) == ["collateral.rollback"]
    lower = dataclasses.replace(old, world=AzureMachine().world.with_collateral(info=tcb_info(evaluation=1)))
    assert failed(appraised(lower, policy=td_rules(minimum_evaluation_number=17))) == ["collateral.evaluation_number"]
    early = trust_domains.collateral_of(world(platform="OutOfDate"))
    assert "tcb.forecast" in verdicts(appraised(early=early))


def ageless() -> Any:
    return dataclasses.replace(POLICY, max_evidence_age="any")


# What the machine booted.
def test_another_image_is_refused_by_the_tpms_registers() -> None:
    def other(events: list[Any]) -> None:
        at = next(index for index, event in enumerate(events) if event.type == 0x80000003)
        events[at] = event_logs.measured(events[at].index, events[at].type, b"another image")

    appraisal = appraised(AzureMachine(edits=(other,)))
    assert failed(appraisal) == ["register.pcr4", "log.events.pcr4"]
    assert "log" in appraisal.explanation


def test_microsofts_firmware_measures_secure_boots_variables_and_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    assert appraised().accepted
    monkeypatch.setattr("pluto_measure.registers.reference.AZURE", None)  # what every firmware measures counts alone
    assert failed(appraised()) == ["log.events.pcr5", "log.events.pcr7"]


@pytest.mark.parametrize("register", [0, 2, 5, 7])
def test_code_from_a_disk_is_nothing_that_a_firmware_measures_of_itself(register: int) -> None:
    code = event_logs.measured(register, 0x80000003, b"code")
    appraisal = appraised(AzureMachine(edits=(lambda events: events.append(code),)))
    assert failed(appraisal) == [f"log.events.pcr{register}"]


def test_a_log_that_does_not_give_the_registers_is_refused() -> None:
    assert failed(appraised(AzureMachine(later=((11, b"more"),)))) == ["register.pcr11", "log.replay.pcr11"]
    assert failed(appraised(AzureMachine(later=((12, b"more"),)))) == ["register.pcr12"]
    without = appraised(AzureMachine(log=b""))
    assert {"register.pcr0", "register.pcr10"} <= set(failed(without)), "rules that need the log refuse"
    assert "log.given" in warned(without)
    foreign = trust_domains.TrustDomain().log_bytes()
    assert "log.banks" in failed(appraised(AzureMachine(log=foreign)))
