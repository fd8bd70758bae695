"""Launch values from files: the same as a builder writes, and boots that follow from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from pluto_measure import describe
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats import gpt, linux, pe
from pluto_measure.launch import Container, Launch
from pluto_measure.predict import predict, stub
from simulators import bzimages, disks, machines
from simulators.pe_images import KERNEL, image, patched

SECTIONS = (
    (".osrel", b"ID=pluto\n"),
    (".cmdline", b"console=ttyS0 quiet\n"),
    (".initrd", b"070701" + bytes(101)),
    (".linux", KERNEL),
    (".sdmagic", b"#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0"),
)
UKI = image(SECTIONS, headers=0x600)
STUB = "257.13-1~deb13u1"
# A kernel is a PE image and a bzImage at once: the setup header stands in the padding behind the PE headers.
BARE = patched(KERNEL, 0x1F1, bzimages.kernel()[0x1F1:0x270])


def test_a_uki_is_described_by_everything_that_its_boot_measures() -> None:
    event = describe.gpt_event_of(disks.head())
    launch = describe.of_uki(UKI, event, stub=STUB, disk_size=1 << 20, build_id="ab" * 32, flavour="debug")
    assert (launch.build_id, launch.flavour, launch.stub) == ("ab" * 32, "debug", STUB)
    assert launch.uki_digests == Digests.of(UKI)
    assert launch.uki_authenticode == pe.authenticode(UKI)
    assert launch.kernel_authenticode == pe.authenticode(KERNEL)
    assert (launch.uki_size, launch.kernel_size, launch.disk_size) == (len(UKI), len(KERNEL), 1 << 20)
    # In the order of the file; .sdmagic is not measured.
    assert [section.name for section in launch.sections] == [".osrel", ".cmdline", ".initrd", ".linux"]
    assert launch.sections[0].digests == Digests.of(b"ID=pluto\n")
    handed = b"".join(stub.handed_initrd(dict(SECTIONS)))
    assert (launch.handed_initrd, launch.handed_initrd_size) == (Digests.of(handed), len(handed))
    assert launch.command_line == "console=ttyS0 quiet"
    assert launch.gpt_event == Digests.of(gpt.event_data(disks.head()))
    assert Launch.parse(launch.to_text()) == launch


def test_the_stub_says_its_version_or_it_has_to_be_given() -> None:
    assert describe.stub_version(UKI) == STUB
    with pytest.raises(FormatError, match="does not say which systemd-stub"):
        describe.stub_version(image(SECTIONS[:-1], headers=0x600))
    with pytest.raises(FormatError, match="does not say which systemd-stub"):
        describe.stub_version(image((*SECTIONS[:-1], (".sdmagic", b"#### LoaderInfo: other 1 ####")), headers=0x600))


def test_an_image_without_a_kernel_inside_is_no_uki() -> None:
    with pytest.raises(FormatError, match=r"has no section \.linux"):
        describe.of_uki(image(), None, stub=STUB)


@pytest.mark.parametrize(
    ("version", "generation", "rewritten"),
    [("9.2", 202502, True), ("10.0.2", 202411, True), ("10.0.2", 202502, False), ("10.2", 202411, False)],
)
def test_a_bare_kernel_is_measured_as_the_vmm_hands_it_over(version: str, generation: int, rewritten: bool) -> None:
    launch = describe.of_kernel(BARE, b"initrd", "quiet")
    machine = machines.bare_metal(boot="direct", vmm_version=version, edk2_generation=generation)
    found = next(event for event in predict(launch, machine) if event.role == "image:kernel")
    handed = linux.rewrite_for_qemu(BARE, memory=4 << 30, initrd_size=6, command_line="quiet")
    assert handed != BARE
    assert found.digests["sha384"] == pe.authenticode(handed if rewritten else BARE).sha384


def test_another_vmm_hands_the_kernel_over_as_it_is() -> None:
    launch = describe.of_kernel(BARE, None, "")
    events = predict(launch, machines.bare_metal(boot="direct", vmm="cloud-hypervisor", vmm_version="40"))
    found = next(event for event in events if event.role == "image:kernel")
    assert found.digests["sha384"] == launch.kernel_authenticode.sha384


@pytest.mark.parametrize(
    ("generation", "initrd", "line"),
    [(202502, b"x", "quiet initrd=initrd"), (202502, None, "quiet")],
)
def test_a_bare_kernels_command_line_names_its_initrd(generation: int, initrd: bytes | None, line: str) -> None:
    launch = describe.of_kernel(BARE, initrd, "quiet")
    events = predict(launch, machines.bare_metal(boot="direct", edk2_generation=generation))
    options = next(event for event in events if event.role == "load-options")
    assert options.digests["sha384"] == hashlib.sha384((line + "\0").encode("utf-16-le")).digest()
    assert ("initrd" in [event.role for event in events]) == (initrd is not None)


def test_the_kernel_itself_is_never_written() -> None:
    launch = describe.of_kernel(BARE, b"initrd", "quiet")
    assert launch.kernel_file is not None
    document = launch.to_json()
    assert (document["uki"], document["disk"], document["sections"]) == (None, None, [])
    assert Launch.parse(launch.to_text()) == replace(launch, kernel_file=None)


def test_a_launch_carries_its_container_and_somebody_elses_digests() -> None:
    container = Container("sha256:" + "ab" * 32, "sha256:" + "cd" * 32, ("a", "b"), (("K", "v"),))
    launch = replace(
        describe.of_uki(UKI, None, stub=STUB), container=container, kernel_authenticode=Digests(b"", b"1" * 48)
    )
    assert Launch.parse(launch.to_text()) == launch
    for wrong in ("ab" * 32, "sha256:AB" + "ab" * 31, "sha512:" + "ab" * 32):
        with pytest.raises(FormatError, match="is not sha256: and 64"):
            Container(wrong, "sha256:" + "cd" * 32, (), ())
    document = launch.to_text().replace('"K": "v"', '"K": 1')
    with pytest.raises(FormatError, match="args and env must hold texts"):
        Launch.parse(document)


def test_a_launch_in_the_words_of_others_is_read() -> None:
    """Only what a boot measures is needed: no size of an initrd, no digest of the file."""
    launch = describe.of_uki(UKI, None, stub=STUB, banks=("sha384",))
    assert launch.uki_digests is None
    assert Launch.parse(launch.to_text()) == launch
    document = launch.to_json() | {"handedInitrd": "ab" * 48}
    assert Launch.parse(json.dumps(document)).handed_initrd == Digests(b"", bytes.fromhex("ab" * 48))
    bare = {
        name: value for name, value in document.items() if name not in ("version", "stub", "sections", "uki", "disk")
    }
    assert (Launch.parse(json.dumps(bare)).stub, Launch.parse(json.dumps(bare)).sections) == ("", ())


def test_a_uki_without_an_initrd_is_described_without_one() -> None:
    launch = describe.of_uki(image([(".linux", KERNEL)], headers=0x600), None, stub=STUB)
    assert (launch.handed_initrd, launch.handed_initrd_size) == (None, 0)
