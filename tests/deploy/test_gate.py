from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.engine import gate
from pluto_deploy.engine.gate import Gate, NotAttestedError, NotAuthenticError
from pluto_deploy.engine.policy import local_policy, mr_config_id, narrowed
from pluto_deploy.engine.scene import Generation
from pluto_deploy.engine.target import Address
from pluto_deploy.engine.wish import Expected
from pluto_deploy.local.machine import Machine as Shape
from pluto_measure import cli
from pluto_measure.appraise import Appraisal, SpaceInputs
from pluto_measure.claims import Claims
from pluto_measure.commands.quote_inputs import fetching
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError, SourceError
from pluto_measure.evidence import Envelope
from pluto_measure.findings import Finding
from pluto_measure.record import replace
from simulators import confidential_space as space
from simulators import intel, tpm_quotes, trust_domains
from simulators.notaries import Answer, answering, notary, of_machine

EMPTY_CONFIG = tpm_quotes.Machine().config_digest
GENERATION = Generation("0" * 64, EMPTY_CONFIG.hex(), "", "local", 2, 1 << 30, "insecure_none", "local")


def of(*, debug: bool = False, patience: float = 0.0) -> Gate:
    """The gate for the pretended TPM's own boot, at its own time."""
    reference = tpm_quotes.reference_of(flavour="debug" if debug else "release")
    policy = local_policy(config_digest=EMPTY_CONFIG, allow_debug=debug)
    expected = Expected(GENERATION, Shape().platform(Digests.of(b"")), reference, policy, None)
    return Gate(expected=expected, patience=patience, now=lambda: tpm_quotes.NOW)


def passed(machine: tpm_quotes.Machine, answer: Answer | None = None, *, key: bytes | None = None) -> Appraisal:
    """What the gate says of a machine, whose evidence is bound to the port's key (or to `key`)."""
    with notary(answer or of_machine(machine)) as (port, own):
        machine.outer_key_digest = own if key is None else key
        return of()(Address("127.0.0.1", port))


def test_evidence_of_what_was_released_is_accepted() -> None:
    assert passed(tpm_quotes.Machine()).accepted


def test_a_debug_build_is_accepted_where_that_is_allowed() -> None:
    machine = tpm_quotes.Machine()
    with notary(of_machine(machine)) as (port, machine.outer_key_digest):
        assert of(debug=True)(Address("127.0.0.1", port)).accepted


LATER = tpm_quotes.NOW + timedelta(minutes=10)
MORE = (*tpm_quotes.BOOT, (12, tpm_quotes.EV_IPL, b"credential"))


@pytest.mark.parametrize(
    ("machine", "check"),
    [
        (tpm_quotes.Machine(config_digest=b"\1" * 32), "policy.config_digest"),
        (tpm_quotes.Machine(build_id=b"\2" * 32), "claims.build_id"),
        (tpm_quotes.Machine(issued_at=LATER), "policy.evidence_age"),
        (tpm_quotes.Machine(events=MORE), "register.pcr12"),
    ],
)
def test_evidence_of_anything_else_is_refused_by_name(machine: tpm_quotes.Machine, check: str) -> None:
    with pytest.raises(NotAttestedError) as caught:
        passed(machine)
    assert check in [finding["id"] for finding in caught.value.findings]
    assert caught.value.exit_code == 5


def test_evidence_of_another_machine_behind_this_port_is_refused() -> None:
    with pytest.raises(NotAttestedError, match=r"binding\.outer_key"):
        passed(tpm_quotes.Machine(), key=bytes(32))


def test_evidence_for_another_nonce_is_refused() -> None:
    machine = tpm_quotes.Machine()
    with pytest.raises(NotAttestedError, match=r"binding\.nonce"):
        passed(machine, of_machine(machine, nonce=b"\0" * 32))


def test_every_call_asks_with_a_nonce_of_its_own() -> None:
    machine = tpm_quotes.Machine()
    with notary(of_machine(machine)) as (port, machine.outer_key_digest):
        claims = [of()(Address("127.0.0.1", port)).claims for _ in range(3)]
    asked = {one.nonce for one in claims if isinstance(one, Claims)}
    assert {len(nonce) for nonce in asked} == {32}
    assert len(asked) == 3


def test_evidence_with_a_foreign_signature_is_not_authentic() -> None:
    class Forger(tpm_quotes.Machine):
        def evidence(self, nonce: bytes) -> Envelope:
            envelope = super().evidence(nonce)
            inside = tpm_quotes.tpm_evidence(envelope)
            other = tpm_quotes.sign(tpm_quotes.ecc_key(), inside.quote.attest)
            return replace(envelope, evidence=replace(inside, quote=replace(inside.quote, signature=other)))

    with pytest.raises(NotAuthenticError, match=r"tpm\.signature") as caught:
        passed(Forger())
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"\0" * 100, b'{"type":"pluto-evidence"}'])
def test_what_is_no_evidence_is_malformed(body: bytes) -> None:
    with pytest.raises(FormatError):
        passed(tpm_quotes.Machine(), answering(body))


def test_a_machine_that_does_not_answer_is_waited_for_and_no_longer() -> None:
    begun = time.monotonic()
    with pytest.raises(SourceError, match="no evidence"):
        of(patience=0.3)(Address("127.0.0.1", 1))
    assert 0.3 <= time.monotonic() - begun < 3


def test_a_machine_that_is_busy_at_first_is_asked_again() -> None:
    machine, times = tpm_quotes.Machine(), 0

    def answer(handler: object) -> None:
        nonlocal times
        times += 1
        (answering(b"busy", 503) if times < 3 else of_machine(machine))(handler)  # type: ignore[arg-type]

    with notary(answer) as (port, machine.outer_key_digest):
        assert of(patience=10)(Address("127.0.0.1", port)).accepted
    assert times == 3


def test_the_summary_begins_with_what_the_log_tells() -> None:
    findings = (Finding("register.pcr4", "fail", "differs"), Finding("log.events.pcr4", "fail", "a shell ran"))
    assert gate.summary(findings) == (
        "the machine is not what was released: log.events.pcr4: a shell ran (and 1 more finding)"
    )


@pytest.mark.parametrize("check", ["register.rtmr0", "log.replay.rtmr1", "claims.build_id", "release.attributes"])
def test_what_was_measured_otherwise_is_not_what_was_released(check: str) -> None:
    findings = (Finding("policy.machine", "fail", "not named"), Finding(check, "fail", "differs"))
    expected = f"the machine is not what was released: {check}: differs (and 1 more finding)"
    assert gate.summary(findings) == expected


@pytest.mark.parametrize("check", ["collateral.given", "quote.signature", "policy.evidence_age", "tcb.status"])
def test_evidence_that_is_refused_for_itself_says_nothing_of_the_machine(check: str) -> None:
    findings = (Finding(check, "fail", "so"), Finding("policy.machine", "fail", "not named"))
    expected = f"the machine's evidence is not accepted: {check}: so (and 1 more finding)"
    assert gate.summary(findings) == expected


def tdx_gate(collateral: Path | None, state: Path | None = None, **rules: Any) -> Gate:
    """The gate for the simulated trust domain, by the policy as a deployment narrows it."""
    wide = dataclasses.replace(trust_domains.POLICY, **rules)
    policy = narrowed(wide, platform="qemu-tdx", config_digest=trust_domains.CONFIG, machine=None)
    generation = dataclasses.replace(GENERATION, tee="tdx", config=trust_domains.CONFIG.hex())
    expected = Expected(generation, trust_domains.QEMU, trust_domains.REFERENCE, policy, None)
    return Gate(expected=expected, state=state, collateral=collateral, patience=0, now=lambda: intel.NOW)


class Domain:
    """A trust domain behind a port, whose TD report names its configuration; `changes` make it lie."""

    def __init__(self, **changes: Any) -> None:
        report = {"mrconfigid": mr_config_id(trust_domains.CONFIG), **changes.pop("report", {})}
        self.domain = trust_domains.TrustDomain(report=report, **changes)
        self.outer_key_digest = bytes(32)

    def evidence(self, nonce: bytes) -> Envelope:
        return dataclasses.replace(self.domain, outer_key_digest=self.outer_key_digest).envelope(nonce)


def tdx_passed(machine: Domain, gate_: Gate) -> Appraisal:
    with notary(of_machine(machine)) as (port, machine.outer_key_digest):
        return gate_(Address("127.0.0.1", port))


class Container:
    """A virtual machine of Google's with the container behind a port."""

    def __init__(self) -> None:
        self.outer_key_digest = bytes(32)

    def evidence(self, nonce: bytes) -> Envelope:
        machine = space.Space(outer_key_digest=self.outer_key_digest)
        return machine.envelope(machine.node(nonce))


def test_the_virtual_machine_that_was_made_must_answer() -> None:
    """Another one with the same container, somebody else's perhaps, is refused; nobody is asked who a TPM is."""
    policy = dataclasses.replace(space.POLICY, confidential_space=space.RULES)
    generation = dataclasses.replace(GENERATION, tee="confidential-space")
    expected = Expected(generation, Shape().platform(Digests.of(b"")), space.REFERENCE, policy, None)
    asked, machine = [], Container()

    def who(address: Address, **changes: str) -> SpaceInputs:
        asked.append(address)
        return SpaceInputs(instance=dataclasses.replace(space.INSTANCE, **changes))

    def judged(given: Callable[[Address], SpaceInputs] | None) -> Appraisal:
        with notary(of_machine(machine)) as (port, machine.outer_key_digest):
            return Gate(expected=expected, space=given, patience=0, now=lambda: intel.NOW)(Address("127.0.0.1", port))

    assert judged(who).accepted
    assert judged(None).accepted
    assert [address.host for address in asked] == ["127.0.0.1"]
    with pytest.raises(NotAttestedError) as caught:
        judged(lambda address: who(address, instance_id="1"))
    assert [finding["id"] for finding in caught.value.findings] == ["space.instance"]
    asked.clear()
    tpm = tpm_quotes.Machine()
    with notary(of_machine(tpm)) as (port, tpm.outer_key_digest):
        assert dataclasses.replace(of(), space=who)(Address("127.0.0.1", port)).accepted
    assert asked == []


@pytest.fixture
def collateral(tmp_path: Path) -> Path:
    path = tmp_path / "collateral.json"
    path.write_text(json.dumps(trust_domains.TrustDomain().world.collateral))
    return path


def test_a_trust_domain_is_appraised_with_intels_collateral(collateral: Path) -> None:
    appraisal = tdx_passed(Domain(), tdx_gate(collateral))
    assert (appraisal.accepted, appraisal.evidence_type) == (True, "tdx")
    assert appraisal.tcb is not None


@pytest.mark.parametrize(
    ("machine", "check"),
    [
        (Domain(report={"mrconfigid": bytes(48)}), "td.mr_config_id"),
        (Domain(report={"mrconfigid": mr_config_id(b"\1" * 32)}), "td.mr_config_id"),
        (Domain(config_digest=b"\1" * 32), "policy.config_digest"),
        (Domain(edits=(trust_domains.other("initrd"),)), "register.rtmr2"),
    ],
)
def test_a_trust_domain_that_is_anything_else_is_refused(machine: Domain, check: str, collateral: Path) -> None:
    with pytest.raises(NotAttestedError) as caught:
        tdx_passed(machine, tdx_gate(collateral))
    assert check in [finding["id"] for finding in caught.value.findings]


def test_a_machine_that_the_policy_does_not_name_is_refused(collateral: Path) -> None:
    with pytest.raises(NotAttestedError) as caught:
        tdx_passed(Domain(), tdx_gate(collateral, machines=("ppid:" + "0" * 32,)))
    assert "policy.machine" in [finding["id"] for finding in caught.value.findings]


def test_without_collateral_nothing_is_accepted_and_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NotAttestedError) as caught:
        tdx_passed(Domain(), tdx_gate(None, tmp_path))
    fmspc = intel.Machine.fmspc.hex()
    command = f"pluto-measure collateral fetch --fmspc {fmspc} --ca platform --state {tmp_path}"
    assert caught.value.hint == (f"{tmp_path} has no collateral of FMSPC {fmspc} and the platform CA: run '{command}'")
    assert str(caught.value).startswith("the machine's evidence is not accepted: collateral.given:")


def test_the_command_that_is_named_has_these_options() -> None:
    words = shlex.split(fetching("FMSPC", "platform", Path("/a state")).split(" ", 1)[1][1:-1])
    asked = cli.build_parser("collateral").parse_args(words[1:])
    assert (asked.fmspc, asked.ca, asked.state) == ("FMSPC", "platform", Path("/a state"))
