"""What is said of Hetzner's servers: refusals with what is reported, by whom, and what is confirmed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pluto_deploy.metal import profiles
from pluto_deploy.metal.check import findings
from pluto_deploy.metal.check.document import parse_facts
from pluto_deploy.metal.check.finding import HostFinding
from pluto_deploy.metal.profiles import hetzner
from pluto_measure.errors import UsageError
from simulators.host_trees import changed, register

PROFILE = profiles.by_name("hetzner")
DX293 = (("processor.model", 143), ("processor.name", "Intel(R) Xeon(R) Gold 6438Y+"))
OTHER_SPR = (("processor.model", 143), ("processor.name", "Intel(R) Xeon(R) Gold 5412U"))
OFF: tuple[tuple[str, Any], ...] = (
    ("processor.flags", ["vmx"]),
    ("kernel.log", []),
    register(0x87, 0),
    register(0x1401, 0),
)
NO_SEAM = register(0xFE, 0)


def of(*changes: tuple[str, Any], profile: profiles.Profile | None = PROFILE) -> HostFinding | None:
    found = findings.judge(parse_facts(json.dumps(changed(*changes))), profile)
    return next((one for one in found if one.id == "profile.model"), None)


def test_the_named_server_is_refused_with_its_source() -> None:
    finding = of(*DX293, *OFF)
    assert finding is not None
    assert (finding.verdict, finding.fixed_by) == ("fail", "hardware")
    assert "DX293" in finding.text
    assert "reported by an owner of one, in issue 398 of github.com/intel/tdx-tools" in finding.text
    assert "confirmed: no" in finding.text
    assert finding.action is not None
    assert "Emerald Rapids" in finding.action


def test_the_named_server_is_refused_whatever_its_registers_say() -> None:
    finding = of(*DX293, *OFF, register(0xFE, 1 << 15))
    assert finding is not None
    assert finding.verdict == "fail"


def test_the_rest_of_its_generation_is_refused_with_what_is_confirmed() -> None:
    finding = of(*OTHER_SPR, *OFF, NO_SEAM)
    assert finding is not None
    assert (finding.verdict, finding.fixed_by) == ("fail", "hardware")
    assert "issue 399" in finding.text
    assert "confirmed: in part" in finding.text


def test_a_part_that_has_seam_is_a_question_to_the_provider() -> None:
    finding = of(*OTHER_SPR, *OFF)
    assert finding is not None
    assert (finding.verdict, finding.fixed_by) == ("warning", "operator")
    assert "may be another" in finding.text


def test_what_is_seen_outweighs_what_is_reported() -> None:
    finding = of(*DX293)
    assert finding is not None
    assert finding.verdict == "pass"
    assert "reported otherwise" in finding.text


def test_a_machine_nobody_reported_on_is_a_warning_until_tdx_is_seen() -> None:
    finding = of(*OFF)
    assert finding is not None
    assert (finding.verdict, finding.fixed_by) == ("warning", "operator")
    assert "nobody has reported" in finding.text
    seen = of()
    assert seen is not None
    assert seen.verdict == "pass"


def test_a_name_that_only_contains_the_reported_one_is_another_part() -> None:
    assert not hetzner.NAMED.fits(parse_facts(json.dumps(changed(("processor.name", "Xeon 16438Y+")))))


def test_another_family_with_the_same_model_number_is_not_reported() -> None:
    facts = parse_facts(json.dumps(changed(("processor.model", 143), ("processor.family", 7))))
    assert not hetzner.GENERATION.fits(facts)


def test_a_refused_model_refuses_the_host() -> None:
    found = findings.judge(parse_facts(json.dumps(changed(*DX293, *OFF))), PROFILE)
    assert findings.readiness(found) == "refused"
    assert "profile.model" in {one.id for one in findings.blocking(found)}


def test_without_the_profile_nothing_is_said_of_a_provider() -> None:
    assert of(*DX293, profile=None) is None


def test_every_report_has_its_source_and_what_is_confirmed() -> None:
    for report in hetzner.PROFILE.reports:
        assert "issue" in report.by
        assert report.confirmed.startswith(("no", "in part", "yes"))


def test_there_is_no_other_profile() -> None:
    with pytest.raises(UsageError, match="no profile 'ovh'"):
        profiles.by_name("ovh")
    assert [profiles.by_name(name).name for name in profiles.NAMES] == list(profiles.NAMES)
