"""The strict policy: what applies where nobody gave one, made for a release, and what another one leaves open."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from pluto_measure.errors import FormatError, RefusedError
from pluto_measure.masked import Masked
from pluto_measure.measurements import Measurements
from pluto_measure.policy import EVIDENCE_TYPES, PLATFORMS, Policy, TdxPolicy
from pluto_measure.policy.azure import STRICT_AZURE, AzurePolicy
from pluto_measure.policy.confidential_space import STRICT_CONFIDENTIAL_SPACE, ConfidentialSpacePolicy
from pluto_measure.policy.launch_endorsement import EndorsementPolicy
from pluto_measure.policy.strict import STRICT, left_open, platforms_of, text
from pluto_measure.policy.tdx import ATTRIBUTES, Advisory
from pluto_measure.publish.terms import STATUSES
from simulators import tpm_quotes, trust_domains

RULES = STRICT.tdx
assert RULES is not None
ONE, OTHER = b"\1" * 48, b"\2" * 48
ALL_BITS = (1 << 64) - 1
ADVISORY = Advisory("INTEL-SA-00001", datetime(2027, 1, 1, tzinfo=UTC))

# Every field: values that accept what the strict policy does not, and values that only refuse more.
WEAKER: dict[str, tuple[Any, ...]] = {
    "platforms": (PLATFORMS, ("qemu-vtpm",)),
    "evidence_types": (EVIDENCE_TYPES,),
    "insecure_software_tpm": (True,),
    "ak_trust": ((b"\1" * 32,),),
    "machines": (),
    "allow_debug": (True,),
    "allow_unsigned_reference": (True,),
    "minimum_sequence": (),
    "max_evidence_age": ("any", 601),
    "clock_skew": (61,),
    "config_digest": (),
    "outer_key_digest": ("any",),
}
STRICTER: dict[str, tuple[Any, ...]] = {
    "platforms": (("gcp-tdx",),),
    "machines": (("ppid:" + "00" * 16,),),
    "minimum_sequence": (1, 20),
    "max_evidence_age": (0, 1, 599),
    "clock_skew": (0, 1),
    "config_digest": (b"\1" * 32,),
}
WEAKER_TDX: dict[str, tuple[Any, ...]] = {
    "insecure_roots": ((b"\1" * 32,),),
    "report_data": ("any",),
    "mr_seam": (),
    "mr_config_id": (),
    "mr_owner": ("any", (ONE,), (bytes(48), ONE)),
    "mr_owner_config": ("any", (ONE,)),
    "mr_service_td": ("any", (ONE,)),
    "sept_ve_disable": ("any",),
    "allow_migratable": (True,),
    "allowed_attributes": (*((name,) for name in ATTRIBUTES),),
    "xfam": (Masked(0, 0), Masked(0x2, 0xFFFFFFFFFFF9241A), Masked(0x3, 0x3), Masked(0x1, 0xFFFFFFFFFFF9241B)),
    "accepted_statuses": (*((name,) for name in STATUSES[1:]), STATUSES),
    "accepted_advisories": ((ADVISORY,),),
    "rejected_advisories": (),
    "platform_grace": (1,),
    "minimum_evaluation_number": (),
    "max_collateral_age": ("any", 2592001),
    "collateral_grace": (1,),
    "not_before": ("any",),
    "collateral_memory": (),
    "dynamic_platform": (),
    "cached_keys": (),
    "smt": (),
}
STRICTER_TDX: dict[str, tuple[Any, ...]] = {
    "mr_seam": ((ONE,), (ONE, OTHER)),
    "mr_config_id": ((bytes(48),), (ONE,)),
    "xfam": (Masked(0x602E7, ALL_BITS), Masked(0x3, 0xFFFFFFFFFFFB241B)),
    "rejected_advisories": (("INTEL-SA-00001",),),
    "minimum_evaluation_number": (1, 20),
    "max_collateral_age": (0, 2591999),
    "collateral_memory": ("required",),
    "dynamic_platform": (True, False),
    "cached_keys": (True, False),
    "smt": (True, False),
}

WEAKER_ENDORSEMENT: dict[str, tuple[Any, ...]] = {
    "insecure_roots": ((b"\1" * 32,),),
    "launch_endorsement": ("any",),
    "minimum_svn": (),
    "minimum_timestamp": (),
    "max_endorsement_age": (),
    "early_accept": (),
    "firmware": (),
    "endorsement_memory": (),
}
STRICTER_ENDORSEMENT: dict[str, tuple[Any, ...]] = {
    "minimum_svn": (1, 20),
    "minimum_timestamp": (datetime(2026, 1, 1, tzinfo=UTC),),
    "max_endorsement_age": (0, 86400),
    "early_accept": (True, False),
    "firmware": ((bytes(48),),),
    "endorsement_memory": ("required",),
}

WEAKER_SPACE: dict[str, tuple[Any, ...]] = {
    "insecure_roots": ((b"\1" * 32,),),
    "forms": (("pki", "oidc"), ("oidc",)),
    "max_key_age": (86401,),
    "minimum_version": ("250200",),
    "support": ("any", "USABLE"),
    "tcb_statuses": ("any", ("UpToDate", "OutOfDate")),
    "monitoring": ("any",),
    "restart_policies": (),
    "image_references": (),
    "service_accounts": (),
    "projects": (),
    "zones": (),
}
STRICTER_SPACE: dict[str, tuple[Any, ...]] = {
    "max_key_age": (0, 3600),
    "minimum_version": ("260800",),
    "restart_policies": (("Never",),),
    "image_references": (("a.example/b",),),
    "service_accounts": ((),),
    "projects": (("our-project",),),
    "zones": (("europe-west4-a",),),
}


WEAKER_AZURE: dict[str, tuple[Any, ...]] = {
    "paravisors": (),
    "ak_certificate": ("any",),
    "secure_boot": (),
    "tpm_enabled": ("any", False),
    "tpm_persisted": (),
    "console": (),
    "interactive_console": (),
    "filtered_vpci_devices": (),
    "vm_ids": (),
    "other_settings": ("any", ("new-setting",)),
}
STRICTER_AZURE: dict[str, tuple[Any, ...]] = {
    "paravisors": ((ONE,), (ONE, OTHER)),
    "secure_boot": (True, False),
    "tpm_persisted": (True, False),
    "console": (True, False),
    "interactive_console": (True, False),
    "filtered_vpci_devices": (True, False),
    "vm_ids": (("00000000-0000-0000-0000-000000000000",),),
}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return name if first == "insecure" else first + "".join(word.title() for word in rest)


def cases(table: dict[str, tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(name, value, id=f"{name}-{place}") for name, values in table.items()
            for place, value in enumerate(values)]  # fmt: skip


def with_endorsement(**changes: Any) -> Policy:
    assert STRICT.endorsement is not None
    return dataclasses.replace(STRICT, endorsement=dataclasses.replace(STRICT.endorsement, **changes))


@pytest.mark.parametrize(("name", "value"), cases(WEAKER_ENDORSEMENT))
def test_a_weaker_rule_for_endorsements_is_named(name: str, value: Any) -> None:
    (line,) = left_open(with_endorsement(**{name: value}))
    assert line.startswith(f"{camel(name)}: ")


@pytest.mark.parametrize(("name", "value"), cases(STRICTER_ENDORSEMENT))
def test_a_stricter_rule_for_endorsements_is_not_named(name: str, value: Any) -> None:
    assert left_open(with_endorsement(**{name: value})) == ()


def with_space(**changes: Any) -> Policy:
    return dataclasses.replace(STRICT, confidential_space=dataclasses.replace(STRICT_CONFIDENTIAL_SPACE, **changes))


@pytest.mark.parametrize(("name", "value"), cases(WEAKER_SPACE))
def test_a_weaker_rule_for_tokens_is_named(name: str, value: Any) -> None:
    (line,) = left_open(with_space(**{name: value}))
    assert line.startswith(f"{camel(name)}: ")


@pytest.mark.parametrize(("name", "value"), cases(STRICTER_SPACE))
def test_a_stricter_rule_for_tokens_is_not_named(name: str, value: Any) -> None:
    assert left_open(with_space(**{name: value})) == ()


def with_azure(**changes: Any) -> Policy:
    return dataclasses.replace(STRICT, azure=dataclasses.replace(STRICT_AZURE, **changes))


@pytest.mark.parametrize(("name", "value"), cases(WEAKER_AZURE))
def test_a_weaker_rule_for_paravisors_is_named(name: str, value: Any) -> None:
    (line,) = left_open(with_azure(**{name: value}))
    assert line.startswith(f"{camel(name)}: ")


@pytest.mark.parametrize(("name", "value"), cases(STRICTER_AZURE))
def test_a_stricter_rule_for_paravisors_is_not_named(name: str, value: Any) -> None:
    assert left_open(with_azure(**{name: value})) == ()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_platform_has_a_strict_policy_that_leaves_nothing_else_open(platform: str) -> None:
    policy = Policy.parse(text([platform]))
    assert policy.platforms == (platform,)
    assert {line.partition(":")[0] for line in left_open(policy)} <= {"platforms", "evidenceTypes"}


def with_rules(**changes: Any) -> Policy:
    assert RULES is not None
    return dataclasses.replace(STRICT, tdx=dataclasses.replace(RULES, **changes))


def test_the_strict_policy_is_what_its_text_says() -> None:
    assert Policy.parse(text()) == STRICT
    assert (STRICT.platforms, STRICT.evidence_types) == (("qemu-tdx", "gcp-tdx"), ("tdx",))
    assert not STRICT.allow_unsigned_reference
    assert left_open(STRICT) == ()


def test_every_field_of_a_policy_is_in_these_tables() -> None:
    parts = {"tdx", "azure", "endorsement", "confidential_space"}
    assert set(WEAKER) == {item.name for item in dataclasses.fields(Policy)} - parts
    assert set(WEAKER_AZURE) == {item.name for item in dataclasses.fields(AzurePolicy)}
    assert set(WEAKER_SPACE) == {item.name for item in dataclasses.fields(ConfidentialSpacePolicy)}
    assert set(WEAKER_ENDORSEMENT) == {item.name for item in dataclasses.fields(EndorsementPolicy)}
    assert set(WEAKER_TDX) == {item.name for item in dataclasses.fields(TdxPolicy)}


@pytest.mark.parametrize(("name", "value"), cases(WEAKER))
def test_a_weaker_field_is_named(name: str, value: Any) -> None:
    (line,) = left_open(dataclasses.replace(STRICT, **{name: value}))
    assert line.startswith(f"{camel(name)}: ")


@pytest.mark.parametrize(("name", "value"), cases(WEAKER_TDX))
def test_a_weaker_rule_for_quotes_is_named(name: str, value: Any) -> None:
    (line,) = left_open(with_rules(**{name: value}))
    assert line.startswith(f"{camel(name)}: ")
    assert " where the strict policy has " in line


@pytest.mark.parametrize(("name", "value"), cases(STRICTER))
def test_a_stricter_field_is_not_named(name: str, value: Any) -> None:
    assert left_open(dataclasses.replace(STRICT, **{name: value})) == ()


@pytest.mark.parametrize(("name", "value"), cases(STRICTER_TDX))
def test_a_stricter_rule_for_quotes_is_not_named(name: str, value: Any) -> None:
    assert left_open(with_rules(**{name: value})) == ()


def test_values_are_spelled_for_people() -> None:
    policy = with_rules(accepted_advisories=(ADVISORY,), mr_owner=(ONE,), xfam=Masked(0, 0))
    assert left_open(policy) == (
        f"mrOwner: [{ONE.hex()}] where the strict policy has [{bytes(48).hex()}]",
        "xfam: 0x0 under 0x0 where the strict policy has 0x3 under 0xfffffffffff9241b",
        "acceptedAdvisories: [INTEL-SA-00001 until 2027-01-01T00:00:00Z] where the strict policy has []",
    )


def test_a_policy_without_quotes_leaves_no_rule_of_theirs_open() -> None:
    policy = Policy.parse(text(("qemu-vtpm",)))
    assert policy.tdx is None
    assert left_open(policy) == (
        "platforms: the strict policy does not have qemu-vtpm",
        "evidenceTypes: the strict policy does not have tpm",
    )


def test_a_policy_can_be_made_to_measure() -> None:
    machines = ["ppid:" + "01" * 16, "platformInstance:" + "02" * 16]
    digest = hashlib.sha256(b"").digest()
    written = text(["gcp-tdx", "qemu-vtpm"], unsigned=True, machines=machines, config_digest=digest)
    assert f'"{machines[1]}"] # no other machine\n' in written
    assert '\nmachines = "any" # or [' in text()
    policy = Policy.parse(written)
    assert policy.platforms == ("gcp-tdx", "qemu-vtpm")
    assert policy.evidence_types == ("tdx", "tpm")
    assert (policy.machines, policy.config_digest) == (tuple(machines), digest)
    assert policy.allow_unsigned_reference
    assert policy.tdx == STRICT.tdx


def test_a_machine_with_a_wrong_name_makes_no_policy() -> None:
    with pytest.raises(FormatError):
        Policy.parse(text(machines=["ppid:00"]))


def several(*references: Measurements) -> Measurements:
    profiles = (profile for reference in references for profile in reference.profiles)
    return Measurements("00" * 32, "release", tuple(profiles))


def test_a_release_names_its_own_platforms_once_and_in_order() -> None:
    tdx, google = trust_domains.REFERENCES["qemu-tdx"], trust_domains.REFERENCES["gcp-tdx"]
    vtpm = tpm_quotes.reference_of()
    assert platforms_of([tdx]) == ("qemu-tdx",)
    assert platforms_of([vtpm, google, tdx, google]) == ("qemu-tdx", "gcp-tdx", "qemu-vtpm")
    assert platforms_of([several(vtpm, google)]) == ("gcp-tdx", "qemu-vtpm")


def test_a_debug_build_and_nothing_at_all_are_refused() -> None:
    tdx = trust_domains.REFERENCE
    with pytest.raises(RefusedError, match="debug build, which no strict policy accepts"):
        platforms_of([tdx, dataclasses.replace(tdx, flavour="debug")])
    with pytest.raises(RefusedError, match="nothing could be accepted"):
        platforms_of([several()])
