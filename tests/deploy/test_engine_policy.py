from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_deploy.engine.policy import local_policy, mr_config_id, narrowed
from pluto_measure.appraise import verify_evidence
from pluto_measure.errors import UsageError
from pluto_measure.policy import Policy
from simulators import policies, tpm_quotes

EMPTY = hashlib.sha256(b"").digest()
OTHER = b"\1" * 32
PPIDS = tuple(f"ppid:{number:032x}" for number in range(3))
KEY = bytes(range(32))


def configs() -> st.SearchStrategy[Any]:
    return st.sampled_from(("any", EMPTY, OTHER))


@st.composite
def tpm_policies(draw: st.DrawFn) -> Policy:
    return dataclasses.replace(
        policies.POLICY,
        platforms=draw(st.sampled_from((("qemu-vtpm",), ("qemu-tdx", "qemu-vtpm"), ("qemu-tdx",)))),
        insecure_software_tpm=draw(st.booleans()),
        config_digest=draw(configs()),
        outer_key_digest=draw(st.sampled_from(("any", "required"))),
    )


@st.composite
def tdx_policies(draw: st.DrawFn) -> Policy:
    assert policies.TDX_POLICY.tdx is not None
    registers: Any = draw(st.sampled_from(("any", (bytes(48),), (mr_config_id(EMPTY), mr_config_id(OTHER)))))
    return dataclasses.replace(
        policies.TDX_POLICY,
        platforms=draw(st.sampled_from((("qemu-tdx",), ("gcp-tdx", "qemu-tdx"), ("gcp-tdx",)))),
        machines=draw(st.sampled_from(("any", PPIDS[:1], PPIDS[:2]))),
        config_digest=draw(configs()),
        outer_key_digest=draw(st.sampled_from(("any", "required"))),
        tdx=dataclasses.replace(policies.TDX_POLICY.tdx, mr_config_id=registers),
    )


def covers(wide: Any, narrow: Any) -> bool:
    """Whether what `narrow` accepts, `wide` accepts; "any" accepts all."""
    if wide == "any":
        return True
    if narrow == "any":
        return False
    return set(narrow) <= set(wide) if isinstance(wide, tuple) else bool(narrow == wide)


@given(st.one_of(tpm_policies(), tdx_policies()), st.sampled_from((EMPTY, OTHER)), st.sampled_from((None, *PPIDS)))
def test_a_narrowed_policy_accepts_no_more_than_its_author_wrote(
    policy: Policy, config: bytes, machine: str | None
) -> None:
    is_tdx = policy.tdx is not None
    try:
        found = narrowed(
            policy,
            platform="qemu-tdx" if is_tdx else "qemu-vtpm",
            config_digest=config,
            machine=machine if is_tdx else None,
        )
    except UsageError:
        return
    changed = {"platforms", "evidence_types", "machines", "config_digest", "outer_key_digest", "tdx"}
    for field in dataclasses.fields(Policy):
        wide, narrow = getattr(policy, field.name), getattr(found, field.name)
        if field.name not in changed:
            assert narrow == wide
        elif field.name not in ("outer_key_digest", "tdx"):
            assert covers(wide, narrow), field.name
    assert (found.config_digest, found.outer_key_digest, len(found.platforms)) == (config, "required", 1)
    if policy.tdx is not None:
        assert found.tdx is not None
        assert found.tdx.mr_config_id == (mr_config_id(config),)
        assert covers(policy.tdx.mr_config_id, found.tdx.mr_config_id)
        assert dataclasses.replace(found.tdx, mr_config_id=policy.tdx.mr_config_id) == policy.tdx
    if machine is not None and is_tdx:
        assert found.machines == (machine,)


@settings(max_examples=60, deadline=None)
@given(
    tpm_policies(), st.sampled_from((EMPTY, OTHER)), st.sampled_from((EMPTY, OTHER)), st.sampled_from((KEY, bytes(32)))
)
def test_evidence_that_a_narrowed_policy_accepts_the_whole_one_accepts(
    policy: Policy, wanted: bytes, config: bytes, seen: bytes
) -> None:
    try:
        found = narrowed(policy, platform="qemu-vtpm", config_digest=wanted, machine=None)
    except UsageError:
        return
    machine = tpm_quotes.Machine(config_digest=config, outer_key_digest=KEY)
    evidence = machine.evidence(bytes(32)).to_text().encode()
    verdicts = [
        verify_evidence(evidence, [tpm_quotes.reference_of()], one, tpm_quotes.NOW, bytes(32), seen).accepted
        for one in (found, policy)
    ]
    assert verdicts != [True, False]
    assert verdicts[0] == (config == wanted and seen == KEY), "and it accepts what was asked for, nothing else"


@pytest.mark.parametrize(
    ("policy", "asked", "words"),
    [
        (policies.POLICY, {"platform": "qemu-tdx"}, "does not accept the platform qemu-tdx, only qemu-vtpm"),
        (policies.TDX_POLICY, {"platform": "qemu-vtpm"}, "does not accept the platform qemu-vtpm"),
        (
            dataclasses.replace(policies.POLICY, platforms=("qemu-tdx", "qemu-vtpm")),
            {"platform": "qemu-tdx"},
            "evidence of type tdx",
        ),
        (policies.POLICY, {"config_digest": OTHER}, f"configuration, which is {OTHER.hex()}"),
        (dataclasses.replace(policies.POLICY, insecure_software_tpm=False), {}, "software TPM"),
        (
            dataclasses.replace(policies.TDX_POLICY, machines=PPIDS[:1]),
            {"platform": "qemu-tdx", "machine": PPIDS[1]},
            f"does not name the machine {PPIDS[1]}",
        ),
        (
            dataclasses.replace(
                policies.TDX_POLICY,
                tdx=dataclasses.replace(policies.TDX_POLICY.tdx, mr_config_id=(bytes(48),)),  # type: ignore[type-var]
            ),
            {"platform": "qemu-tdx"},
            "mrConfigId excludes",
        ),
    ],
)
def test_what_excludes_each_other_is_said_before_anything_is_done(
    policy: Policy, asked: dict[str, Any], words: str
) -> None:
    how = {"platform": "qemu-vtpm", "config_digest": EMPTY, "machine": None, **asked}
    with pytest.raises(UsageError, match=words):
        narrowed(policy, **how)


def test_the_register_has_the_digest_first() -> None:
    assert mr_config_id(EMPTY).hex() == EMPTY.hex() + "00" * 16


def test_a_local_build_of_ones_own_needs_no_policy_and_is_bound_to_its_configuration() -> None:
    policy = local_policy(config_digest=OTHER, allow_debug=False)
    assert (policy.config_digest, policy.outer_key_digest, policy.platforms) == (OTHER, "required", ("qemu-vtpm",))
    assert not policy.allow_debug
