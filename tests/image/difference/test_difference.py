"""What changed between two releases: each kind of change is found, and led from its cause to the registers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pluto_image.commands import diff
from pluto_image.difference import lines, whole
from pluto_image.difference.model import Difference, EventChange
from pluto_image.difference.outline import chapters, headline
from simulators.kernel_modules import module
from simulators.tiny_definition import DEFINITION, KERNEL, PACKAGES, RELEASE, SIGNED
from simulators.tiny_releases import PLATFORMS, Version

Compared = Callable[[Version], Difference]
INIT, KERNEL_PACKAGE = PACKAGES["init"], f"linux-image-{KERNEL}"


def init(version: str = "257.2", **files: bytes) -> dict[str, tuple[str, dict[str, tuple[int, bytes]]]]:
    """The package init in another version, with other content by the name of a file."""
    changed = {
        path: (mode, files.get(path.rpartition("/")[2].partition(".")[0].replace("-", "_"), data))
        for path, (mode, data) in INIT[1].items()
    }
    return {"init": (version, changed)}


def event(found: Difference, machine: str, role: str) -> EventChange:
    (profile,) = (one for one in found.profiles if one.id == machine)
    (event,) = (one for one in profile.events if one.role == role)
    return event


def moved(found: Difference, machine: str) -> set[str]:
    """The registers of a machine that changed."""
    return {each.register for one in found.profiles if one.id == machine for each in one.registers}


def told(found: Difference) -> set[str]:
    return {chapter.id for chapter in chapters(found)}


def test_the_same_release_has_no_difference(before: Path) -> None:
    side = diff.read(before)
    found = whole.difference(side, side)
    assert found.equal
    assert chapters(found) == ()
    assert headline(found) == "no difference: all files have the same digests"
    assert set(found.unchanged_machines) == {"google", "azure", "confidential-space"}


def test_a_newer_package_is_led_to_files_sections_events_and_registers(compared: Compared) -> None:
    found = compared(Version(packages=init(systemd=b"process 1")))
    (package,) = found.packages
    assert package.before is not None
    assert package.after is not None
    assert (package.tree, package.name, package.before.version, package.after.version) == (
        "image", "init", "257.1", "257.2",
    )  # fmt: skip
    file = next(one for one in found.files if one.path == "usr/lib/systemd/systemd")
    assert file.before is not None
    assert file.after is not None
    assert (file.what, file.before.origin, file.after.origin) == (
        ("content",), "package init 257.1", "package init 257.2",
    )  # fmt: skip
    assert {one.path for one in found.files} == {"usr/lib/systemd/systemd", "usr/lib/os-release"}
    because = "package init 257.1 → 257.2: 1 file"
    assert because in next(one for one in found.sections if one.name == ".initrd").why
    for machine, role, register in (
        ("google", "section:.initrd", "rtmr2"), ("google", "initrd", "rtmr2"), ("azure", "initrd", "pcr9"),
        ("azure", "section:.initrd", "pcr11"),
    ):  # fmt: skip
        change = event(found, machine, role)
        assert (change.register, because in change.why) == (register, True)
    assert event(found, "google", "image:uki").why == ("sections .osrel and .initrd",)
    assert moved(found, "google") == {"rtmr1", "rtmr2"}
    assert moved(found, "azure") == {"pcr4", "pcr9", "pcr11"}


def test_a_package_that_came_or_went_is_named_with_its_files(make: Callable[..., Path], before: Path) -> None:
    keep = '\n[[prune.keep]]\npackages = ["zz"]\npaths = ["usr/share/zz"]\nreason = "needed"\n'
    packages = {"zz": ("1", {"usr/share/zz": (0o644, b"data")})}
    more = make(Version(text=DEFINITION.replace("\n[units]\n", f"{keep}\n[units]\n"), packages=packages))
    found = whole.difference(diff.read(before), diff.read(more))
    (package,) = found.packages
    assert (package.name, package.before) == ("zz", None)
    file = next(one for one in found.files if one.path == "usr/share/zz")
    assert (file.before, file.after is not None) == (None, True)
    assert "package zz (new): 1 file" in event(found, "google", "initrd").why
    back = whole.difference(diff.read(more), diff.read(before))
    assert (back.packages[0].name, back.packages[0].after) == ("zz", None)
    assert next(one for one in back.files if one.path == "usr/share/zz").after is None
    assert "package zz (gone): 1 file" in event(back, "google", "initrd").why


def test_other_bytes_under_the_same_version_are_seen(compared: Compared) -> None:
    found = compared(Version(packages=init("257.1", systemd=b"process 1")))
    (package,) = found.packages
    assert package.before is not None
    assert package.after is not None
    assert package.before.version == package.after.version
    assert package.before.sha256 != package.after.sha256
    rows = next(one for one in chapters(found) if one.id == "packages").tables[0].rows
    assert "257.1 (other bytes)" in rows[0]
    assert "package init (other bytes): 1 file" in event(found, "google", "initrd").why


def test_a_changed_maintainer_script_is_shown_where_a_store_has_it(make: Callable[..., Path]) -> None:
    one = make(Version(scripts={"init": {"postinst": b"#!/bin/sh\nexit 0\n", "prerm": b"gone\n"}}))
    two = make(Version(scripts={"init": {"postinst": b"#!/bin/sh\nexit 1\n", "triggers": b"activate x\n"}}))
    sides = diff.read(one), diff.read(two)
    texts = diff._texts([one.parent / "store", two.parent / "store"], sides[0].lock, sides[1].lock)
    (package,) = whole.difference(*sides, texts).packages
    scripts = {each.script: each for each in package.scripts}
    assert set(scripts) == {"postinst", "prerm", "triggers"}
    assert scripts["postinst"].difference == ("@@ -1,2 +1,2 @@", " #!/bin/sh", "-exit 0", "+exit 1")
    assert (scripts["prerm"].after, scripts["triggers"].before) == (None, None)
    found = whole.difference(*sides, diff._texts([one.parent / "store"], sides[0].lock, sides[1].lock))
    half = {each.script: each.difference for each in found.packages[0].scripts}
    assert (half["postinst"], half["prerm"]) == (None, ("@@ -1 +0,0 @@", "-gone"))
    blocks = next(one for one in chapters(found) if one.id == "scripts").blocks
    assert [one.title for one in blocks] == [
        "init postinst: changed", "init prerm: removed", "init triggers: added",
    ]  # fmt: skip
    assert "could not be had" in blocks[0].note


def test_files_are_added_removed_and_changed_with_the_recipe_line(compared: Compared) -> None:
    text = DEFINITION.replace('mode = "1777"', 'mode = "1755"').replace(
        'world_writable = ["tmp"]', "world_writable = []"
    )
    text = text.replace(
        'path = "init"\ntarget = "usr/lib/systemd/systemd"', 'path = "init"\ntarget = "/usr/lib/systemd/systemd"'
    )
    sources = {"image/tiny/rootfs/etc/hostname": b"other\n", "image/tiny/rootfs/etc/motd": b"hello\n"}
    files = {one.path: one for one in compared(Version(text=text, sources=sources)).files}
    assert files["etc/motd"].before is None
    assert files["etc/motd"].after is not None
    assert files["etc/motd"].after.origin == "recipe rootfs"
    assert files["etc/hostname"].difference == ("@@ -1 +1 @@", "-tiny", "+other")
    assert files["tmp"].what == ("mode",)
    assert files["init"].what == ("target",)


def test_lines_of_many_texts_are_compared_up_to_a_limit(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_TEXTS", 2)
    sources = {f"image/tiny/rootfs/etc/{at}": b"text\n" for at in range(4)}
    found = [one for one in compared(Version(sources=sources)).files if one.path.startswith("etc/")]
    assert [len(one.difference) for one in found] == [2, 2, 0, 0]


def test_the_workloads_own_sources_are_told_apart_from_the_builders(compared: Compared) -> None:
    found = compared(
        Version(
            sources={"notary/pluto_notary/__init__.py": b'"""Other."""\n', "measure/pluto_measure/x.py": b"x = 1\n"}
        )
    )
    assert [(one.path, one.part) for one in found.sources] == [
        ("measure/pluto_measure/x.py", "measure"), ("notary/pluto_notary/__init__.py", "notary"),
    ]  # fmt: skip
    assert "source notary/pluto_notary: 1 file" in event(found, "google", "initrd").why
    assert event(found, "google", "section:.osrel").why == ("build id, made of sources",)


@pytest.mark.parametrize(
    ("old", "new", "removed", "added", "why"),
    [
        ('"no-kvmclock",', '"no-kvmclock", "quiet",', (), ("quiet",), "command line: with quiet"),
        ('"console=ttyS0,115200", ', "", ("console=ttyS0,115200",), (), "command line: without console=ttyS0,115200"),
        (
            "lockdown=integrity", "lockdown=confidentiality", ("lockdown=integrity",), ("lockdown=confidentiality",),
            "command line: without lockdown=integrity; with lockdown=confidentiality",
        ),
        (
            '"tsc=reliable", "no-kvmclock"', '"no-kvmclock", "tsc=reliable"', (), (),
            "command line: the same words in another order",
        ),
    ],
)  # fmt: skip
def test_words_of_the_command_line_are_led_to_its_section_and_to_the_kernels_own_event(
    compared: Compared, old: str, new: str, removed: tuple[str, ...], added: tuple[str, ...], why: str
) -> None:
    assert old in DEFINITION
    found = compared(Version(text=DEFINITION.replace(old, new)))
    line = found.command_line
    assert line is not None
    assert (tuple(one.text for one in line.removed), tuple(one.text for one in line.added)) == (removed, added)
    assert line.moved == (not removed and not added)
    for machine, role, register in (
        ("google", "section:.cmdline", "rtmr2"), ("google", "load-options", "rtmr2"),
        ("azure", "section:.cmdline", "pcr11"), ("azure", "load-options", "pcr9"),
    ):  # fmt: skip
        change = event(found, machine, role)
        assert (change.register, change.why) == (register, (why,))


def test_units_that_are_new_enabled_masked_or_changed(compared: Compared) -> None:
    own = "image/tiny/rootfs/usr/lib/systemd/system"
    text = DEFINITION.replace('units = ["hello.service"]', 'units = ["hello.service", "more.service"]')
    text = text.replace('"debug-shell.service"]', '"debug-shell.service", "ctrl-alt-del.target"]')
    text = text.replace(
        '"multi-user.target", "hello.service"]', '"multi-user.target", "hello.service", "more.service"]'
    )
    sources = {
        f"{own}/more.service": b"[Service]\nExecStart=/usr/lib/systemd/systemd\nDefaultDependencies=no\n",
        f"{own}/idle.service": b"[Service]\nExecStart=/usr/lib/systemd/systemd\n",
        f"{own}/hello.service.d/10-more.conf": b"[Service]\nNoNewPrivileges=yes\n",
    }
    found = compared(Version(text=text, sources=sources))
    units = {one.name: one for one in found.units}
    states = {name: (one.before and one.before.state, one.after and one.after.state) for name, one in units.items()}
    assert states == {
        "ctrl-alt-del.target": (None, "masked"),
        "hello.service": ("starts at boot", "starts at boot"),
        "idle.service": (None, "waits to be asked for"),
        "more.service": (None, "starts at boot"),
    }
    hello = units["hello.service"]
    assert hello.files == ("usr/lib/systemd/system/hello.service.d/10-more.conf",)
    assert "+NoNewPrivileges=yes" in hello.difference
    assert units["more.service"].why == "the workload"
    assert units["ctrl-alt-del.target"].why == "no shell"
    shown = next(one for one in found.files if one.path.endswith("10-more.conf"))
    assert shown.difference == (), "its lines stand with the unit"


def kernel(
    release: str = KERNEL, version: str = "6.1.0-1", **modules: bytes
) -> dict[str, tuple[str, dict[str, tuple[int, bytes]]]]:
    files = {}
    for path, (mode, data) in PACKAGES[KERNEL_PACKAGE][1].items():
        name = path.rpartition("/")[2].removesuffix(".ko")
        files[path.replace(KERNEL, release)] = (mode, modules.get(name, data))
    return {f"linux-image-{release}": (version, files)}


def test_kernel_modules_that_are_other_new_or_gone(compared: Compared) -> None:
    found = compared(Version(packages=kernel(tsm=module("tsm", depends=["failover"]) + SIGNED)))
    (changed,) = found.modules
    assert (changed.name, changed.why) == ("tsm", "quotes")
    assert changed.before is not None
    assert changed.after is not None
    assert changed.before.sha256 != changed.after.sha256
    without = DEFINITION.replace('[[kernel.module]]\nnames = ["tsm"]\nload = true\nreason = "quotes"\n', "")
    (gone,) = compared(Version(text=without)).modules
    assert (gone.name, gone.after) == ("tsm", None)
    late = compared(Version(text=DEFINITION.replace("load = true\n", ""))).modules
    assert [(one.name, one.before and one.before.loaded, one.after and one.after.loaded) for one in late] == [
        ("tsm", "at boot", "with another")
    ]


def test_another_kernel_moves_its_sections_and_its_image(compared: Compared) -> None:
    release = KERNEL.replace("6.1.0", "6.1.1")
    found = compared(Version(packages=kernel(release, "6.1.1-1"), without=(KERNEL_PACKAGE,)))
    assert {(one.name, one.before is None) for one in found.packages} == {
        (KERNEL_PACKAGE, False), (f"linux-image-{release}", True),
    }  # fmt: skip
    why = {one.name: one.why for one in found.sections}
    assert why[".uname"] == (f"kernel release {KERNEL} → {release}",)
    assert event(found, "google", "section:.uname").why == why[".uname"]
    assert ".linux" not in why, "the same bytes"
    assert ("kernel", "6.1.0-1", "6.1.1-1") in {(one.name, one.before, one.after) for one in found.boots}


def test_another_stub_is_named_as_the_cause_of_the_image(compared: Compared) -> None:
    version, files = PACKAGES["systemd-boot-efi"]
    assert version == "257.1"
    found = compared(Version(packages={"systemd-boot-efi": ("257.2", files)}))
    assert ("systemd-stub", "257.1", "257.2") in {(one.name, one.before, one.after) for one in found.boots}
    assert "systemd-stub: 257.1 → 257.2" in event(found, "azure", "image:uki").why


def test_other_firmware_is_seen_and_moves_no_register_of_who_brings_their_own(compared: Compared) -> None:
    found = compared(Version(packages={"ovmf": ("2025.02-1", {"usr/share/ovmf/OVMF.fd": (0o644, b"Firmware" * 64)})}))
    (package,) = found.packages
    assert (package.tree, package.name) == ("tools", "ovmf")
    boots = {one.name: (one.before, one.after) for one in found.boots}
    assert boots["firmware"] == ("2025.01-1", "2025.02-1")
    assert boots["firmware.fd"][0] != boots["firmware.fd"][1]
    assert "mrtd" not in moved(found, "google")


def test_the_publishers_words_alone_move_no_register(compared: Compared) -> None:
    """But release.toml is a source, and sources are in the build id, so what says so is measured."""
    newer = RELEASE.replace("sequence = 2", "sequence = 3").replace("supersedes = 1", "supersedes = 2")
    found = compared(Version(sources={"image/tiny/release.toml": newer.encode()}))
    made = {one.name: (one.before, one.after) for one in found.made_of}
    assert (made["sequence"], made["supersedes"]) == (("2", "3"), ("1", "2"))
    assert (found.before.sequence, found.after.sequence) == (2, 3)
    assert {one.path for one in found.files} <= {"usr/lib/os-release"}


def test_machines_come_and_go(compared: Compared) -> None:
    fewer = PLATFORMS.replace(b'[azure]\nplatform = "azure-tdx"\n', b'[azure-2]\nplatform = "azure-tdx"\n')
    found = compared(Version(sources={"image/tiny/platforms.toml": fewer}))
    kinds = {one.id: one.kind for one in found.profiles}
    assert (kinds["azure-2"], kinds["azure"]) == ("added", "removed")
    new = next(one for one in found.profiles if one.id == "azure-2")
    assert {each.before for each in new.registers} == {None}
    assert {"pcr4", "pcr11"} <= {each.register for each in new.registers}
    titles = [table.caption for one in chapters(found) if one.id == "registers" for table in one.tables]
    assert "azure-2 (azure-tdx): new" in titles
    assert "azure (azure-tdx): gone" in titles


def test_the_container_is_led_to_the_tokens_claims(compared: Compared) -> None:
    found = compared(Version(text=DEFINITION.replace('PATH = "/usr/bin"', 'PATH = "/usr/bin"\nMORE = "1"')))
    boots = {one.name: (one.before, one.after) for one in found.boots}
    assert boots["container, environment MORE"] == (None, "1")
    (profile,) = (one for one in found.profiles if one.id == "confidential-space")
    assert {"submods.container.env.MORE", "submods.container.image_digest"} <= {one.name for one in profile.claims}


def test_a_debug_build_of_the_same_sources_says_so(compared: Compared) -> None:
    found = compared(Version(flavour="debug"))
    assert (found.before.flavour, found.after.flavour) == ("release", "debug")
    assert found.command_line is not None
    assert [one.text for one in found.command_line.added] == ["pluto.flavour=debug"]
    assert "os-release: VARIANT_ID: release → debug" in event(found, "google", "section:.osrel").why
    assert event(found, "google", "section:.osrel").why[0] == "os-release: VARIANT_ID: release → debug"
    assert "build id" not in {one.name for one in found.made_of}, "the flavour is not in it"


def test_only_what_has_something_to_say_has_a_chapter(compared: Compared) -> None:
    found = compared(Version(sources={"measure/pluto_measure/x.py": b"x = 1\n"}))
    assert told(found) == {"made-of", "sources", "published"}, "the builder is not in the image"
