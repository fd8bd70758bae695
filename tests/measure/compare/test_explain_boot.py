"""What differences from the boot option on mean: each cause is put into a log, and its words come out."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from pluto_measure.compare.difference import compare, expected_from_log
from pluto_measure.compare.explain import Known, Place, Scene, explain
from pluto_measure.compare.roles import roles
from pluto_measure.digests import Digests, digest
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import profile_for
from pluto_measure.predict import hob, predict
from pluto_measure.predict.events import CALLING, EXIT_FAILED, EXIT_INVOKED, RETURNING, ExpectedEvent
from simulators import boot_logs
from simulators.boot_logs import (
    BLOCK,
    MACHINES,
    PARTITION,
    ROOT,
    TDX,
    TDX_DISK,
    file,
    image_data,
    tagged,
)
from simulators.edited_logs import against, append, cause, change, drop, found, insert, one
from simulators.event_logs import SHELL, UI_APP, firmware_application, measured
from simulators.launches import LAUNCH

APPLICATION = EventType.EV_EFI_BOOT_SERVICES_APPLICATION


# --- what is started: RTMR[1], PCR 4 and 5


@pytest.mark.parametrize("name", ["tdx disk", "tpm", "google"])
@pytest.mark.parametrize(("guid", "words"), [(SHELL, "the UEFI shell"), (UI_APP, "the firmware's menu (UiApp)")])
def test_a_program_of_the_firmware_before_the_uki_is_the_attack(name: str, guid: str, words: str) -> None:
    calling, returning = (measured(4, EventType.EV_EFI_ACTION, text) for text in (CALLING, RETURNING))
    comparison = found(name, insert(name, "image:uki", returning, calling, firmware_application(guid, b"program")))
    first = comparison.differences[0]
    assert (first.role, first.attack) == ("returning", "foreign-application")
    assert words in first.meaning
    assert cause(comparison) == "the host entered the firmware's shell or menu"
    assert first.register not in comparison.explainable


@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_another_image_before_the_uki_is_the_attack_too(name: str) -> None:
    other = LogEvent(
        4, APPLICATION, measured(4, 0, b"other").digests, image_data(ROOT, BLOCK, PARTITION, file("x.efi"))
    )
    comparison = found(name, insert(name, "image:uki", other))
    assert one(comparison).attack == "foreign-application"
    assert cause(comparison) == "something was started before the UKI"


@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_another_uki_is_one_cause(name: str) -> None:
    def edit(events: list[LogEvent]) -> None:
        for role in ("image:uki", "section:.cmdline", "initrd"):
            change(name, role, b"other")(events)

    comparison = found(name, edit)
    assert (
        "the UKI of this build was not started; the log names image of 4096 bytes from PciRoot(0)"
        in comparison.differences[0].meaning
    )
    assert cause(comparison) == "the UKI of this build was not started"


def test_another_image_than_in_another_log_is_said_so() -> None:
    comparison = found("tdx disk", change("tdx disk", "image:uki", b"other"), ours="the expected log")
    assert "the image of the expected log was not started" in one(comparison).meaning


@pytest.mark.parametrize(
    ("version", "generation", "may"), [("10.1", 202502, False), ("9.2", 202502, True), ("x", 202502, True)]
)
def test_another_kernel_may_be_the_same_with_another_header(version: str, generation: int, may: bool) -> None:
    expected, log = boot_logs.machine("tdx direct")
    events = list(log.events)
    change("tdx direct", "image:kernel", b"other")(events)
    known = Known(boot="direct", generation=generation, vmm_version=version)
    difference = one(compare(expected, replace(log, events=tuple(events)), known=known))
    assert difference.meaning.startswith("the kernel is not the one of this release; the log names image")
    assert ("QEMU rewrote its header" in difference.meaning) == may
    assert (difference.why.hint is not None) == may


def test_a_kernel_inside_the_uki_that_differs_is_named() -> None:
    difference = one(found("tdx disk", change("tdx disk", "image:kernel", b"other")))
    assert (
        "the kernel is not the one of this release: the log names image of 4096 bytes from VenMedia("
        in difference.meaning
    )


@pytest.mark.parametrize("platform", [TDX, Platform()])
def test_disk_and_kernel_boot_are_told_apart(platform: Platform) -> None:
    disk = replace(TDX_DISK, acpi=TDX.acpi) if platform is TDX else Platform(boot="disk")
    comparison = against((LAUNCH, platform), (LAUNCH, disk))
    said = {(d.role, d.kind): d.meaning for d in comparison.differences}
    assert "the same images in another order" in said["image:uki", "missing"]
    assert "loaded an image from a disk, which this profile does not do" in said["gpt", "unexpected"]
    assert "the image was started from a disk, not by -kernel" in cause(comparison)
    back = against((LAUNCH, disk), (LAUNCH, platform))
    assert "the image was started by -kernel, not from a disk" in cause(back)


def gpt(size: int, last: int, first: int = 34) -> bytes:
    """UEFI_GPT_DATA of a disk of `size` bytes with one partition."""
    sectors = size // 512
    header = bytearray(b"EFI PART" + bytes(8) + bytes(8) + b"\1" + bytes(7))
    header += (sectors - 1).to_bytes(8, "little") + first.to_bytes(8, "little") + last.to_bytes(8, "little")
    header += bytes(92 - len(header))
    header[16:20] = zlib.crc32(header).to_bytes(4, "little")
    return bytes(header) + b"\1" + bytes(7) + bytes(range(128))


@pytest.mark.parametrize("moves_last", [True, False])
@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_a_disk_that_was_resized_is_computed(name: str, moves_last: bool) -> None:
    small, large = 1 << 30, 10 << 30
    launch, platform = MACHINES[name]
    assert launch is not None
    built = gpt(small, small // 512 - 34)
    grown = gpt(large, (large if moves_last else small) // 512 - 34)
    expected = predict(replace(launch, gpt_event=Digests.of(built)), platform)
    log = boot_logs.honest(expected, platform)
    events = list(log.events)
    change(name, "gpt", grown, grown)(events)
    comparison = compare(expected, replace(log, events=tuple(events)))
    assert cause(comparison) == "the disk is 10 GiB large, not 1 GiB"
    assert one(comparison).why.is_understood


@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_leaving_the_firmware_twice_is_harmless(name: str) -> None:
    retry = [measured(5, EventType.EV_EFI_ACTION, text) for text in (EXIT_INVOKED, EXIT_FAILED)]
    comparison = found(name, insert(name, "exit-invoked", *retry))
    assert len(comparison.differences) == 2
    assert all(
        d.why.harmless and "exit-boot-services was retried: harmless" in d.meaning for d in comparison.differences
    )
    assert cause(comparison) == "exit-boot-services was retried, which is harmless"
    assert len(comparison.explainable) == len(comparison.rows)
    once_more = found(name, insert(name, "exit-invoked", *retry, *retry))
    assert all(d.why.harmless for d in once_more.differences)


@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_no_other_way_of_leaving_the_firmware_is_harmless(name: str) -> None:
    invoked, failed = (measured(5, EventType.EV_EFI_ACTION, text) for text in (EXIT_INVOKED, EXIT_FAILED))
    for edit in (insert(name, "exit-done", failed), append(name, failed), insert(name, "calling", invoked, failed)):
        assert not any(d.why.harmless for d in found(name, edit).differences)
    assert "leaving the firmware failed" in one(found(name, append(name, failed))).meaning
    assert "the log ends before the firmware was left" in one(found(name, drop(name, "exit-done"))).meaning
    lone = one(found(name, insert(name, "calling", invoked)))
    assert "has an event that nobody expects: Exit Boot Services Invocation" in lone.meaning


def test_a_harmless_difference_is_no_cause_beside_another() -> None:
    retry = [measured(5, EventType.EV_EFI_ACTION, text) for text in (EXIT_INVOKED, EXIT_FAILED)]

    def edit(events: list[LogEvent]) -> None:
        change("tdx disk", "initrd", b"other")(events)
        insert("tdx disk", "exit-invoked", *retry)(events)

    assert cause(found("tdx disk", edit)) == "the initrd is not the one of this release"


# --- other boot chains, run time, everything else


@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_shim_and_grub_are_another_boot_chain(name: str) -> None:
    def edit(events: list[LogEvent]) -> None:
        change(name, "image:uki", b"shim")(events)
        drop_all = {"image:kernel", "load-options", "initrd"}
        events[:] = [
            e for e, role in zip(events, roles(boot_logs.machine(name)[1]), strict=True) if role not in drop_all
        ]
        grub = LogEvent(4, APPLICATION, measured(4, 0, b"grub").digests, image_data(file("grubx64.efi")))
        sbat = measured(7, EventType.EV_EFI_VARIABLE_AUTHORITY, uefi.Variable(bytes(16), "SbatLevel", b"1").encode())
        append(
            name,
            measured(14, 13, b"MokList\0"),
            grub,
            sbat,
            measured(8, 13, b"grub_cmd: boot\0"),
            measured(9, 13, b"/grub.cfg\0"),
        )(events)

    comparison = found(name, edit)
    said = {d.role: d.meaning for d in comparison.differences}
    assert "MokList (shim: another boot chain than a UKI's)" in said["shim:MokList"]
    assert "grub_cmd: boot (GRUB: another boot chain" in said["grub:command"]
    assert "shim measured SbatLevel" in said["authority:SbatLevel"]
    assert {"image:file", "image:kernel"} & set(said)
    assert cause(comparison) == "another boot chain was started (shim, GRUB)"
    back = compare(
        expected_from_log(EventLog("tpm", ("sha256",), (measured(8, 13, b"grub_cmd: boot\0", ("sha256",)),))),
        EventLog("tpm", ("sha256",), ()),
    )
    assert cause(back) == "the expected boot chain, shim and GRUB, was not started"


def test_a_direct_boot_that_became_a_chain_is_named() -> None:
    def edit(events: list[LogEvent]) -> None:
        change("tdx direct", "image:kernel", b"shim")(events)
        append("tdx direct", measured(14, 13, b"MokList\0"))(events)

    assert cause(found("tdx direct", edit)) == "another boot chain was started (shim, GRUB)"


def test_what_software_measures_later_is_named() -> None:
    _, log = boot_logs.machine("tdx")
    later = LogEvent(4, EventType.EV_EVENT_TAG, {"sha384": bytes(48)}, tagged(0x4141454C, b"domain operation content"))
    difference = one(compare(boot_logs.machine("tdx")[0], replace(log, events=(*log.events, later))))
    assert "software in the guest measured it after the boot" in difference.meaning
    assert difference.register == "rtmr3"


@pytest.mark.parametrize("name", ["tdx", "tpm"])
def test_an_option_rom_is_named(name: str) -> None:
    driver = LogEvent(2, EventType.EV_EFI_BOOT_SERVICES_DRIVER, measured(2, 0, b"rom").digests, image_data(ROOT, BLOCK))
    comparison = found(name, insert(name, "calling", driver))
    assert one(comparison).role == "driver:option-rom"
    assert cause(comparison) == "a device brought an option ROM along"


def test_labels_of_old_firmware_are_named() -> None:
    label = measured(4, EventType.EV_PLATFORM_CONFIG_FLAGS, b"DirectBoot Command Line\0")
    comparison = found("tdx", insert("tdx", "calling", label))
    assert cause(comparison) == "the firmware is of 2022 or older"
    assert "pcr4 has an event that nobody expects" in one(found("tpm", append("tpm", label))).meaning


def test_a_place_where_nothing_is_has_plain_words() -> None:
    scene = Scene({}, {}, {})
    assert explain(Place("pcr8", None, None, ""), scene).text == "pcr8 differs"
    event = measured(8, 13, b"x")
    wanted = ExpectedEvent("pcr8", 13, {"sha256": bytes(32)}, "something", "test", "")
    assert explain(Place("pcr8", wanted, event, ""), scene).text == "pcr8 has x where something was expected"


def test_known_takes_from_inputs_only_what_fits() -> None:
    good = profile_for(LAUNCH, TDX).inputs
    assert Known.of(good).sections == boot_logs.SECTIONS
    sections = [section.to_json() for section in boot_logs.SECTIONS]
    odd: object
    for odd in (
        None,
        [],
        "x",
        [1],
        [{}],
        sections[:2],
        sections * 20,
        [{**sections[0], "type": "X"}],
        [{**sections[4], "address": -1}],
    ):
        assert Known.of({"firmware": {"sections": odd}}).sections == ()
    assert Known.of({"memory": "2G", "platform": 1, "firmware": 3}) == Known()


def test_sections_that_no_td_hob_fits_are_no_failure() -> None:
    tiny = tuple(replace(section, memory_size=4096) if section.type == 2 else section for section in boot_logs.SECTIONS)
    many = tiny + tuple(
        replace(boot_logs.SECTIONS[2], address=(1 << 32) + n * 8192, memory_size=4096) for n in range(90)
    )
    other = digest("sha384", hob.qemu(boot_logs.SECTIONS, 4 << 30))
    expected, log = boot_logs.machine("tdx")
    events = list(log.events)
    events[1] = LogEvent(1, events[1].type, {"sha384": other}, b"")
    known = Known(platform="qemu-tdx", memory=2 << 30, sections=many)
    assert (
        "memory is 4 GiB, not 2 GiB" in one(compare(expected, replace(log, events=tuple(events)), known=known)).meaning
    )
