"""[confidentialSpace] of a policy: every field is required, and "any" is written out."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_measure.policy.confidential_space import STRICT_CONFIDENTIAL_SPACE, TABLE, TEXT, ConfidentialSpacePolicy
from pluto_measure.toml import table
from simulators.policies import changed


def parsed(text: str) -> ConfidentialSpacePolicy:
    return ConfidentialSpacePolicy.parse(Fields(table(text, what="policy"), what="policy").sub(TABLE))


FIELDS = re.findall(r"^(\w+) = ", TEXT, re.MULTILINE)


def test_the_strict_policy_takes_a_hardened_image_by_a_chain_to_google_alone() -> None:
    strict = STRICT_CONFIDENTIAL_SPACE
    assert parsed(TEXT) == strict
    assert (strict.insecure_roots, strict.forms, strict.support) == ((), ("pki",), "STABLE")
    assert (strict.tcb_statuses, strict.monitoring, strict.minimum_version) == (("UpToDate",), "off", "250300")
    assert len(FIELDS) == len(dataclasses.fields(ConfidentialSpacePolicy))


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_may_be_left_out(name: str) -> None:
    lines = [line for line in TEXT.splitlines() if not line.startswith(f"{name} = ")]
    with pytest.raises(FormatError, match=f"{name} is missing"):
        parsed("\n".join(lines))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(FormatError, match="unknown member allowSev"):
        parsed(TEXT + "allowSev = true\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("insecure_roots", '["ab"]'),
        ("forms", "[]"),
        ("forms", '["pki", "pki"]'),
        ("forms", '["ita"]'),
        ("forms", '"any"'),
        ("maxKeyAge", "-1"),
        ("maxKeyAge", '"any"'),
        ("minimumVersion", '"any"'),
        ("minimumVersion", "250300"),
        ("minimumVersion", '"20250300"'),
        ("minimumVersion", '"25030"'),
        ("minimumVersion", '"٢٥٠٣٠٠"'),
        ("support", '"EXPERIMENTAL"'),
        ("support", '""'),
        ("support", '["STABLE"]'),
        ("tcbStatuses", "[]"),
        ("tcbStatuses", '["Revoked"]'),
        ("tcbStatuses", "[1]"),
        ("tcbStatuses", "[[]]"),
        ("tcbStatuses", '"UpToDate"'),
        ("monitoring", "false"),
        ("monitoring", '"memory"'),
        ("restartPolicies", "[]"),
        ("restartPolicies", '["never"]'),
        ("imageReferences", "[]"),
        ("imageReferences", '[""]'),
        ("imageReferences", '["a b"]'),
        ("serviceAccounts", '["nobody"]'),
        ("serviceAccounts", "[1]"),
        ("projects", "[]"),
        ("projects", '["UPPER-case"]'),
        ("projects", '["notary-1", "notary-1"]'),
        ("projects", '"notary-1"'),
        ("zones", '["us-central1"]'),
        ("zones", "[]"),
    ],
)
def test_another_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(FormatError, match=name):
        parsed(changed(TEXT, **{name: value}))


def test_lists_and_any_are_taken() -> None:
    text = changed(
        TEXT,
        forms='["pki", "oidc"]',
        support='"any"',
        tcbStatuses='"any"',
        monitoring='"any"',
        imageReferences='["europe-docker.pkg.dev/p/r/notary@sha256:ab", "docker.io/a/b:latest"]',
        serviceAccounts="[]",
        projects='["notary-1", "example.com:notary-2"]',
        zones='["us-central1-a", "europe-west4-b"]',
    )
    found = parsed(text)
    assert (found.support, found.tcb_statuses, found.monitoring, found.service_accounts) == ("any", "any", "any", ())
    assert (found.projects, len(found.image_references)) == (("notary-1", "example.com:notary-2"), 2)
    assert found.zones == ("us-central1-a", "europe-west4-b")
    assert parsed(changed(TEXT, serviceAccounts='["a.b@c.iam.gserviceaccount.com"]')).service_accounts != "any"
