"""What firmware measures of a PE image, by virt-firmware; and a direct boot, by mosaik."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from pluto_measure import describe
from pluto_measure.digests import Digests
from pluto_measure.formats import pe
from pluto_measure.machine.platform import Platform
from pluto_measure.machine.platform_file import parse_size
from pluto_measure.predict import predict
from pluto_measure.registers.replay import extend, replay_expected
from simulators import bzimages, machines, pe_images

pytestmark = pytest.mark.interop

Rust = Callable[..., list[list[str]]]
Locked = Callable[[str, str], bytes]

IMAGES: Final = {
    "plain": pe_images.image(),
    "stub": pe_images.STUB,
    "signed": pe_images.image(certificates=b"\x08\0\0\0\0\2\2\0" * 5),
    "another checksum": pe_images.image(checksum=0xDEADBEEF),
    "data behind the sections": pe_images.image(trailing=b"behind the sections, a multiple of 8 ... "[:40]),
    "signed, data behind the sections": pe_images.image(trailing=bytes(range(64)), certificates=bytes(16)),
    "no section": pe_images.image([]),
    "an empty section": pe_images.image([(".text", b"t"), (".bss", b""), (".data", b"d" * 5000)]),
    "many sections": pe_images.image([(f".s{i}", bytes([i]) * (i * 700)) for i in range(12)]),
}
HEADER: Final = slice(0x1F1, 0x238)  # of Linux' setup, which lies between a PE image's headers and its sections


@pytest.mark.parametrize("name", IMAGES)
def test_virt_firmware_has_our_digests_of_an_image(name: str, tmp_path: Path, python: Callable[..., Any]) -> None:
    assert authenticode(IMAGES[name], tmp_path, python) == pe.authenticode(IMAGES[name]).to_json()


@pytest.mark.parametrize(
    ("package", "path"),
    [("systemd-boot-efi", "usr/lib/systemd/boot/efi/linuxx64.efi.stub"), ("linux-image-6.", "boot/vmlinuz-")],
)
def test_virt_firmware_has_our_digests_of_what_we_boot(
    package: str, path: str, locked: Locked, tmp_path: Path, python: Callable[..., Any]
) -> None:
    data = locked(package, path)
    assert authenticode(data, tmp_path, python) == pe.authenticode(data).to_json()


@pytest.mark.parametrize("short", [1, 3, 7])
def test_signing_tools_fill_an_image_up_before_they_hash_it_and_firmware_does_not(
    short: int, tmp_path: Path, python: Callable[..., Any]
) -> None:
    """An image whose size is no multiple of 8 is signed with the zeros that the signer appends, so virt-firmware adds
    them. What is measured is the file as it is: edk2's DxeTpm2MeasureBootLib hashes no byte that is not there."""
    data = pe_images.image(trailing=b"x" * (8 - short))
    theirs = authenticode(data, tmp_path, python)
    assert theirs == pe.authenticode(data + bytes(short)).to_json()
    assert theirs != pe.authenticode(data).to_json()


def bootable(size: int = 700) -> bytes:
    """A kernel that is a PE image with Linux' setup header, as bzImages are."""
    image = pe_images.image([(".setup", b"s" * 100), (".text", b"\xc3" * size)], headers=0x800)
    return pe_images.patched(image, HEADER.start, bzimages.kernel()[HEADER])


@pytest.mark.parametrize("memory", ["2G", "2815M", "2816M", "4G", "64G"])
@pytest.mark.parametrize(
    ("initrd", "command_line"), [(b"i" * 10_000, "console=ttyS0 ro"), (b"i" * 8192, ""), (b"", "ro")]
)
def test_mosaik_has_our_registers_of_a_kernel_that_qemu_rewrites(
    memory: str, initrd: bytes, command_line: str, tmp_path: Path, rust: Rust
) -> None:
    direct_boot(bootable(), initrd, command_line, memory, tmp_path, rust)


def test_mosaik_has_our_registers_of_the_locked_kernel(locked: Locked, tmp_path: Path, rust: Rust) -> None:
    direct_boot(locked("linux-image-6.", "boot/vmlinuz-"), b"initrd" * 50_000, "console=ttyS0", "4G", tmp_path, rust)


def test_mosaik_measures_an_empty_command_line_and_linux_measures_none(tmp_path: Path, rust: Rust) -> None:
    """With neither command line nor initrd OVMF hands over no load options, so Linux' stub has nothing to measure."""
    events = predict(describe.of_kernel(bootable(), None, ""), machine("4G", 202408))
    assert [event.role for event in events if event.register == "rtmr2"] == []
    _, initrd = written(tmp_path, bootable(), b"")
    alone = extend("sha384", bytes(48), Digests.of("\0".encode("utf-16-le")).sha384)
    assert rust("rtmr2", initrd, "") == [[alone.hex()]]


def test_mosaik_leaves_out_what_newer_firmware_measures(tmp_path: Path, rust: Rust) -> None:
    """From edk2 202411 on the separator of ReadyToBoot is in RTMR[1], behind the boot option's announcement."""
    launch = describe.of_kernel(bootable(), b"initrd", "ro")
    newer = [event for event in predict(launch, machine("4G", 202411)) if event.register == "rtmr1"]
    roles = [event.role for event in newer]
    assert roles == ["image:kernel", "calling", "separator:ready", "exit-invoked", "exit-done"]
    (theirs,) = rust("rtmr1", *written(tmp_path, bootable(), b"initrd"), "4G")
    assert replay_expected(newer)["sha384"]["rtmr1"].hex() != theirs[0]
    del newer[2]
    assert replay_expected(newer)["sha384"]["rtmr1"].hex() == theirs[0]


def direct_boot(kernel: bytes, initrd: bytes, command_line: str, memory: str, folder: Path, rust: Rust) -> None:
    """RTMR[1] and RTMR[2] of a boot by QEMU 9.2 and edk2 202408, which is what mosaik knows."""
    files = written(folder, kernel, initrd)
    launch = describe.of_kernel(kernel, initrd or None, command_line)
    ours = replay_expected(predict(launch, machine(memory, 202408)))["sha384"]
    assert rust("rtmr1", *files, memory) == [[ours["rtmr1"].hex()]]
    assert rust("rtmr2", files[1], command_line) == [[ours["rtmr2"].hex()]]


def machine(memory: str, generation: int) -> Platform:
    plain = machines.bare_metal(boot="direct", vmm_version="9.2", edk2_generation=generation)
    return replace(plain, memory=parse_size(memory))


def written(folder: Path, kernel: bytes, initrd: bytes) -> tuple[Path, Path]:
    (folder / "kernel").write_bytes(kernel)
    (folder / "initrd").write_bytes(initrd)
    return folder / "kernel", folder / "initrd"


def authenticode(data: bytes, folder: Path, python: Callable[..., Any]) -> Any:
    (folder / "image.efi").write_bytes(data)
    return python("authenticode", folder / "image.efi")
