"""Claims of Confidential Space: every spelling that was met, wrong kinds refused, unknown ones named and harmless."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats.confidential_space import SpaceClaims, SpaceReference
from pluto_measure.formats.jwt import Jwt
from simulators.confidential_space import CONTAINER, INSTANCE, REFERENCE, changed, payload_of
from simulators.google_pki import NOW

TDX = {"gcp_attester_tcb_status": "UpToDate", "gcp_attester_tcb_date": "2024-03-13T00:00:00Z"}
REFERENCE_CLAIMS = dict(REFERENCE.profiles[0].claims)


def parsed(**changes: Any) -> SpaceClaims:
    return SpaceClaims.parse(changed(payload_of("a nonce"), changes))


def with_member(path: str, value: Any) -> SpaceClaims:
    return SpaceClaims.parse(changed(payload_of("a nonce"), {path: value}))


def test_every_claim_has_its_place() -> None:
    claims = parsed()
    assert (claims.issued_at, claims.expires_at, claims.not_before) == (NOW, NOW + timedelta(hours=1), NOW)
    assert (claims.audiences, claims.nonces, claims.software_versions) == (
        ("pluto-notary/2",),
        ("a nonce",),
        ("260800",),
    )
    assert (claims.tcb_status, claims.tcb_date) == tuple(TDX.values())
    assert claims.subject.endswith("/projects/notary-1/zones/us-central1-a/instances/pluto-a")
    assert claims.container is not None
    assert (claims.container.args, claims.container.cmd_override, claims.container.env_override) == (
        CONTAINER.args,
        (),
        {},
    )
    assert claims.container.env == {"HOSTNAME": "pluto-a", "PATH": "/usr/bin"}
    assert claims.instance is not None
    assert INSTANCE.problem(claims.instance) is None
    assert (claims.monitoring, claims.unknown) == ({"memory": False}, ())


@pytest.mark.parametrize("tdx", [TDX, [TDX], [{name: value} for name, value in TDX.items()], [{}, TDX]])
def test_tdx_is_an_object_or_a_list_of_objects(tdx: Any) -> None:
    assert (parsed(tdx=tdx).tcb_status, parsed(tdx=tdx).tcb_date) == tuple(TDX.values())


@pytest.mark.parametrize("tdx", [[TDX, TDX], [TDX, {"gcp_attester_tcb_status": "OutOfDate"}]])
def test_two_words_on_the_same_are_refused(tdx: Any) -> None:
    with pytest.raises(FormatError, match="twice"):
        parsed(tdx=tdx)


@pytest.mark.parametrize(
    ("name", "claim"), [("eat_nonce", "nonces"), ("aud", "audiences"), ("swversion", "software_versions")]
)
def test_one_text_is_a_list_of_one(name: str, claim: str) -> None:
    assert getattr(parsed(**{name: "one"}), claim) == ("one",)
    assert getattr(parsed(**{name: ["one"]}), claim) == ("one",)
    assert getattr(parsed(**{name: ["one", "two"]}), claim) == ("one", "two")
    assert getattr(parsed(**{name: None}), claim) == ()


def test_a_debug_image_has_no_support_attributes_and_what_is_absent_is_empty() -> None:
    claims = SpaceClaims.parse({"iat": 0, "nbf": 0, "exp": 1})
    assert (claims.support, claims.container, claims.instance, claims.monitoring) == ((), None, None, None)
    assert (claims.secure_boot, claims.oem_id, claims.issuer, claims.tcb_status) == (None, None, "", "")
    assert with_member("submods.confidential_space.support_attributes", None).support == ()


@pytest.mark.parametrize("name", ["args", "cmd_override", "env", "env_override", "image_signatures"])
def test_what_is_null_is_empty(name: str) -> None:
    payload = payload_of("a nonce")
    payload["submods"]["container"][name] = None
    container = SpaceClaims.parse(payload).container
    assert container is not None
    assert not getattr(container, name, None)


def test_unknown_claims_are_named_and_mean_nothing() -> None:
    payload = payload_of("a nonce")
    payload |= {"new": {"dbgstat": "enabled"}, "https://aws.amazon.com/tags": {}}
    payload["submods"] |= {"nvidia_gpu": {"cc_mode": "ON"}, "tdx": {"gcp_attester_tcb_status": "Revoked"}}
    payload["submods"]["container"]["mounts"] = []
    payload["tdx"]["attester_tcb_status"] = "OutOfDate"
    claims = SpaceClaims.parse(payload)
    names = ("https://aws.amazon.com/tags", "new", "submods.container.mounts", "submods.nvidia_gpu", "submods.tdx")
    assert claims.unknown == (*names, "tdx.attester_tcb_status")
    assert (claims.debug, claims.tcb_status) == ("disabled-since-boot", "UpToDate")
    assert len(SpaceClaims.parse(payload | {f"x{i}": 1 for i in range(999)}).unknown) == 64


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("iat", "1790000000"),
        ("iat", 1790000000.5),
        ("iat", True),
        ("iat", -1),
        ("exp", 2**33),
        ("nbf", 10**30),
        ("secboot", "true"),
        ("secboot", 1),
        ("oemid", "11129"),
        ("oemid", True),
        ("hwmodel", ["GCP_INTEL_TDX"]),
        ("swname", 1),
        ("dbgstat", False),
        ("aud", {}),
        ("aud", [1]),
        ("eat_nonce", [["a"]]),
        ("swversion", 260800),
        ("attester_tcb", "INTEL"),
        ("google_service_accounts", "a"),
        ("tdx", "UpToDate"),
        ("tdx", ["UpToDate"]),
        ("tdx", {"gcp_attester_tcb_status": ["UpToDate"]}),
        ("submods", []),
        ("submods.container", "sha256:ab"),
        ("submods.gce", []),
        ("submods.gce.instance_id", 6256007950053693934),
        ("submods.container.image_digest", ["sha256:ab"]),
        ("submods.container.args", "python3"),
        ("submods.container.args", [1]),
        ("submods.container.env", ["A=b"]),
        ("submods.container.env", {"A": 1}),
        ("submods.container.env_override", {"A": ["b"]}),
        ("submods.container.cmd_override", {}),
        ("submods.container.image_signatures", {}),
        ("submods.confidential_space.support_attributes", "STABLE"),
        ("submods.confidential_space.monitoring_enabled", False),
        ("submods.confidential_space.monitoring_enabled", {"memory": "false"}),
    ],
)
def test_a_claim_of_the_wrong_kind_is_refused(path: str, value: Any) -> None:
    with pytest.raises(FormatError):
        with_member(path, value)


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
def test_a_token_without_its_times_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match=f"{name} is missing"):
        parsed(**{name: None})


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["env", "args", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(payload_of(""))), _VALUES)
def test_any_value_of_any_claim_is_taken_or_refused(name: str, value: Any) -> None:
    with suppress(FormatError):
        SpaceClaims.parse({**payload_of(""), name: value})


def test_recorded_tokens_have_claims(vectors: Path) -> None:
    folder = vectors / "quotes/confidential-space"
    claims = {
        name: SpaceClaims.parse(Jwt.parse((folder / name).read_text().strip()).payload)
        for name in ("valid.jwt", "flare_pki.txt", "flare_oidc.txt")
    }
    assert {item.hardware for item in claims.values()} == {"GCP_AMD_SEV"}
    assert {item.debug for item in claims.values()} == {"enabled"}
    assert all(not item.support and not item.unknown for item in claims.values())
    space = claims["valid.jwt"].container
    assert space is not None
    assert space.env["HOSTNAME"] == "oak-session-echo-debug"
    overridden = claims["flare_oidc.txt"].container
    assert overridden is not None
    assert sorted(overridden.env_override) == ["AUDIENCE", "NONCE"]


def test_a_reference_has_what_the_builder_says_of_the_container() -> None:
    reference = SpaceReference.parse(REFERENCE_CLAIMS)
    assert (reference.image_digest, reference.args) == (CONTAINER.manifest_digest, CONTAINER.args)
    assert (reference.env, reference.env_override) == ({"PATH": "/usr/bin"}, {})


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("swname", "GCE", "only 'CONFIDENTIAL_SPACE'"),
        ("hwmodel", "GCP_AMD_SEV", "only 'GCP_INTEL_TDX'"),
        ("dbgstat", "enabled", "only 'disabled-since-boot'"),
        ("secboot", False, "only True"),
        ("secboot", None, "secboot is missing"),
        ("new", 1, "unknown member new"),
        ("submods.new", {}, "unknown member new"),
        ("submods.container.mounts", [], "unknown member mounts"),
        ("submods.container.args", None, "args is missing"),
        ("submods.container.env", {"A": 1}, "must hold texts"),
        ("submods.confidential_space", {}, "unknown member confidential_space"),
        ("submods.container", None, "container is missing"),
    ],
)
def test_a_reference_that_asks_for_something_else_is_refused(path: str, value: Any, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        SpaceReference.parse(changed(json.loads(json.dumps(REFERENCE_CLAIMS)), {path: value}))
