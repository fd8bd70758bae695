"""The table [azure] of a policy: every field is required, and nothing is left to whoever has the hardware."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy.azure import STRICT_AZURE, TABLE, TEXT, AzurePolicy
from pluto_measure.toml import table
from simulators.azure_evidence import VM_ID
from simulators.policies import changed

MRTD = f'["{"ab" * 48}"]'


def parsed(**values: str) -> AzurePolicy:
    text = changed(TEXT.split("\n", 1)[1], **values)
    return AzurePolicy.parse(Fields(table(text, what="policy"), what="policy.azure"))


def test_the_strict_text_is_the_strict_policy() -> None:
    assert parsed() == STRICT_AZURE
    assert (STRICT_AZURE.paravisors, STRICT_AZURE.ak_certificate) == ("any", "required")
    assert (STRICT_AZURE.tpm_enabled, STRICT_AZURE.other_settings) == (True, ())
    assert TEXT.startswith(f"[{TABLE}]\n")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("paravisors", MRTD, (b"\xab" * 48,)),
        ("secureBoot", "true", True),
        ("tpmEnabled", '"any"', "any"),
        ("console", "false", False),
        ("vmIds", f'["{VM_ID.lower()}"]', (VM_ID.lower(),)),
        ("otherSettings", '["tpm-version"]', ("tpm-version",)),
        ("otherSettings", '"any"', "any"),
    ],
)
def test_values(field: str, value: str, expected: Any) -> None:
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in field)
    assert getattr(parsed(**{field: value}), name) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("paravisors", "[]"),
        ("paravisors", '"zero"'),
        ("paravisors", '["ab"]'),
        ("akCertificate", '"optional"'),
        ("akCertificate", "true"),
        ("secureBoot", '"on"'),
        ("secureBoot", "1"),
        ("vmIds", "[]"),
        ("vmIds", '"all"'),
        ("vmIds", f'["{VM_ID}"]'),
        ("vmIds", f'["{VM_ID.lower()}", "{VM_ID.lower()}"]'),
        ("otherSettings", "[1]"),
        ("otherSettings", '["a b"]'),
    ],
)
def test_other_values_are_refused(field: str, value: str) -> None:
    with pytest.raises(FormatError, match=field):
        parsed(**{field: value})


@pytest.mark.parametrize("line", TEXT.splitlines()[1:])
def test_every_field_is_required_and_no_other_is_known(line: str) -> None:
    fields = table(TEXT.split("\n", 1)[1].replace(line + "\n", ""), what="policy")
    with pytest.raises(FormatError, match="is missing"):
        AzurePolicy.parse(Fields(fields, what="policy.azure"))
    with pytest.raises(FormatError, match=r"unknown member paravisor$"):
        AzurePolicy.parse(Fields({**table(TEXT, what="policy")["azure"], "paravisor": "any"}, what="policy.azure"))


def test_any_paravisor_with_any_key_is_no_policy() -> None:
    with pytest.raises(FormatError, match="whoever has a TDX machine"):
        parsed(akCertificate='"any"')
    assert parsed(akCertificate='"any"', paravisors=MRTD).ak_certificate == "any"
