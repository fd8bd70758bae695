"""Roles: those of a log are those of its prediction, whatever the machine; and odd data never fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.compare.roles import are_akin, is_vague, roles
from pluto_measure.digests import digest
from pluto_measure.formats import eventlog, logs, uefi
from pluto_measure.formats.eventlog import CEL_CONTENT, EventLog, EventType, LogEvent
from pluto_measure.predict.events import CALLING, EXIT_DONE
from simulators import boot_logs
from simulators.boot_logs import BLOCK, MACHINES, PARTITION, ROOT, file, image_data, media, tagged
from simulators.event_logs import SHELL, firmware_application, log_of, measured

TIMEOUT = uefi.Variable(bytes(16), "Timeout", b"").encode()


def role_of(event: LogEvent, *, kind: str = "tpm") -> str:
    """The role of an event that stands alone in its log."""
    return roles(EventLog("cc" if kind == "cc" else "tpm", ("sha256",), (event,)))[0]


@pytest.mark.parametrize("name", MACHINES)
def test_a_log_has_the_roles_that_its_prediction_has(name: str) -> None:
    expected, log = boot_logs.machine(name)
    assert roles(log) == ("note", *(event.role for event in expected))


def test_roles_of_a_real_direct_boot(vectors: Path) -> None:
    log = eventlog.parse((vectors / "measure/ccel/qemu-ubuntu2510-direct.ccel.bin").read_bytes())
    given_roles = [(log.register(event), role) for event, role in zip(log.events, roles(log), strict=True)]
    assert given_roles[1:] == [
        ("rtmr0", "td-hob"),
        ("rtmr0", "cfv"),
        *(("rtmr0", f"variable:{variable}") for variable in ("SecureBoot", "PK", "KEK", "db", "dbx")),
        ("rtmr0", "separator:secure-boot"),
        ("rtmr0", "acpi:loader"),
        ("rtmr0", "acpi:rsdp"),
        ("rtmr0", "acpi:tables"),
        ("rtmr1", "image:kernel"),
        ("rtmr0", "boot-order"),
        ("rtmr0", "boot-option:0000"),
        ("rtmr1", "calling"),
        ("rtmr1", "separator:ready"),
        ("rtmr2", "load-options"),
        ("rtmr2", "initrd"),
        ("rtmr1", "exit-invoked"),
        ("rtmr1", "exit-done"),
    ]


def test_roles_of_real_machines_of_other_kinds(vectors: Path) -> None:
    def of(path: str) -> set[str]:
        return set(roles(logs.parse((vectors / path).read_bytes())))

    google = of("measure/ccel/trustee-CCEL_data_gcp")
    assert {"image:uki", "image:kernel", "gpt", "boot-option:0001"} <= google
    grub = of("measure/ccel/gcp-cos113.ccel.bin")
    assert {"shim:MokList", "grub:command", "grub:file", "authority:SbatLevel", "image:file"} <= grub
    old = of("measure/ccel/goeventlog-event_log.bin")
    assert {"acpi:loader", "acpi:rsdp", "acpi:tables", "post-code", "config:DirectBoot Command Line"} <= old
    tpm = of("qemu-swtpm/neg-esp-credential-sidecar/binary_bios_measurements")
    assert {"acpi:tpmLog", "driver:option-rom", "credentials", "firmware-volume", "firmware-version"} <= tpm
    dstack = of("measure/ccel/dstack-lite-getquote.json")
    assert {"variable:SecureBoot", "acpi:tables", "boot-order", "load-options", "initrd", "image"} <= dstack
    assert "tag:0x4141454c" in of("measure/ccel/trustee-CCEL_AAEL_alibabacloud")


def test_a_log_without_data_has_roles_by_place() -> None:
    expected, log = boot_logs.machine("tdx")
    bare = replace(log, events=tuple(LogEvent(e.index, e.type, e.digests, b"") for e in log.events))
    named = dict(zip(roles(bare)[1:], (event.role for event in expected), strict=True))
    for role in ("variable:db", "boot-order", "acpi:tables", "load-options", "initrd", "calling", "exit-done"):
        assert named[role] == role
    many = log_of(LogEvent(9, EventType.EV_EVENT_TAG, {"sha256": bytes(32)}, b"") for _ in range(3))
    assert roles(many) == ("load-options", "initrd", "tag")
    assert role_of(LogEvent(4, EventType.EV_PLATFORM_CONFIG_FLAGS, {}, b"")) == "config"


def test_an_action_is_told_by_its_digest_before_its_text() -> None:
    lie = LogEvent(4, EventType.EV_EFI_ACTION, {"sha256": digest("sha256", CALLING)}, EXIT_DONE)
    assert role_of(lie) == "calling"
    assert role_of(LogEvent(4, EventType.EV_EFI_ACTION, {"sha256": bytes(32)}, EXIT_DONE)) == "exit-done"
    assert role_of(measured(4, EventType.EV_EFI_ACTION, b"other")) == "action"


@pytest.mark.parametrize(
    ("event", "role"),
    [
        (measured(1, EventType.EV_EFI_HANDOFF_TABLES2, b"\x0cSmbiosTable\0"), "smbios"),
        (measured(1, EventType.EV_EFI_HANDOFF_TABLES, b""), "smbios"),
        (measured(7, EventType.EV_SEPARATOR, bytes(4)), "separator:secure-boot"),
        (measured(6, EventType.EV_SEPARATOR, bytes(4)), "separator:ready"),
        (measured(0, EventType.EV_S_CRTM_CONTENTS, b""), "firmware-contents"),
        (measured(0, EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB, b""), "firmware-volume"),
        (measured(3, EventType.EV_EFI_RUNTIME_SERVICES_DRIVER, b""), "driver:runtime"),
        (measured(2, EventType.EV_EFI_BOOT_SERVICES_DRIVER, b""), "driver"),
        (measured(2, EventType.EV_EFI_BOOT_SERVICES_DRIVER, image_data(file("x"))), "driver"),
        (measured(2, EventType.EV_EFI_BOOT_SERVICES_DRIVER, firmware_application(SHELL, b"").data), "driver:firmware"),
        (measured(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, b""), "image"),
        (measured(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image_data()), "image:memory"),
        (measured(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image_data(file("a.ADDON.EFI"))), "image:addon"),
        (firmware_application(SHELL, b""), "image:firmware"),
        (measured(11, EventType.EV_IPL, "enter-initrd\0".encode("utf-16-le")), "phase:enter-initrd"),
        (measured(9, EventType.EV_IPL, b"/boot/vmlinuz"), "grub:file"),
        (measured(8, EventType.EV_IPL, b"kernel_cmdline: x"), "grub:kernel"),
        (measured(12, EventType.EV_IPL, "x=1\0".encode("utf-16-le")), "override"),
        (measured(9, EventType.EV_IPL, "x=1\0".encode("utf-16-le")), "ipl"),
        (measured(13, EventType.EV_IPL, b"Configuration extension initrd"), "extension"),
        (measured(9, EventType.EV_EVENT_TAG, b"LOADED_IMAGE::LoadOptions\0"), "load-options"),
        (measured(9, EventType.EV_EVENT_TAG, b"??"), "tag"),
        (measured(1, EventType.EV_EVENT_TAG, tagged(0xD5CB7CBC, b"")), "smbios:type1"),
        (measured(5, EventType.EV_EVENT_TAG, tagged(0xF5BC582A, b"")), "tag:0xf5bc582a"),
        (measured(1, EventType.EV_PLATFORM_CONFIG_FLAGS, b"etc/acpi/rsdp\0"), "acpi:rsdp"),
        (measured(1, EventType.EV_PLATFORM_CONFIG_FLAGS, b"td_hob\0\0\0"), "td-hob"),
        (measured(1, EventType.EV_EFI_VARIABLE_BOOT, TIMEOUT), "boot-variable:Timeout"),
        (measured(7, EventType.EV_EFI_VARIABLE_AUTHORITY, b"x"), "authority"),
        (measured(1, EventType.EV_EFI_GPT_EVENT2, b""), "gpt"),
        (measured(1, EventType.EV_NONHOST_INFO, b""), "event:EV_NONHOST_INFO"),
        (measured(1, 0x7777, b""), "event:0x00007777"),
        (measured(1, CEL_CONTENT + 80, b""), "run-time:80"),
    ],
)  # fmt: skip
def test_every_kind_of_event_has_a_role(event: LogEvent, role: str) -> None:
    assert role_of(event) == role


def test_the_first_image_of_a_disk_is_what_was_to_boot_and_others_are_not() -> None:
    disk = measured(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image_data(ROOT, BLOCK, PARTITION, file("a")))
    assert roles(log_of([disk, disk])) == ("image:uki", "image:disk")
    given_image = measured(
        4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image_data(media("1428f772-b64a-441e-b8c3-9ebdd7f893c7"))
    )
    assert roles(log_of([given_image, given_image])) == ("image:kernel", "image:disk")
    inside = measured(
        4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image_data(media("55c5d1f8-04cd-46b5-8a20-e56cbb3052d0"))
    )
    assert roles(log_of([given_image, inside])) == ("image:uki", "image:kernel")


@pytest.mark.parametrize("digests", ["right", "wrong"])
def test_a_section_is_its_name_and_then_its_content(digests: str) -> None:
    def event(name: str, content: bytes) -> LogEvent:
        measured_part = content if digests == "right" else b"?" + content
        return LogEvent(11, EventType.EV_IPL, measured(11, 13, measured_part).digests, f"{name}\0".encode("utf-16-le"))

    pairs = [event(name, content) for name in (".osrel", ".uname") for content in (f"{name}\0".encode(), b"x")]
    assert roles(log_of(pairs)) == ("section-name:.osrel", "section:.osrel", "section-name:.uname", "section:.uname")
    assert roles(log_of([event(".osrel", b"x")])) == ("section:.osrel",)


def test_acpi_blobs_are_named_by_their_place() -> None:
    def run(count: int) -> tuple[str, ...]:
        return roles(log_of(measured(1, EventType.EV_PLATFORM_CONFIG_FLAGS, b"ACPI DATA") for _ in range(count)))

    assert run(3) == ("acpi:loader", "acpi:rsdp", "acpi:tables")
    assert run(4) == ("acpi:loader", "acpi:rsdp", "acpi:tpmLog", "acpi:tables")
    assert run(5) == ("acpi:loader", "acpi:rsdp", "acpi:tables", "acpi:more", "acpi:more")


def test_what_is_vague_may_stand_for_more() -> None:
    assert is_vague("image")
    assert not is_vague("image:uki")
    assert are_akin("image:uki", "image")
    assert are_akin("image:uki", "image:disk")
    assert are_akin("somebody's own", "initrd")
    assert not are_akin("image:uki", "image:firmware")
    assert not are_akin("variable:PK", "variable:KEK")


@given(
    st.lists(
        st.builds(
            measured, st.integers(0, 23), st.sampled_from([*map(int, EventType), 0x7777]), st.binary(max_size=60)
        ),
        max_size=6,
    )
)
def test_any_log_has_printable_roles(logged: list[LogEvent]) -> None:
    for kind in ("tpm", "cc"):
        found = roles(EventLog("tpm" if kind == "tpm" else "cc", ("sha256", "sha384"), tuple(logged)))
        assert len(found) == len(logged)
        assert all(role and role.isprintable() for role in found)
