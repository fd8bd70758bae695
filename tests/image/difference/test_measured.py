"""Predictions held against each other: what a machine's own inputs move, and that every source has a cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pluto_image.difference import measured
from pluto_image.difference.causes import Causes
from pluto_image.difference.model import ProfileChange, Value
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, Profile, profile_for
from pluto_measure.predict.events import ExpectedEvent
from simulators.launches import LAUNCH
from simulators.machines import bare_metal, bare_metal_disk, google, keys, laptop

NOTHING = Causes({}, ("the image has other bytes around its sections",), {})


def of(*profiles: Profile) -> Measurements:
    return Measurements(LAUNCH.build_id, LAUNCH.flavour, profiles)


def changes(before: Platform, after: Platform, causes: Causes = NOTHING) -> ProfileChange:
    found, same = measured.profiles(
        of(profile_for(LAUNCH, before, "x")), of(profile_for(LAUNCH, after, "x")), causes
    )  # fmt: skip
    assert same == []
    return found[0]


def test_a_machine_that_expects_the_same_is_no_change() -> None:
    found, same = measured.profiles(
        of(profile_for(LAUNCH, laptop(), "x")), of(profile_for(LAUNCH, laptop(), "x")), NOTHING
    )  # fmt: skip
    assert (found, same) == ((), ["x"])


def test_more_memory_is_named_for_the_event_that_it_moves() -> None:
    found = changes(bare_metal(), bare_metal(memory=bare_metal().memory * 2))
    assert Value("memory", str(bare_metal().memory), str(2 * bare_metal().memory)) in found.inputs
    (event,) = found.events
    assert (event.role, event.register) == ("td-hob", "rtmr0")
    assert event.why == (f"memory: {bare_metal().memory} → {2 * bare_metal().memory}",)
    (register,) = found.registers
    assert (register.register, register.roles, register.why) == ("rtmr0", ("td-hob",), event.why)


def test_secure_boot_moves_its_variables_and_what_follows() -> None:
    found = changes(bare_metal(), bare_metal(secure_boot=keys(b"ours")))
    assert "secureBoot.state" in {one.name for one in found.inputs}
    assert {one.role for one in found.events} >= {"variable:SecureBoot", "variable:db"}
    why = {one.role: one.why for one in found.events}
    assert "secureBoot.state: absent → on" in why["variable:SecureBoot"]
    assert all(sentence.startswith("secureBoot.") for sentence in why["variable:db"])


def test_a_start_from_the_disk_adds_its_event_in_its_place() -> None:
    found = changes(bare_metal(), bare_metal_disk())
    added = [one for one in found.events if one.before is None]
    assert "gpt" in {one.role for one in added}
    assert all(one.why for one in found.events)
    assert not [one for one in found.events if one.before == one.after]


def test_other_firmware_moves_mrtd_which_no_log_has() -> None:
    before = profile_for(LAUNCH, bare_metal(), "x")
    other = replace(before.registers["mrtd"], values=({"sha384": bytes(48)},))
    after = replace(before, registers={**before.registers, "mrtd": other})
    causes = Causes({}, (), {"firmware": Value("firmware", "2025.02-8", "2025.02-9")})
    (found,), _ = measured.profiles(of(before), of(after), causes)
    (register,) = found.registers
    assert (register.register, register.roles, register.why) == ("mrtd", (), ("firmware: 2025.02-8 → 2025.02-9",))
    (found,), _ = measured.profiles(of(before), of(after), NOTHING)
    assert found.registers[0].why == ("what stands around it changed",)


def test_one_event_more_is_one_difference() -> None:
    before = profile_for(LAUNCH, laptop(), "x")
    place = next(at for at, event in enumerate(before.events) if event.role == "separator:ready")
    more = replace(before.events[place], digests={"sha256": bytes(32), "sha384": bytes(48)}, role="image:uki")
    events = (*before.events[:place], more, *before.events[place:])
    found, _ = measured.profiles(of(before), of(replace(before, events=events)), NOTHING)
    assert [(one.before, one.role) for one in found[0].events] == [(None, "image:uki")]


SOURCES: Sequence[tuple[str, str]] = (
    ("launch.uki.authenticode", "the image"),
    ("launch.kernel.authenticode", "of .linux"),
    ("launch.sections[.osrel]", "of .osrel"),
    ("launch.commandLine", "of .cmdline"),
    ("launch.handedInitrd", "of .initrd"),
    ("launch.disk.gptEvent", "disk, size: 1 → 2"),
    ("platform.memory, platform.firmware", "memory: 1 → 2"),
    ("platform.firmware", "firmware: a → b"),
    ("platform.secureBoot (absent)", "secureBoot.state: absent → on"),
    ("platform.secureBoot.db", "secureBoot.state: absent → on"),
    ("platform.acpi.tables", "acpi.tables: x → y"),
    ("platform.acpi.tpmLog", "acpi.tables: x → y"),
    ("platform.fwCfg[opt/x]", "fwCfg.opt/x: 1 → 2"),
    ("platform.bootVariables", "bootVariables.Boot0000: x: new"),
    ("platform.smbios", "smbios: x → y"),
    ("firmware", "firmware: a → b"),
)


@pytest.mark.parametrize(("source", "why"), SOURCES, ids=[source for source, _ in SOURCES])
def test_every_source_of_a_prediction_leads_to_a_cause(source: str, why: str) -> None:
    names = (".linux", ".osrel", ".cmdline", ".initrd")
    parts = {"firmware": Value("firmware", "a", "b"), "disk, size": Value("disk, size", "1", "2")}
    causes = Causes({name: (f"of {name}",) for name in names}, ("the image",), parts)
    inputs = (
        Value("memory", "1", "2"), Value("secureBoot.state", "absent", "on"), Value("acpi.tables", "x", "y"),
        Value("fwCfg.opt/x", "1", "2"), Value("bootVariables.Boot0000", None, "x"), Value("smbios", "x", "y"),
    )  # fmt: skip
    assert why.replace("Boot0000: x", "Boot0000 x") in causes.of(source, inputs)


@pytest.mark.parametrize(
    "machine",
    [bare_metal(), bare_metal_disk(secure_boot=keys(b"ours")), laptop(), google()],
    ids=["metal", "disk", "laptop", "google"],
)
def test_the_sources_above_are_all_that_a_prediction_names(machine: Platform) -> None:
    """A source that is new in `predict` must be led to a cause here, too."""
    known = {one.partition(" (")[0].partition("[")[0] for source, _ in SOURCES for one in source.split(", ")}
    known = {*known, "platform.acpi.loader", "platform.acpi.rsdp"}
    events: Sequence[ExpectedEvent] = profile_for(LAUNCH, machine, "x").events
    named = {one.partition(" (")[0].partition("[")[0] for event in events for one in event.source.split(", ")}
    assert named <= known
