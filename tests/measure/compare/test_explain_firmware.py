"""What differences in the firmware's part of a log mean: each cause is put into a log, and its words come out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluto_measure.compare.difference import compare, expected_from_log
from pluto_measure.compare.roles import roles
from pluto_measure.digests import Digests
from pluto_measure.formats import uefi
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.machine.platform import Platform, SecureBoot
from pluto_measure.predict import predict
from pluto_measure.predict.events import SEPARATOR
from simulators import boot_logs
from simulators.boot_logs import (
    BLOCK,
    GOOGLE,
    MACHINES,
    ROOT,
    TDX,
    TDX_DISK,
)
from simulators.edited_logs import against, append, at, cause, change, drop, found, insert, one, other_digest
from simulators.event_logs import measured
from simulators.launches import LAUNCH

# --- memory, firmware, VMM: RTMR[0] and PCR 1


@pytest.mark.parametrize(("gib", "words"), [(4, "4 GiB"), (1, "1 GiB"), (3, "3 GiB"), (96, "96 GiB"), (512, "512 GiB")])
def test_another_memory_size_is_computed(gib: int, words: str) -> None:
    comparison = against((LAUNCH, TDX), (LAUNCH, replace(TDX, memory=gib << 30)))
    difference = one(comparison)
    assert (difference.register, difference.index, difference.role) == ("rtmr0", 1, "td-hob")
    assert cause(comparison) == f"memory is {words}, not 2 GiB"
    assert difference.meaning.startswith(f"memory is {words}, not 2 GiB: the TD HOB is the one that QEMU writes")
    assert comparison.cause is not None
    assert comparison.cause.hint == f"predict with --memory {gib}G"
    assert comparison.explainable == ("rtmr0", "rtmr1", "rtmr2")


def test_memory_is_found_between_two_logs_of_a_published_firmware_layout() -> None:
    logs = [boot_logs.honest(predict(LAUNCH, one), one) for one in (TDX, replace(TDX, memory=768 << 20))]
    comparison = compare(expected_from_log(logs[0]), logs[1], ours="the expected log")
    assert cause(comparison) == "memory is 768 MiB, not 2 GiB"


def test_memory_of_no_usual_size_is_no_guess() -> None:
    comparison = against((LAUNCH, TDX), (LAUNCH, replace(TDX, memory=(2 << 30) + 4096 * 5)))
    assert "is not that of any usual size" in one(comparison).meaning
    assert comparison.explainable == ("rtmr1", "rtmr2")


def test_the_same_memory_in_another_layout_is_another_firmware() -> None:
    sections = tuple(
        replace(section, address=0x810000, memory_size=0x10000) if section.address == 0x811000 else section
        for section in boot_logs.SECTIONS
    )
    other = replace(TDX, firmware=replace(boot_logs.FIRMWARE, sections=sections))
    comparison = against((LAUNCH, TDX), (LAUNCH, other))
    assert "that of 2 GiB, as expected, but of firmware with another layout: IntelTdxX64" in one(comparison).meaning
    assert cause(comparison) == "the firmware is another one"
    both = against((LAUNCH, TDX), (LAUNCH, replace(other, memory=8 << 30)))
    assert cause(both) == "memory is 8 GiB, not 2 GiB"
    assert "(firmware layout: IntelTdxX64" in one(both).meaning


def test_a_machine_of_google_is_told_from_qemu_and_the_reverse() -> None:
    google = against((LAUNCH, TDX_DISK), (LAUNCH, GOOGLE))
    assert cause(google).startswith("the machine is one of Google's, with 16 GiB of memory")
    qemu = against((LAUNCH, GOOGLE), (LAUNCH, TDX_DISK))
    assert cause(qemu).startswith("the machine is a QEMU, with 2 GiB of memory")
    assert qemu.differences[0].meaning.startswith("the TD HOB is one that QEMU writes, for 2 GiB")


def test_without_a_td_hob_the_firmware_is_no_newer_one() -> None:
    assert "no TD HOB is measured" in one(found("tdx", drop("tdx", "td-hob"))).meaning
    hob_event = measured(1, EventType.EV_EFI_HANDOFF_TABLES2, b"\x09TdxTable\0")
    assert (
        "the machine is a trust domain"
        in one(found("tpm firmware", insert("tpm firmware", "acpi:loader", hob_event))).meaning
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0x84000, "of a 4 MiB build of OVMF"),
        (0x20000, "of a 2 MiB build, such as Google's"),
        (0x40000, "of firmware of 2022"),
        (5, None),
    ],
)
def test_a_variable_store_is_named_by_its_size(size: int, words: str | None) -> None:
    data = b"\x03Fv\0" + bytes(8) + size.to_bytes(8, "little")
    difference = one(found("tdx", change("tdx", "cfv", b"other", data)))
    assert (f"as the log says by its size, one {words}" if words else "(CFV) differs; ") in difference.meaning
    assert difference.why.cause == "the firmware is another one"
    assert "rtmr0 lacks an event: variable store" in one(found("tdx", drop("tdx", "cfv"))).meaning


def test_a_variable_store_that_is_known_is_named() -> None:
    log = boot_logs.machine("tdx")
    events = list(log[1].events)
    store = bytes.fromhex("344bc51c980ba621") + bytes(40)
    events[2] = LogEvent(1, events[2].type, {"sha384": store}, b"")
    difference = one(compare(log[0], replace(log[1], events=tuple(events))))
    assert "it is the empty one of 4 MiB builds of OVMF" in difference.meaning


def test_settings_and_smbios_tell_the_firmware_generation() -> None:
    newer, older = MACHINES["tdx newer"], (LAUNCH, replace(TDX, boot_variables=boot_logs.OPTIONS))
    comparison = against(older, newer)
    assert {d.role.partition(":")[0] for d in comparison.differences} == {"fw-cfg", "smbios"}
    assert cause(comparison) == "the firmware is edk2 202505 or newer"
    comparison = against(newer, older)
    assert {d.kind for d in comparison.differences} == {"missing"}
    assert cause(comparison) == "the firmware is older than edk2 202505"
    for role, words in (
        ("fw-cfg:BootMenu", "the VMM's setting BootMenu differs"),
        ("smbios", "another model of the host's CPU"),
    ):
        assert words in one(found("tdx newer", change("tdx newer", role, b"x"))).meaning


def test_the_separator_tells_the_firmware_generation() -> None:
    comparison = against((LAUNCH, TDX), (LAUNCH, boot_logs.OLDER))
    assert {(d.register, d.kind, d.role) for d in comparison.differences} == {
        ("rtmr1", "missing", "separator:ready"),
        ("rtmr0", "unexpected", "separator:ready"),
    }
    assert cause(comparison) == "the firmware is older than edk2 202411"
    assert comparison.explainable == ("rtmr0", "rtmr1", "rtmr2")
    assert cause(against((LAUNCH, boot_logs.OLDER), (LAUNCH, TDX))) == "the firmware is edk2 202411 or newer"


def test_a_second_separator_is_no_firmware_generation() -> None:
    separator = measured(1, EventType.EV_SEPARATOR, SEPARATOR)
    difference = one(found("google", append("google", separator)))
    assert "some builds of Google's firmware measure it into both" in difference.meaning
    more = [measured(pcr, EventType.EV_SEPARATOR, SEPARATOR) for pcr in (1, 2, 3, 4)]
    assert cause(found("tdx", append("tdx", *more))) == "the firmware is of 2022 or older"
    assert "rtmr1 lacks an event" in one(found("tdx", drop("tdx", "separator:ready"))).meaning
    assert (
        "ended a phase with an error"
        in one(found("tdx", change("tdx", "separator:ready", b"\1\0\0\0", b"\1\0\0\0"))).meaning
    )
    assert (
        "pcr6 has an event that nobody expects: separator"
        in one(found("tpm", append("tpm", measured(6, EventType.EV_SEPARATOR, SEPARATOR)))).meaning
    )


@pytest.mark.parametrize("name", ["tdx", "tpm firmware"])
def test_acpi_of_another_machine_is_one_cause(name: str) -> None:
    def edit(events: list[LogEvent]) -> None:
        for blob in ("loader", "rsdp", "tables"):
            change(name, f"acpi:{blob}", b"other")(events)

    comparison = found(name, edit)
    assert [d.role for d in comparison.differences] == ["acpi:loader", "acpi:rsdp", "acpi:tables"]
    assert cause(comparison) == "the ACPI tables are of another machine (vCPUs, devices, QEMU version or machine type)"
    assert comparison.cause is not None
    assert "acpi harvest" in str(comparison.cause.hint)


def test_acpi_that_is_not_on_the_list_is_said_so() -> None:
    other = replace(boot_logs.TABLES, blobs={**boot_logs.TABLES.blobs, "tables": Digests.of(b"second")})
    machine = (LAUNCH, replace(GOOGLE, acpi=(boot_logs.TABLES, other)))
    third = replace(GOOGLE, acpi=(replace(other, blobs={**other.blobs, "tables": Digests.of(b"third")}),))
    comparison = against(machine, (LAUNCH, third))
    assert "ACPI tables is none of the 2 that are allowed" in one(comparison).meaning
    assert comparison.cause is not None
    assert "allow this digest" in str(comparison.cause.hint)
    for tables in (boot_logs.TABLES, other):
        assert against(machine, (LAUNCH, replace(GOOGLE, acpi=(tables,)))).differences == ()


def test_a_tpm_that_is_there_or_not_is_told_by_its_table() -> None:
    expected, log = boot_logs.machine("tpm firmware")
    without = [event for event in expected if event.role != "acpi:tpmLog"]
    assert one(compare(without, log)).meaning.startswith("the machine has a TPM")
    assert one(found("tpm firmware", drop("tpm firmware", "acpi:tpmLog"))).meaning.startswith("the machine has no TPM")
    assert "rtmr0 lacks an event: ACPI tables" in one(found("tdx", drop("tdx", "acpi:tables"))).meaning


def test_boot_options_are_read() -> None:
    disk = against((LAUNCH, TDX), (LAUNCH, replace(TDX_DISK, acpi=TDX.acpi)))
    said = {d.role: d.meaning for d in disk.differences if d.register == "rtmr0"}
    assert said["boot-order"].startswith("BootOrder is 0001 0000 0002, not 0000: ")
    assert said["boot-option:0001"].startswith(
        "there is one more boot option, Boot0001: UEFI Misc Device (PciRoot(0)/Pci(2,0))"
    )
    assert "Boot0002: the UEFI shell, EFI Internal Shell (Fv(" in said["boot-option:0002"]
    assert "rtmr0" in disk.explainable
    kernel = against((LAUNCH, TDX_DISK), (LAUNCH, TDX))
    said = {d.role: d.meaning for d in kernel.differences if d.register == "rtmr0"}
    assert said["boot-option:0001"].startswith("Boot0001 (UEFI Misc Device (PciRoot(0)/Pci(2,0))) is missing")


def option(number: str, content: bytes) -> LogEvent:
    data = uefi.Variable(uefi.GLOBAL_VARIABLE, f"Boot{number}", content).encode()
    return LogEvent(1, EventType.EV_EFI_VARIABLE_BOOT, measured(1, 0, content).digests, data)


def load_option(description: str, *path: uefi.PathNode) -> bytes:
    encoded = uefi.encode_path(path)
    return b"\1\0\0\0" + len(encoded).to_bytes(2, "little") + f"{description}\0".encode("utf-16-le") + encoded


@pytest.mark.parametrize("name", ["tdx", "tpm firmware"])
def test_a_network_card_shows_in_the_boot_options(name: str) -> None:
    mac = uefi.PathNode(3, 11, bytes(33))
    more = option("0003", load_option("UEFI PXEv4", ROOT, BLOCK, mac))
    difference = one(found(name, insert(name, "calling", more)))
    assert (difference.role, difference.why.is_understood) == ("boot-option:0003", True)
    assert "boots from the network: the machine has a NIC" in difference.meaning


def test_boot_options_whose_content_is_not_proven_are_not_read() -> None:
    for role, words in (
        ("boot-order", "BootOrder differs, and the log does not prove"),
        ("boot-option:0000", "Boot0000 differs, and"),
    ):
        difference = one(found("tdx", change("tdx", role, b"other")))
        assert words in difference.meaning
        assert not difference.why.is_understood
    odd = uefi.Variable(uefi.GLOBAL_VARIABLE, "Boot0000", b"?").encode()
    difference = one(found("tdx", change("tdx", "boot-option:0000", b"?", odd)))
    assert "Boot0000 is 1 bytes that are no boot option, not UiApp" in difference.meaning
    assert "rtmr0 lacks an event: variable BootOrder" in one(found("tdx", drop("tdx", "boot-order"))).meaning
    unknown = one(found("tdx newer", drop("tdx newer", "boot-option:0001")))
    assert unknown.meaning.startswith("Boot0001 is missing: ")


def test_boot_variables_in_rtmr1_are_of_old_firmware() -> None:
    def edit(events: list[LogEvent]) -> None:
        for role in ("boot-order", "boot-option:0000"):
            where = at("tdx", role)
            events[where] = LogEvent(2, events[where].type, events[where].digests, events[where].data)

    comparison = found("tdx", edit)
    assert {d.register for d in comparison.differences} == {"rtmr0", "rtmr1"}
    assert cause(comparison) == "the firmware is of 2022 or older"
    assert comparison.explainable == ("rtmr0", "rtmr1", "rtmr2")


# --- Secure Boot


@pytest.mark.parametrize("platform", [TDX, Platform()])
@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [("absent", "off", "off, not absent"), ("off", "absent", "absent from the firmware, not off")],
)
def test_the_state_of_secure_boot_is_computed(platform: Platform, ours: str, theirs: str, words: str) -> None:
    machines = [(LAUNCH, replace(platform, secure_boot=SecureBoot(state))) for state in (ours, theirs)]
    comparison = against(machines[0], machines[1])
    assert one(comparison).role == "variable:SecureBoot"
    assert cause(comparison).startswith(f"Secure Boot is {words}")
    assert comparison.cause is not None
    assert comparison.cause.hint == f"predict with --secure-boot {theirs}"


def signed(platform: Platform, *entries: bytes) -> Platform:
    """With Secure Boot on and these entries in db."""
    lists = b"".join(
        uefi.X509_SIGNATURE
        + (28 + 16 + len(e)).to_bytes(4, "little")
        + bytes(4)
        + (16 + len(e)).to_bytes(4, "little")
        + bytes(16)
        + e
        for e in entries
    )
    return replace(platform, secure_boot=SecureBoot("on", {"PK": b"pk", "KEK": b"kek", "db": lists}))


@pytest.mark.parametrize("platform", [TDX, Platform()])
def test_with_secure_boot_on_the_kernel_is_not_measured(platform: Platform) -> None:
    comparison = against((LAUNCH, replace(platform, secure_boot=SecureBoot("off"))), (LAUNCH, signed(platform, b"key")))
    said = {d.role: d for d in comparison.differences}
    assert "Secure Boot is on, or the stub is 258 or newer" in said["image:kernel"].meaning
    assert said["image:kernel"].why.cause == "Secure Boot is on"
    assert "which this profile does not expect" in said["authority:db"].meaning
    assert "the keys of Secure Boot" in said["variable:db"].why.cause
    assert cause(comparison).startswith("Secure Boot is on, not off")
    back = against((LAUNCH, signed(platform, b"key")), (LAUNCH, replace(platform, secure_boot=SecureBoot("off"))))
    said = {d.role: d for d in back.differences}
    assert "the kernel inside the UKI was measured: Secure Boot is off" in said["image:kernel"].meaning
    assert "no image was checked against" in said["authority:db"].meaning
    assert said["variable:PK"].why.recomputed


def test_another_key_than_expected_checked_the_image() -> None:
    two = signed(TDX, b"key", b"other")
    comparison = against((LAUNCH, two), (LAUNCH, two))
    assert comparison.differences == ()
    expected = predict(LAUNCH, two)
    log = boot_logs.honest(expected, two)
    where = roles(log).index("authority:db")
    events = [*log.events[:where], other_digest(log.events[where]), *log.events[where + 1 :]]
    assert "with another entry of db" in one(compare(expected, replace(log, events=tuple(events)))).meaning


def test_secure_boot_in_a_state_of_its_own_is_only_said_to_differ() -> None:
    difference = one(found("tdx", change("tdx", "variable:SecureBoot", b"?")))
    assert difference.why.cause == "Secure Boot is set up otherwise"
    assert "rtmr0 lacks an event: variable PK" in one(found("tdx", drop("tdx", "variable:PK"))).meaning
