"""[td] and [tcb]: every field required, "any" written out, a misspelt rule is an error."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.masked import Masked
from pluto_measure.policy import Policy, TdxPolicy
from pluto_measure.policy.tdx import ATTRIBUTES, Advisory
from pluto_measure.publish.terms import STATUSES
from simulators import policies
from simulators.policies import TDX_POLICY, TDX_TEXT, changed

RULES = TDX_TEXT[TDX_TEXT.index("[td]") :].splitlines()
LINES = [line for line in RULES if "=" in line]
VALUE = "ab" * 48


def rules(**values: str) -> TdxPolicy:
    found = Policy.parse(changed(TDX_TEXT, **values)).tdx
    assert found is not None
    return found


def test_a_policy_says_what_its_author_wrote() -> None:
    assert Policy.parse(TDX_TEXT) == TDX_POLICY
    assert len(LINES) == len(dataclasses.fields(TdxPolicy))


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(" ")[0])
def test_a_missing_field_is_refused(line: str) -> None:
    with pytest.raises(FormatError, match=f"{line.partition(' ')[0]} is missing"):
        Policy.parse(TDX_TEXT.replace(line + "\n", ""))


@pytest.mark.parametrize("table", ["[td]", "[tcb]"])
def test_a_missing_table_and_an_unknown_key_are_refused(table: str) -> None:
    with pytest.raises(FormatError, match=r"unknown member mrsEam"):
        Policy.parse(TDX_TEXT.replace(table, table + "\nmrsEam = 1"))
    with pytest.raises(FormatError, match=f"{table[1:-1]} is missing"):
        Policy.parse(TDX_TEXT.replace(table, "[other]"))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("insecure_roots", '"any"', "must be list"),
        ("insecure_roots", '["ab"]', "64 lower-case hex digits"),
        ("reportData", '"optional"', "neither"),
        ("septVeDisable", '"off"', r"policy\.td: septVeDisable is 'off', neither"),
        ("mrSeam", '"zero"', 'must be "any" or a list'),
        ("mrSeam", "[]", "not empty"),
        ("mrSeam", "[1]", r"policy\.td: mrSeam must hold text"),
        ("mrConfigId", '"none"', 'must be "any", "zero" or a list'),
        ("mrOwner", f'"{VALUE}"', "or a list of values"),
        ("mrOwnerConfig", f'["{VALUE[2:]}"]', "96 lower-case hex digits"),
        ("mrServiceTd", "true", "must be list or str"),
        ("septVeDisable", "true", "must be str"),
        ("allowMigratable", '"any"', "must be bool"),
        ("allowedAttributes", '"any"', "must be list"),
        ("allowedAttributes", '["DEBUG"]', "which is not one of"),
        ("allowedAttributes", '["PKS", "PKS"]', "twice"),
        ("xfam", '"any"', "must be dict"),
        ("xfam", '{ value = "0x3" }', "mask is missing"),
        ("xfam", '{ value = "0x3", mask = "0x3", more = 1 }', "unknown member more"),
        ("xfam", '{ value = "3", mask = "0x3" }', "not 64 bits"),
        ("xfam", '{ value = "0x3", mask = "0x1_3" }', "not 64 bits"),
        ("xfam", '{ value = "0x3", mask = "0xg" }', "not 64 bits"),
        ("xfam", '{ value = "0x3", mask = "0x10000000000000003" }', "not 64 bits"),
        ("xfam", '{ value = "0x7", mask = "0x3" }', r"policy\.td\.xfam: value has bits outside mask"),
        ("acceptedStatuses", "[]", "is empty"),
        ("acceptedStatuses", '["Revoked"]', "which is not one of"),
        ("acceptedStatuses", '["TCB_NOT_SUPPORTED"]', "which is not one of"),
        ("acceptedStatuses", '["uptodate"]', "which is not one of"),
        ("acceptedAdvisories", '["INTEL-SA-01192"]', "must be an object"),
        ("acceptedAdvisories", '[{ id = "INTEL-SA-01192" }]', "until is missing"),
        ("acceptedAdvisories", "[{ until = 2027-01-01T00:00:00Z }]", "id is missing"),
        ("acceptedAdvisories", '[{ id = "INTEL-SA-01192", until = 2027-01-01 }]', "until must be a time with a zone"),
        (
            "acceptedAdvisories",
            '[{ id = "INTEL-SA-01192", until = 2027-01-01T00:00:00 }]',
            "must be a time with a zone",
        ),
        ("acceptedAdvisories", '[{ id = "INTEL-SA-01192", until = 0001-01-01T00:00:00+01:00 }]', "out of range"),
        ("acceptedAdvisories", '[{ id = "INTEL-SA-01192", until = 2027-01-01T00:00:00Z, x = 1 }]', "unknown member x"),
        ("acceptedAdvisories", '[{ id = "SA-01192", until = 2027-01-01T00:00:00Z }]', "no advisory such as"),
        ("rejectedAdvisories", '["intel-sa-01192"]', "no advisory such as"),
        ("rejectedAdvisories", '["INTEL-SA-1192"]', "no advisory such as"),
        ("rejectedAdvisories", "[1192]", "no advisory such as"),
        ("platformGrace", '"any"', "must be int"),
        ("platformGrace", "-1", "out of range"),
        ("minimumEvaluationNumber", '"any"', "must be int"),
        ("minimumEvaluationNumber", "-1", r"policy\.tcb: minimumEvaluationNumber -1 is out of range"),
        ("minimumEvaluationNumber", str(1 << 32), "out of range"),
        ("maxCollateralAge", '"none"', 'must be "any" or a number'),
        ("collateralGrace", '"any"', "must be int"),
        ("notBefore", "false", "must be str"),
        ("collateralMemory", '"maybe"', "neither"),
        ("dynamicPlatform", '"yes"', 'neither true, false nor "any"'),
        ("cachedKeys", "1", "must be bool or str"),
        ("smt", "0", "must be bool or str"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        rules(**{name: value})


def test_a_misspelt_key_stands_beside_the_one_that_is_missing() -> None:
    with pytest.raises(FormatError, match=r"^policy: allowDebug is missing; there is alowDebug$"):
        Policy.parse(TDX_TEXT.replace("allowDebug", "alowDebug"))
    with pytest.raises(FormatError, match=r"^policy\.td: mrOwner is missing$"):
        Policy.parse(TDX_TEXT.replace("mrOwner =", "another ="))


def test_an_advisory_twice_is_refused() -> None:
    one = '{ id = "INTEL-SA-01192", until = 2027-01-01T00:00:00Z }'
    with pytest.raises(FormatError, match="names something twice"):
        rules(acceptedAdvisories=f"[{one}, {one}]")


def test_an_advisory_ends_at_a_time_in_any_zone() -> None:
    found = rules(acceptedAdvisories='[{ id = "INTEL-SA-01192", until = 2027-01-01T01:00:00+01:00 }]')
    assert found.accepted_advisories == (Advisory("INTEL-SA-01192", datetime(2027, 1, 1, tzinfo=UTC)),)


def test_every_choice_can_be_written() -> None:
    found = rules(
        insecure_roots="[]",
        reportData='"any"',
        mrSeam=f'["{VALUE}"]',
        mrConfigId='"zero"',
        mrOwner='"any"',
        septVeDisable='"any"',
        allowMigratable="true",
        allowedAttributes=str(list(ATTRIBUTES)),
        xfam='{ value = "0x602e7", mask = "0xffffffffffffffff" }',
        acceptedStatuses=str(list(STATUSES)),
        rejectedAdvisories='["INTEL-SA-00001", "INTEL-DOC-00002"]',
        maxCollateralAge='"any"',
        notBefore='"any"',
        collateralMemory='"required"',
        dynamicPlatform="false",
        cachedKeys="true",
    )
    assert (found.insecure_roots, found.report_data, found.mr_seam) == ((), "any", (bytes.fromhex(VALUE),))
    assert (found.mr_config_id, found.mr_owner, found.sept_ve_disable) == ((bytes(48),), "any", "any")
    assert (found.allow_migratable, found.allowed_attributes) == (True, tuple(ATTRIBUTES))
    assert found.xfam == Masked(0x602E7, (1 << 64) - 1)
    assert (found.accepted_statuses, found.max_collateral_age) == (STATUSES, "any")
    assert found.rejected_advisories == ("INTEL-SA-00001", "INTEL-DOC-00002")
    assert (found.not_before, found.collateral_memory) == ("any", "required")
    assert (found.dynamic_platform, found.cached_keys, found.smt) == (False, True, "any")


def test_roots_of_other_hardware_are_spelled_out() -> None:
    assert policies.ROOT.hex() in TDX_TEXT
    assert Policy.parse(changed(TDX_TEXT, insecure_roots="[]")).tdx == dataclasses.replace(
        TDX_POLICY.tdx or rules(), insecure_roots=()
    )
