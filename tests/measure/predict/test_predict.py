"""Predictions against seventeen recorded boots, and what is refused because it cannot be predicted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog
from pluto_measure.launch import SectionDigest
from pluto_measure.machine.platform import Platform, SecureBoot
from pluto_measure.measurements import profile_for
from pluto_measure.predict import predict
from pluto_measure.registers.replay import replay
from simulators import launches, recorded_boots
from simulators.recorded_boots import ATTACKS, FOLDERS, HONEST

A, B = Digests.of(b"a"), Digests.of(b"b")
# The sections as they stand in the file, which is not the order in which the stub measures them.
LAUNCH = replace(launches.LAUNCH, sections=(*launches.LAUNCH.sections[1:], launches.LAUNCH.sections[0]))
# Registers whose rule asks for one value, with one exception: these machines had a network card's option ROM.
OPTION_ROM = {name for name in FOLDERS if name != "tx-crb-nvme-no-option-rom"}
CHANGED = {"pcr9", "pcr12"}  # by the recorded attacks


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_register_of_a_recorded_boot_is_as_predicted_or_as_the_attack_made_it(vectors: Path, folder: str) -> None:
    profile = profile_for(recorded_boots.launch(vectors), recorded_boots.platform(vectors, folder))
    replayed = replay(recorded_boots.log(vectors, folder))
    for bank, values in recorded_boots.registers(vectors, folder).items():
        if bank == "sha1":
            continue
        wrong = set()
        for name, rule in profile.registers.items():
            accepted = rule.accepted(name, bank, replayed)
            if accepted is not None and values[name] not in accepted:
                wrong.add(name)
        expected = ({"pcr2"} if folder in OPTION_ROM else set()) | (CHANGED if folder in ATTACKS else set())
        if folder == "tx-crb-sha384-only":
            expected.add("pcr10")  # IMA hashes the SHA-256 bank, which this machine has not
        assert wrong == expected


@pytest.mark.parametrize("folder", HONEST)
def test_the_predicted_events_are_the_logged_ones_in_order(vectors: Path, folder: str) -> None:
    log = recorded_boots.log(vectors, folder)
    expected = predict(recorded_boots.launch(vectors), recorded_boots.platform(vectors, folder))
    for register in sorted({event.register for event in expected} - {"pcr2"}):
        ours = [(event.type, event.digests) for event in expected if event.register == register]
        theirs = [event for event in log.events if log.register(event) == register and event.type != 3]
        assert [kind for kind, _ in ours] == [event.type for event in theirs]
        for (_, digests), event in zip(ours, theirs, strict=True):
            assert all(digests[bank] == event.digests[bank] for bank in digests if bank in event.digests)


def test_the_order_of_a_disk_boot_is_that_of_a_real_log_over_all_registers(vectors: Path) -> None:
    folder = "tx-crb-nvme-no-option-rom"
    expected = predict(recorded_boots.launch(vectors), recorded_boots.platform(vectors, folder))
    log = recorded_boots.log(vectors, folder)
    theirs = [(log.register(e), e.type, e.digests["sha256"]) for e in log.events if e.index not in (0, 1)]
    assert [(e.register, e.type, e.digests["sha256"]) for e in expected] == theirs


def test_a_kernel_boot_measures_the_uki_before_the_boot_option_and_no_partition_table() -> None:
    events = predict(LAUNCH, Platform(boot="uki-kernel"))
    assert [e.description for e in events if e.register == "pcr4"] == [
        "UKI",
        "boot option starts",
        "end of the firmware phase",
        "kernel inside the UKI",
    ]
    assert not [e for e in events if e.type == eventlog.EventType.EV_EFI_GPT_EVENT]


def test_sections_are_measured_in_the_stubs_order_whatever_their_order_in_the_file() -> None:
    names = [e.description for e in predict(LAUNCH, Platform()) if e.register == "pcr11"][::2]
    assert [name.rpartition(" ")[2] for name in names] == [".linux", ".osrel", ".cmdline", ".initrd"]


def test_without_a_command_line_no_load_options_are_measured() -> None:
    bare = replace(LAUNCH, command_line="", sections=LAUNCH.sections[2:])
    assert [e.source for e in predict(bare, Platform()) if e.register == "pcr9"] == ["launch.handedInitrd"]


def test_with_secure_boot_on_the_kernel_is_hidden_and_the_key_is_measured() -> None:
    certificate = b"\x30\x82" + bytes(70)
    lists = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
    size = 16 + len(certificate)
    lists += (28 + size).to_bytes(4, "little") + bytes(4) + size.to_bytes(4, "little") + bytes(16) + certificate
    platform = Platform(secure_boot=SecureBoot("on", {"PK": lists, "KEK": lists, "db": lists}))
    events = predict(LAUNCH, platform)
    assert not [e for e in events if e.source == "launch.kernel.authenticode"]
    assert [e for e in events if e.register == "pcr7"][-1].type == eventlog.EventType.EV_EFI_VARIABLE_AUTHORITY
    two = replace(platform, secure_boot=SecureBoot("on", {"PK": lists, "KEK": lists, "db": lists + lists[:-1] + b"x"}))
    authority = [e for e in predict(LAUNCH, two) if e.role == "authority:db"]
    assert [len(event.allowed) for event in authority] == [2]


@pytest.mark.parametrize("stub", ["251.4", "263", "2570", "", "two"])
def test_another_stub_is_refused_by_name(stub: str) -> None:
    with pytest.raises(FormatError, match=r"systemd-stub .* is not known"):
        predict(replace(LAUNCH, stub=stub), Platform())


@pytest.mark.parametrize("name", [".dtb", ".dtbauto", ".hwids", ".efifw"])
def test_a_section_that_is_chosen_at_run_time_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="chosen at run time"):
        predict(replace(LAUNCH, sections=(*LAUNCH.sections, SectionDigest(name, 1, A))), Platform())


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ((*LAUNCH.sections, SectionDigest(".txt", 1, A)), ".txt is not a section"),
        ((*LAUNCH.sections, LAUNCH.sections[0]), "occurs twice"),
        (LAUNCH.sections[:-1], ".linux is missing"),
        ((SectionDigest(".splash", 0, A), *LAUNCH.sections), ".splash is empty"),
        (LAUNCH.sections[2:], "without a section .cmdline"),
    ],
)
def test_sections_that_make_no_bootable_uki_are_refused(sections: tuple[SectionDigest, ...], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        predict(replace(LAUNCH, sections=sections), Platform())
