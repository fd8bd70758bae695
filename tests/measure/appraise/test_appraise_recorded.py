"""Real logs and registers of real boots, quoted by the simulator: the genuine one passes, recorded attacks do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_measure.appraise import Appraisal, verify_evidence
from pluto_measure.compare.difference import NOT_PREDICTED, expected_from_log
from pluto_measure.evidence import BANKS, REGISTERS
from pluto_measure.measurements import Measurements, Profile, measure
from pluto_measure.registers.rules import RegisterRule
from simulators import recorded_boots
from simulators.policies import POLICY
from simulators.tpm_quotes import NOW, Machine

GENUINE = "tx-crb-c2-m2048"
BUILD = b"\xb1" * 32


def raw_log(vectors: Path, boot: str) -> bytes:
    return (vectors / "qemu-swtpm" / boot / "binary_bios_measurements").read_bytes()


def reference(vectors: Path, boot: str) -> Measurements:
    """Reference values that say: as in this boot. PCR 0, 1 and 10 as the log replays."""
    registers = recorded_boots.registers(vectors, boot)
    rules = {
        name: RegisterRule("exact", ({bank: registers[bank][name] for bank in BANKS},), "observed")
        for name in REGISTERS
    }
    rules |= {name: RegisterRule("replay", (), "observed") for name in ("pcr0", "pcr1", "pcr10")}
    events = tuple(e for e in expected_from_log(recorded_boots.log(vectors, boot)) if e.register not in NOT_PREDICTED)
    return Measurements(BUILD.hex(), "release", (Profile(boot, "qemu-vtpm", {}, rules, events),))


def appraised(vectors: Path, boot: str, measurements: Measurements) -> Appraisal:
    registers = {bank: recorded_boots.registers(vectors, boot)[bank] for bank in BANKS}
    machine = Machine(log=raw_log(vectors, boot), registers=registers, build_id=bytes.fromhex(measurements.build_id))
    raw = machine.evidence(b"nonce").to_text()
    return verify_evidence(raw, [measurements], POLICY, NOW, b"nonce", bytes(range(32)))


def texts(appraisal: Appraisal) -> dict[str, str]:
    assert appraisal.exit_code == 5
    return {finding.id: finding.text for finding in appraisal.failures}


def predicted(vectors: Path, boot: str) -> Measurements:
    return measure(recorded_boots.launch(vectors), recorded_boots.platform(vectors, boot))


@pytest.mark.parametrize(
    "boot", [GENUINE, "tx-crb-c1-m1024", "tx-crb-c2-m2048-second-boot", "tx-tis-c2-m2048", "tx-tis-sha256-sha384"]
)
def test_the_same_image_on_another_machine_shape_is_accepted(vectors: Path, boot: str) -> None:
    appraisal = appraised(vectors, boot, reference(vectors, GENUINE))
    assert [(finding.id, finding.text) for finding in appraisal.failures] == []
    assert appraisal.accepted


def test_a_boot_as_predicted_is_accepted(vectors: Path) -> None:
    boot = "tx-crb-nvme-no-option-rom"
    appraisal = appraised(vectors, boot, Measurements.parse(predicted(vectors, boot).to_text()))
    assert [(finding.id, finding.text) for finding in appraisal.failures] == []


@pytest.mark.parametrize("boot", [GENUINE, "tx-crb-secureboot-on", "bk-crb-c4-m4096"])
def test_a_predicted_boot_with_an_option_rom_is_refused_for_that_alone(vectors: Path, boot: str) -> None:
    found = texts(appraised(vectors, boot, predicted(vectors, boot)))
    assert set(found) == {"register.pcr2", "log.events.pcr2"}
    assert "option ROM" in found["log.events.pcr2"]


@pytest.mark.parametrize(("boot", "attack"), recorded_boots.ATTACKS.items())
def test_a_recorded_attack_is_refused_and_named(vectors: Path, boot: str, attack: str) -> None:
    for measurements in (predicted(vectors, boot), reference(vectors, GENUINE)):
        found = texts(appraised(vectors, boot, measurements))
        assert {"register.pcr9", "log.events.pcr9", "register.pcr12", "log.events.pcr12"} <= set(found)
        assert f"[host attack: {attack}]" in found["log.events.pcr12"]


def test_an_attack_whose_log_was_cleaned_is_still_refused(vectors: Path) -> None:
    boot = "neg-smbios-kernel-cmdline-extra"
    registers = {bank: recorded_boots.registers(vectors, boot)[bank] for bank in BANKS}
    raw = Machine(log=raw_log(vectors, GENUINE), registers=registers, build_id=BUILD).evidence(b"nonce").to_text()
    references = [reference(vectors, GENUINE)]
    found = texts(verify_evidence(raw, references, POLICY, NOW, b"nonce", bytes(range(32))))
    assert {"register.pcr9", "log.replay.pcr9", "register.pcr12"} <= set(found)


def test_secure_boot_that_nobody_expects_is_refused(vectors: Path) -> None:
    found = texts(appraised(vectors, "tx-crb-secureboot-on", reference(vectors, GENUINE)))
    assert {"register.pcr7", "log.events.pcr7", "register.pcr4"} <= set(found)
