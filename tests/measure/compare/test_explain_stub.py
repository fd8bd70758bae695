"""What differences in UKI sections, command line and initrd mean: RTMR[2], PCR 9, 11, 12 and 13."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluto_measure.compare.difference import compare, expected_from_log
from pluto_measure.compare.explain import Known
from pluto_measure.compare.roles import roles
from pluto_measure.digests import Digests, digest
from pluto_measure.formats import linux
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.predict import predict
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.predict.stub import load_options
from simulators import boot_logs
from simulators.boot_logs import (
    DIRECT,
    file,
    image_data,
    tagged,
)
from simulators.edited_logs import append, cause, change, drop, found, insert, one, other_digest
from simulators.event_logs import measured
from simulators.launches import LAUNCH

APPLICATION = EventType.EV_EFI_BOOT_SERVICES_APPLICATION


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
