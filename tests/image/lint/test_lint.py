"""The lint finds what must not be in an image, even if a recipe asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluto_image.formats import dynamic
from pluto_image.lint import command_line, tree, units
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

GOOD = (
    "console=ttyS0,115200 lockdown=integrity module.sig_enforce=1 random.trust_bootloader=off random.trust_cpu=on"
    " tsc=reliable no-kvmclock systemd.import_credentials=no systemd.firstboot=off systemd.gpt_auto=no"
    " systemd.dump_core=no"
)
SIGNED = b"~Module signature appended~\n"


def file(path: str, data: bytes = b"", mode: int = 0o644, origin: str = "recipe:x") -> Entry:
    return Entry(path, Kind.FILE, mode, data, origin)


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, 0o777, target.encode(), "recipe:x")


BASE = (
    file("etc/machine-id"), file("init"), file("etc/passwd", b"root:x:0:0::/:/x\n"), file("etc/group", b"root:x:0:\n"),
)  # fmt: skip


def found_in(*entries: Entry) -> list[str]:
    return list(tree.check([*BASE, *entries], modules=["virtio-net"], packages=["libc6"], world_writable=["tmp"]))


def found_units(*entries: Entry) -> list[str]:
    return list(units.check(entries, enabled=["multi-user.target.wants/a.service"], listen=["8443"]))


def test_a_good_command_line_has_no_findings() -> None:
    assert list(command_line.check(GOOD, flavour="release")) == []
    assert list(command_line.check(GOOD + " pluto.flavour=debug", flavour="debug")) == []


@pytest.mark.parametrize("token", command_line.REQUIRED)
def test_every_hardening_token_is_missed_when_absent(token: str) -> None:
    text = " ".join(word for word in GOOD.split() if not word.startswith(token.partition("=")[0]))
    assert any(f"lacks {token}" in finding for finding in command_line.check(text, flavour="release"))


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (GOOD.replace("lockdown=integrity", "lockdown=1"), "'lockdown=1' has a value that does not count"),
        (GOOD + " init=/bin/sh", "'init=/bin/sh' is not known"),
        (GOOD + " rd.shell", "'rd.shell' is not known"),
        (GOOD + "  quiet", "'' is not known"),
        (GOOD + " tsc=reliable", "'tsc' occurs twice"),
        (GOOD + " random.trust_cpu", "'random.trust_cpu' occurs twice"),
        (GOOD + " \u00e4", "printable ASCII"),
        (GOOD + " " + "x" * 2048, "at most 2047"),
        (GOOD + " pluto.flavour=debug", "does not say that the flavour is release"),
    ],
)
def test_a_command_line_that_hides_a_mistake_is_found(text: str, finding: str) -> None:
    assert any(finding in sentence for sentence in command_line.check(text, flavour="release"))


def test_a_plain_tree_has_no_findings() -> None:
    kept = Entry("tmp", Kind.DIRECTORY, 0o1777, b"", "recipe:x")
    assert found_in(kept, link("etc/x", "/run/y"), file("usr/lib/libc.so.6", origin="package:libc6")) == []


@pytest.mark.parametrize(
    ("entry", "finding"),
    [
        (file("usr/bin/bash", mode=0o755), "is a shell"),
        (file("usr/lib/systemd/systemd-sulogin-shell", mode=0o755), "is a shell"),
        (link("usr/bin/sh", "/run/x"), "is a shell"),
        (file("usr/bin/x", b"#!/usr/bin/python3\n", 0o755), "is a script"),
        (file("usr/bin/x", mode=0o4755), "set-uid"),
        (file("etc/x", mode=0o646), "writable by everybody"),
        (Entry("tmp", Kind.DIRECTORY, 0o777, b"", "recipe:x"), "must have mode 1777"),
        (file("etc/initrd-release"), "must not be in the image"),
        (file("etc/x", origin="package:other"), "accounted for by no locked package"),
        (file("etc/x", origin=""), "accounted for by no locked package"),
        (file("etc/x", origin="magic:wand"), "accounted for by no locked package"),
        (file("usr/lib/modules/6/kernel/efivarfs.ko", SIGNED), "module efivarfs is not in the list"),
        (file("usr/lib/modules/6/kernel/other.ko.xz", SIGNED), "module other is not in the list"),
        (file("usr/lib/modules/6/kernel/virtio_net.ko", b"unsigned"), "virtio_net is not signed"),
        (link("etc/x", "../nowhere"), "which does not exist"),
        (Entry("etc/x", Kind.FILE, 0o644, b"", "recipe:x", uid=5), "belongs to 5:0"),
    ],
)
def test_what_must_not_be_there_is_found(entry: Entry, finding: str) -> None:
    assert [sentence for sentence in found_in(entry) if finding in sentence]


def test_a_machine_id_or_a_missing_init_is_found() -> None:
    findings = list(tree.check([file("etc/machine-id", b"abc\n")], modules=[], packages=[], world_writable=[]))
    assert "etc/machine-id must be present and empty" in findings
    assert "init is missing" in findings


def test_links_through_merged_folders_and_circles_end() -> None:
    entries = {e.path: e for e in (link("lib", "usr/lib"), file("usr/lib/a"), link("x", "/lib/a"), link("y", "y"))}
    assert tree.dangling(entries["x"], entries) == ""
    assert tree.dangling(entries["y"], entries) == "y"


def test_unit_mistakes_are_found() -> None:
    folder = "usr/lib/systemd/system"
    good = (
        file(f"{folder}/a.service", b"[Service]\nExecStart=-/usr/bin/none\n"),
        file(f"{folder}/a.socket", b"ListenStream=8443\n"),
        link("etc/systemd/system/multi-user.target.wants/a.service", f"/{folder}/a.service"),
        link("etc/systemd/system/debug-shell.service", "/dev/null"),
    )
    assert found_units(*good) == []
    bad = [
        (file(f"{folder}/b.socket", b"ListenStream = 22\n"), "listens on 22"),
        (file(f"{folder}/b.service", b"ExecStart=/usr/bin/gone --x\n"), "starts /usr/bin/gone"),
        (file(f"{folder}/b.service", b"ExecStart=\\\n  /usr/bin/gone\n"), "starts /usr/bin/gone"),
        (file(f"{folder}/a.socket.d/more.conf", b"[Socket]\nListenStream=22\n"), "a.socket.d/more.conf listens on 22"),
        (file("etc/systemd/system/socket.d/all.conf", b"ListenFIFO=/run/x\n"), "listens on /run/x"),
        (file("usr/local/lib/systemd/system/b.socket", b"ListenDatagram=53\n"), "listens on 53"),
        (file(f"{folder}/a.service.d/x.conf", b"ExecStartPre=/usr/bin/gone\n"), "starts /usr/bin/gone"),
        (file(f"{folder}/serial-getty@.service"), "must not be in the image"),
        (file(f"{folder}/systemd-pcrphase.service"), "must not be in the image"),
        (link(f"{folder}/sysinit.target.wants/a.service", "../a.service"), "is not in the recipe"),
        (link("etc/systemd/system/multi-user.target.requires/z.service", "x"), "a unit that is not in the image"),
    ]
    for entry, finding in bad:
        assert [sentence for sentence in found_units(*good, entry) if finding in sentence], finding


def test_a_program_without_its_library_is_found() -> None:
    path = Path("/bin/ls").resolve()
    if not path.is_file() or path.read_bytes()[:6] != b"\x7fELF\x02\x01":
        pytest.skip("this machine has no ELF program")
    facts = dynamic.parse(path.read_bytes())
    entry = file("usr/bin/ls", path.read_bytes(), 0o755)
    findings = list(tree.libraries({entry.path: entry}))
    assert len(findings) == len(facts.needed) + 1
    assert any(facts.needed[0] in finding for finding in findings)


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01" + bytes(58), b"\x7fELF\x02\x01" + b"\xff" * 58])
def test_a_damaged_elf_file_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        dynamic.parse(data)
