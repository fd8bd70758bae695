"""Where logs part, and what it means: recorded attacks, the shell, other machines, other builds, hostile logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.compare.difference import (
    Difference,
    differences,
    event_json,
    expected_from_log,
    first_difference,
)
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, uefi
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.machine.platform import Platform, SecureBoot
from pluto_measure.measurements import Profile, profile_for
from pluto_measure.predict import events, predict
from pluto_measure.predict.stub import load_options
from simulators import recorded_boots
from simulators.event_logs import SHELL, UI_APP, firmware_application, log_of, measured, of_expected
from simulators.launches import LAUNCH

LINE = LAUNCH.command_line
DISK, KERNEL = (profile_for(LAUNCH, Platform(boot=boot)) for boot in ("disk", "uki-kernel"))
CALLING = measured(4, EventType.EV_EFI_ACTION, events.CALLING)
RETURNING = measured(4, EventType.EV_EFI_ACTION, events.RETURNING)
APPLICATION = EventType.EV_EFI_BOOT_SERVICES_APPLICATION


def found(profile: Profile, log: EventLog) -> tuple[Difference, ...]:
    line = profile.inputs["commandLine"]
    assert isinstance(line, str)
    return differences(profile.events, log, profile.logged, command_line=line)


def honest(profile: Profile) -> list[LogEvent]:
    return of_expected(profile.events)


def at(log: Sequence[LogEvent], index: int, digest: Digests | None) -> int:
    """The position of the event with that digest."""
    assert digest is not None
    return next(i for i, e in enumerate(log) if e.index == index and e.digests["sha256"] == digest.sha256)


def with_options(profile: Profile, line: str, *more: LogEvent) -> EventLog:
    """A log in which the kernel got another command line."""
    log = honest(profile)
    place = at(log, 9, Digests.of(load_options(LINE)))
    tag = (0x8F3B22ED).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"x"
    log[place] = LogEvent(9, EventType.EV_EVENT_TAG, measured(9, 6, load_options(line)).digests, tag)
    return log_of([*log[:place], *more, *log[place:]])


def test_an_honest_log_has_no_difference() -> None:
    assert found(DISK, log_of(honest(DISK))) == found(KERNEL, log_of(honest(KERNEL))) == ()


@pytest.mark.parametrize("folder", recorded_boots.FOLDERS)
def test_a_recorded_boot_differs_by_its_option_rom_and_its_attack(vectors: Path, folder: str) -> None:
    profile = profile_for(recorded_boots.launch(vectors), recorded_boots.platform(vectors, folder))
    got = found(profile, recorded_boots.log(vectors, folder))
    if folder != "tx-crb-nvme-no-option-rom":
        assert (got[0].register, got[0].nth, got[0].expected, got[0].attack) == ("pcr2", 0, None, None)
        assert "option ROM" in got[0].meaning
        got = got[1:]
    attack = recorded_boots.ATTACKS.get(folder)
    assert [(d.register, d.attack) for d in got] == ([("pcr12", attack), ("pcr9", attack)] if attack else [])


def test_the_words_for_recorded_attacks_name_what_the_host_did(vectors: Path) -> None:
    launch = recorded_boots.launch(vectors)
    words = {}
    for folder, attack in recorded_boots.ATTACKS.items():
        profile = profile_for(launch, recorded_boots.platform(vectors, folder))
        got = found(profile, recorded_boots.log(vectors, folder))
        words[attack] = next(d.meaning for d in got if d.register == "pcr12")
    assert words["smbios-command-line"].startswith('the host added "systemd.debug_shell=1" to the kernel command line')
    assert "credential file lies beside the UKI on the ESP" in words["esp-credential"]
    assert "load options given by the host replaced the kernel command line" in words["load-options"]


def shell_from_the_menu() -> list[LogEvent]:
    """Disk boot: somebody entered the firmware's menu, then its shell, which started the genuine UKI."""
    log = honest(DISK)
    menu, shell = firmware_application(UI_APP, b"menu"), firmware_application(SHELL, b"shell")
    uki = at(log, 4, LAUNCH.uki_authenticode)
    return [menu, *log[:uki], shell, *log[uki:]]


def shell_over_serial() -> list[LogEvent]:
    """The shape that a real boot gave: a boot option was left, the shell started, and the shell started the UKI."""
    log = honest(DISK)
    uki = at(log, 4, LAUNCH.uki_authenticode)
    return [*log[:uki], RETURNING, CALLING, firmware_application(SHELL, b"shell"), *log[uki:]]


def another_boot_option_before() -> list[LogEvent]:
    log = honest(DISK)
    uki = at(log, 4, LAUNCH.uki_authenticode)
    return [*log[:uki], RETURNING, CALLING, *log[uki:]]


def shell_as_the_kernel() -> list[LogEvent]:
    """-kernel Shell.efi, and the shell starts the genuine UKI from a disk."""
    log = honest(KERNEL)
    uki = at(log, 4, LAUNCH.uki_authenticode)
    image = log.pop(uki)
    separator = max(i for i, e in enumerate(log) if e.type == EventType.EV_SEPARATOR)
    path = uefi.encode_path((uefi.PathNode(4, 4, "shell.efi\0".encode("utf-16-le")),))
    data = bytes(24) + len(path).to_bytes(8, "little") + path
    stranger = LogEvent(4, APPLICATION, measured(4, APPLICATION, b"shell").digests, data)
    return [stranger, *log[: separator + 1], image, *log[separator + 1 :]]


@pytest.mark.parametrize(
    ("profile", "log", "names"),
    [
        (DISK, shell_from_the_menu(), ["UiApp", "the UEFI shell"]),
        (DISK, shell_over_serial(), ["(the log names the UEFI shell; a boot option that ran and returned;"]),
        (DISK, another_boot_option_before(), ["a boot option that ran and returned; a further boot option"]),
        (KERNEL, shell_as_the_kernel(), ["File(shell.efi)"]),
    ],
)
def test_a_shell_started_before_the_genuine_uki_is_named(
    profile: Profile, log: list[LogEvent], names: list[str]
) -> None:
    got = found(profile, log_of(log))
    assert [(d.register, d.attack) for d in got] == [("pcr4", "foreign-application")]
    assert all(name in got[0].meaning for name in names)
    assert "proves nothing" in got[0].meaning


def test_a_disk_boot_of_the_genuine_uki_is_no_attack_but_differs_from_a_kernel_boot() -> None:
    got = found(KERNEL, log_of(honest(DISK)))
    assert [(d.register, d.attack) for d in got] == [("pcr4", None), ("pcr5", None)]
    assert "another order" in got[0].meaning
    assert "from a disk" in got[1].meaning


def test_an_smbios_addition_is_told_from_a_replacement_even_without_the_command_line() -> None:
    text = measured(12, EventType.EV_IPL, "x=1\0".encode("utf-16-le"))
    added = with_options(KERNEL, f"{LINE} x=1", text)
    assert [d.attack for d in found(KERNEL, added)] == ["smbios-command-line"] * 2
    replaced = with_options(KERNEL, "x=1", text)
    assert [d.attack for d in found(KERNEL, replaced)] == ["load-options"] * 2
    first = first_difference(KERNEL.events, added, KERNEL.logged)
    assert first is not None
    assert (first.register, first.attack) == ("pcr12", "smbios-command-line")
    assert "as it seems" in first.meaning


def test_an_addon_and_an_extension_on_the_esp_are_named() -> None:
    path = uefi.encode_path((uefi.PathNode(4, 4, "\\x.efi.extra.d\\a.addon.efi\0".encode("utf-16-le")),))
    data = bytes(24) + len(path).to_bytes(8, "little") + path
    addon = LogEvent(4, APPLICATION, measured(4, APPLICATION, b"addon").digests, data)
    log = honest(DISK)
    kernel = at(log, 4, LAUNCH.kernel_authenticode)
    got = found(DISK, log_of([*log[:kernel], addon, *log[kernel:]]))
    assert [d.attack for d in got] == ["esp-addon"]
    extension = measured(13, EventType.EV_IPL, b"System extension initrd")
    assert [d.attack for d in found(DISK, log_of([*log, extension]))] == ["esp-extension"]


def changed(profile: Profile, register: int, old: Digests | None, new: bytes, data: bytes = b"") -> EventLog:
    log = honest(profile)
    place = at(log, register, old)
    event = log[place]
    log[place] = LogEvent(register, event.type, measured(register, event.type, new).digests, data)
    return log_of(log)


def test_ordinary_causes_have_words() -> None:
    cases = {
        "the UKI of this build was not started": changed(DISK, 4, LAUNCH.uki_authenticode, b"other"),
        "partition table differs": changed(DISK, 5, LAUNCH.gpt_event, b"grown"),
        "content of section .cmdline differs": changed(DISK, 11, Digests.of(b".cmdline"), b"debug"),
        "another command line than the one inside": with_options(DISK, "other"),
        "another initrd": changed(
            DISK, 9, LAUNCH.handed_initrd, b"x", bytes.fromhex("ec223b8f0d000000") + b"Linux initrd\0"
        ),
        "started without the stub": with_options(DISK, f"initrd=initrd {LINE}"),
    }
    for words, log in cases.items():
        got = found(DISK, log)
        assert len(got) == 1
        assert words in got[0].meaning
        assert got[0].attack is None


def test_a_kernel_that_was_not_measured_points_to_secure_boot_or_a_newer_stub() -> None:
    log = honest(DISK)
    del log[at(log, 4, LAUNCH.kernel_authenticode)]
    (difference,) = found(DISK, log_of(log))
    assert difference.actual is None
    assert "Secure Boot is on, or the stub is 258 or newer" in difference.meaning


def test_secure_boot_in_another_state_is_said_in_words() -> None:
    off = profile_for(LAUNCH, Platform(boot="disk", secure_boot=SecureBoot("off")))
    log = honest(off)
    place = next(i for i, event in enumerate(log) if event.index == 7)
    log[place] = measured(7, log[place].type, uefi.Variable(uefi.GLOBAL_VARIABLE, "SecureBoot", b"\0").encode())
    (difference,) = found(DISK, log_of(log))
    assert difference.register == "pcr7"
    assert "expected variable SecureBoot: absent, found variable SecureBoot: 1 bytes 00" in difference.meaning


def test_the_map_key_retry_of_newer_firmware_is_named() -> None:
    log = honest(DISK)
    retry = [measured(5, EventType.EV_EFI_ACTION, text) for text in (events.EXIT_FAILED, events.EXIT_INVOKED)]
    (difference,) = found(DISK, log_of([*log[:-1], *retry, log[-1]]))
    assert difference.register == "pcr5"
    assert difference.expected is None


@pytest.mark.parametrize("register", [f"pcr{i}" for i in (8, 12, 13, 14, 15, 16, 23)])
def test_an_event_in_a_register_that_must_stay_zero_is_a_difference(register: str) -> None:
    more = measured(int(register[3:]), EventType.EV_IPL, b"more")
    (difference,) = found(DISK, log_of([*honest(DISK), more]))
    assert (difference.register, difference.expected) == (register, None)


def test_another_type_with_the_same_digest_is_a_difference() -> None:
    log = honest(DISK)
    log[-1] = replace(log[-1], type=int(EventType.EV_IPL))
    assert [d.register for d in found(DISK, log_of(log))] == ["pcr5"]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_single_edit_of_a_log_is_found_in_its_register(data: st.DataObject) -> None:
    log = honest(DISK)
    place = data.draw(st.integers(0, len(log) - 1))
    event = log[place]
    match data.draw(st.sampled_from(["drop", "double", "change"])):
        case "drop":
            log.pop(place)
        case "double":
            log.insert(place, event)
        case _:
            log[place] = replace(event, digests=measured(event.index, event.type, b"?").digests)
    assert [d.register for d in found(DISK, log_of(log))] == [f"pcr{event.index}"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            measured,
            st.integers(0, 23),
            st.sampled_from([int(member) for member in EventType]),
            st.binary(max_size=40),
        ),
        max_size=8,
    )
)
def test_words_are_found_for_any_log_and_are_printable(logged: list[LogEvent]) -> None:
    for difference in differences(DISK.events, log_of(logged), command_line=LINE):
        assert difference.meaning.isprintable()
        assert difference.to_json()["meaning"] == difference.meaning


def test_a_log_of_many_strangers_gives_a_short_text() -> None:
    many = [measured(4, APPLICATION, bytes([n])) for n in range(200)]
    difference = first_difference(DISK.events, log_of([*many, *honest(DISK)]), DISK.logged)
    assert difference is not None
    assert "and 197 more" in difference.meaning


def test_a_log_without_a_common_bank_is_refused() -> None:
    with pytest.raises(FormatError, match="has sha1, and none of these is expected"):
        differences(DISK.events, EventLog("tpm", ("sha1",), ()))


def test_the_log_of_one_machine_can_be_expected_of_another(vectors: Path) -> None:
    folder = vectors / "measure/ccel"
    logs = [
        eventlog.parse((folder / f"qemu-ubuntu2510-direct{name}.ccel.bin").read_bytes())
        for name in ("", "-NEGATIVE-other-initrd")
    ]
    (difference,) = differences(expected_from_log(logs[0]), logs[1])
    assert (difference.register, difference.index, difference.role) == ("rtmr2", 18, "initrd")
    assert difference.meaning.startswith("the initrd is not the one of ")
    assert difference.expected is not None
    assert difference.actual is not None
    assert (
        difference.expected.description
        == event_json("rtmr2", difference.actual)["description"]
        == "initrd: Linux initrd"
    )


def test_a_prediction_differs_from_itself_nowhere_in_any_shape() -> None:
    for boot in ("disk", "uki-kernel"):
        for state in ("absent", "off"):
            expected = predict(LAUNCH, Platform(boot=boot, secure_boot=SecureBoot(state)))
            assert differences(expected, log_of(of_expected(expected))) == ()


@pytest.mark.parametrize(
    ("register", "kind", "data", "words"),
    [
        (3, EventType.EV_PLATFORM_CONFIG_FLAGS, b"x", "drivers or their settings differ"),
        (5, EventType.EV_EFI_GPT_EVENT, b"x", "which this profile does not do"),
        (7, EventType.EV_EFI_VARIABLE_AUTHORITY, b"x", "checked against a Secure Boot key"),
        (9, EventType.EV_IPL, b"grub.cfg", "nobody expects: grub.cfg"),
        (11, EventType.EV_IPL, "enter-initrd\0".encode("utf-16-le"), "systemd measured more later: enter-initrd"),
        (14, EventType.EV_IPL, b"MokList\0", "pcr14 has an event that nobody expects: MokList"),
    ],
)
def test_an_event_too_many_has_words(register: int, kind: int, data: bytes, words: str) -> None:
    (difference,) = found(KERNEL, log_of([*honest(KERNEL), measured(register, kind, data)]))
    assert words in difference.meaning
    assert difference.attack is None


@pytest.mark.parametrize("register", sorted({event.register for event in DISK.events}))
def test_a_register_without_any_event_has_words(register: str) -> None:
    log = log_of([event for event in honest(DISK) if event.index != int(register[3:])])
    (difference,) = found(DISK, log)
    assert (difference.register, difference.actual, difference.nth) == (register, None, 0)
    assert difference.meaning


def test_something_else_from_outside_the_uki_is_no_credential() -> None:
    unknown = LogEvent(12, EventType.EV_IPL, measured(12, 13, b"archive").digests, b"Something initrd")
    (difference,) = found(DISK, log_of([*honest(DISK), unknown]))
    assert "something from outside the UKI; the log names Something initrd" in difference.meaning


def test_untrusted_text_is_escaped() -> None:
    nasty = measured(12, EventType.EV_IPL, "\x1b[2Jx\0".encode("utf-16-le"))
    (difference,) = found(DISK, log_of([*honest(DISK), nasty]))
    assert "\\x1b[2Jx" in difference.meaning
