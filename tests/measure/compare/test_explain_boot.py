"""What differences from the boot option on mean: each cause is put into a log, and its words come out."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from pluto_measure.compare.difference import compare, expected_from_log
from pluto_measure.compare.explain import Known, Place, Scene, explain
from pluto_measure.compare.roles import roles
from pluto_measure.digests import Digests, digest
from pluto_measure.formats import linux, uefi
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import profile_for
from pluto_measure.predict import hob, predict
from pluto_measure.predict.events import CALLING, EXIT_FAILED, EXIT_INVOKED, RETURNING, ExpectedEvent
from pluto_measure.predict.stub import load_options
from simulators import boot_logs
from simulators.boot_logs import (
    BLOCK,
    DIRECT,
    MACHINES,
    PARTITION,
    ROOT,
    TDX,
    TDX_DISK,
    file,
    image_data,
    tagged,
)
from simulators.edited_logs import against, append, cause, change, drop, found, insert, one, other_digest
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


# --- UKI sections, command line, initrd: RTMR[2], PCR 9, 11, 12, 13


@pytest.mark.parametrize("name", ["tdx", "tpm", "azure", "google"])
def test_another_initrd_is_named(name: str) -> None:
    difference = one(found(name, change(name, "initrd", b"other")))
    assert difference.meaning.startswith("the initrd is not the one of this release: the kernel got another initrd")
    missing = one(found(name, drop(name, "initrd")))
    assert "lacks an event: initrd" in missing.meaning


def test_another_initrd_of_a_direct_boot_or_another_log_has_no_stub() -> None:
    difference = one(found("tdx direct", change("tdx direct", "initrd", b"other")))
    assert difference.meaning == "the initrd is not the one of this release"
    difference = one(found("tdx", change("tdx", "initrd", b"other"), ours="the expected log"))
    assert difference.meaning == "the initrd is not the one of the expected log"
    more = measured(9, EventType.EV_EVENT_TAG, tagged(0x8F3B22EC, b"Linux initrd\0"))
    assert "nobody expects: initrd: Linux initrd" in one(found("tdx", append("tdx", more))).meaning


@pytest.mark.parametrize("generation", [202502, 202508])
def test_initrd_in_the_command_line_is_told_on_direct_boot(generation: int) -> None:
    line = linux.load_options(
        LAUNCH.command_line, has_initrd=True, edk2_generation=202508 if generation == 202502 else 202502
    )
    machine = replace(
        boot_logs.TDX_DIRECT, edk2_generation=generation, boot_variables=boot_logs.OPTIONS, smbios=Digests.of(b"s")
    )
    expected = predict(DIRECT, machine)
    log = boot_logs.honest(expected, machine)
    events = list(log.events)
    where = roles(log).index("load-options")
    events[where] = LogEvent(3, events[where].type, {"sha384": digest("sha384", line)}, events[where].data)
    known = Known(boot="direct", command_line=LAUNCH.command_line)
    difference = one(compare(expected, replace(log, events=tuple(events)), known=known))
    behind = (
        "before it, as firmware from edk2 202508"
        if generation == 202502
        else "behind it, as firmware up to edk2 202505"
    )
    assert f"the expected one in another form: the command line with initrd=initrd {behind}" in difference.meaning
    assert difference.why.is_understood


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("console=ttyS0\n", "the command line with a line feed at its end"),
        ("console=ttyS0 ", "the command line with a blank at its end"),
    ],
)
@pytest.mark.parametrize("name", ["tdx", "tpm"])
def test_forms_of_the_command_line_are_told(name: str, line: str, words: str) -> None:
    assert words in one(found(name, change(name, "load-options", load_options(line)))).meaning
    without_nul = LAUNCH.command_line.encode("utf-16-le")
    assert (
        "the command line alone, without its NUL" in one(found(name, change(name, "load-options", without_nul))).meaning
    )


@pytest.mark.parametrize("name", ["tdx", "tpm"])
def test_a_kernel_that_was_started_without_the_stub_is_told(name: str) -> None:
    difference = one(found(name, change(name, "load-options", load_options(f"{LAUNCH.command_line} initrd=initrd"))))
    assert "it was started without the stub" in difference.meaning


@pytest.mark.parametrize("name", ["tdx", "tpm", "tdx direct"])
def test_another_command_line_is_named(name: str) -> None:
    difference = one(found(name, change(name, "load-options", load_options("other"))))
    words = "the kernel command line is not the one of this release"
    if name != "tdx direct":
        words = "the kernel got another command line than the one inside the UKI"
    assert difference.meaning == words
    assert difference.why.cause == "the kernel command line is not the one of this release"
    assert "lacks an event: kernel command line" in one(found(name, drop(name, "load-options"))).meaning


def test_a_command_line_where_none_is_expected_is_named() -> None:
    expected = [event for event in boot_logs.machine("tdx")[0] if event.role != "load-options"]
    assert "got a command line, and none is expected" in one(compare(expected, boot_logs.machine("tdx")[1])).meaning


@pytest.mark.parametrize("name", ["tdx", "tpm"])
def test_load_options_of_the_host_are_the_attack(name: str) -> None:
    text = measured(12, EventType.EV_IPL, "evil\0".encode("utf-16-le"))

    def edit(events: list[LogEvent]) -> None:
        change(name, "load-options", load_options("evil"))(events)
        insert(name, "load-options", text)(events)

    comparison = found(name, edit)
    assert [(d.role, d.attack) for d in comparison.differences] == [
        ("override", "load-options"),
        ("load-options", "load-options"),
    ]
    assert cause(comparison) == 'load options given by the host replaced the kernel command line: "evil"'


@pytest.mark.parametrize("name", ["tdx", "tpm"])
@pytest.mark.parametrize(
    ("label", "register", "role", "attack"),
    [
        ("Credentials initrd", 12, "credentials", "esp-credential"),
        ("Global credentials initrd", 12, "credentials", "esp-credential"),
        ("System extension initrd", 13, "extension", "esp-extension"),
    ],
)
def test_files_on_the_esp_are_the_attack(name: str, label: str, register: int, role: str, attack: str) -> None:
    event = measured(register, EventType.EV_IPL, b"archive")
    more = LogEvent(register, event.type, event.digests, f"{label}\0".encode("utf-16-le"))
    difference = one(found(name, insert(name, "load-options", more)))
    assert (difference.role, difference.attack) == (role, attack)


@pytest.mark.parametrize("name", ["tdx disk", "tpm"])
def test_an_addon_that_adds_to_the_command_line_is_the_attack(name: str) -> None:
    addon = LogEvent(4, APPLICATION, measured(4, 0, b"addon").digests, image_data(file("\\x.addon.efi")))
    text = measured(12, EventType.EV_IPL, "x=1\0".encode("utf-16-le"))
    comparison = found(name, insert(name, "image:kernel", addon, text))
    assert {d.attack for d in comparison.differences} == {"esp-addon"}
    assert 'an addon on the ESP added "x=1"' in {d.role: d.meaning for d in comparison.differences}["override"]


@pytest.mark.parametrize("register", ["pcr12", "pcr13"])
def test_what_is_expected_from_outside_and_missing_has_plain_words(register: str) -> None:
    wanted = ExpectedEvent(
        register, EventType.EV_IPL, {"sha256": bytes(32), "sha384": bytes(48)}, "addon", "-", "override"
    )
    expected, log = boot_logs.machine("tpm")
    assert one(compare((*expected, wanted), log)).meaning == f"{register} lacks an event: addon"


def test_without_a_variable_nothing_is_known_of_secure_boot() -> None:
    comparison = found("tpm", drop("tpm", "image:kernel", "variable:SecureBoot"))
    said = {d.role: d.why for d in comparison.differences}
    assert not said["image:kernel"].recomputed


def test_what_both_logs_have_from_outside_is_no_cause() -> None:
    text = measured(12, EventType.EV_IPL, "x=1\0".encode("utf-16-le"))
    for name in ("tdx", "tpm"):
        _, log = boot_logs.machine(name)
        events = list(log.events)
        insert(name, "load-options", text)(events)
        expected = expected_from_log(replace(log, events=tuple(events)))
        initrd = next(i for i, role in enumerate(roles(replace(log, events=tuple(events)))) if role == "initrd")
        events[initrd] = other_digest(events[initrd])
        difference = one(compare(expected, replace(log, events=tuple(events))))
        assert difference.attack is None
        assert difference.meaning.startswith("the initrd is not the one")


@pytest.mark.parametrize("name", ["tdx", "tpm"])
def test_sections_that_differ_are_named(name: str) -> None:
    assert "content of section .osrel differs" in one(found(name, change(name, "section:.osrel", b"x"))).meaning
    more = measured(11, EventType.EV_IPL, b".ucode\0")
    event = LogEvent(11, EventType.EV_IPL, more.digests, ".ucode\0".encode("utf-16-le"))
    assert "a section that this build has not" in one(found(name, insert(name, "load-options", event))).meaning
    assert "lacks an event: name of section .osrel" in one(found(name, drop(name, "section-name:.osrel"))).meaning


def test_a_log_without_any_section_is_of_an_old_stub_or_of_no_uki() -> None:
    sections = {event.role for event in boot_logs.machine("tdx")[0] if event.role.startswith("section")}
    comparison = found("tdx", drop("tdx", *sections))
    assert {d.role for d in comparison.differences} == sections
    assert cause(comparison).startswith("the log has no section of a UKI: its stub is older than 256")


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
