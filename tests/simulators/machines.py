"""Platforms for tests: trust domains with a firmware that nobody built and inputs that no host made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pluto_measure.digests import Digests
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi, Input
from pluto_measure.machine.platform import Disk, Platform, SecureBoot
from simulators import tdvf_images

FIRMWARE = Firmware.of(tdvf_images.image(), "interleaved", 202502)
BLOBS = ("loader", "rsdp", "tables")


def acpi(seed: str = "", *, tpm: bool = False) -> Acpi:
    """Blobs whose digests differ by `seed`."""
    names = ("loader", "rsdp", "tpmLog", "tables") if tpm else BLOBS
    return Acpi({name: Digests.of(f"{seed}{name}".encode()) for name in names})


def bare_metal(**changes: Any) -> Platform:
    """A TDX host that starts the UKI by -kernel."""
    plain = Platform(kind="qemu-tdx", firmware=FIRMWARE, memory=4 << 30, acpi=(acpi(),))
    return replace(plain, **changes)


def bare_metal_disk(**changes: Any) -> Platform:
    """The same with a disk."""
    return bare_metal(**{"boot": "disk", "disk": Disk("virtio-blk", 3), **changes})


def google(**changes: Any) -> Platform:
    """A Google machine with known keys, firmware and ACPI."""
    known = replace(Platform.default("gcp-tdx"), firmware=FIRMWARE, acpi=(acpi(),), secure_boot=SecureBoot("off"))
    return replace(known, **changes)


def laptop(**changes: Any) -> Platform:
    """QEMU with a software TPM whose ACPI is known."""
    return replace(Platform(acpi=(acpi(tpm=True),), firmware=FIRMWARE), **changes)


def signature_list(*certificates: bytes) -> bytes:
    """One EFI_SIGNATURE_LIST for each certificate."""
    kind = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
    lists = b""
    for content in certificates:
        size = 16 + len(content)
        lists += kind + (28 + size).to_bytes(4, "little") + bytes(4) + size.to_bytes(4, "little") + bytes(16) + content
    return lists


def keys(*certificates: bytes) -> SecureBoot:
    """Secure Boot on, with these certificates in db."""
    one = signature_list(b"platform key")
    return SecureBoot("on", {"PK": one, "KEK": one, "db": signature_list(*certificates)})


def variables(**contents: bytes) -> dict[str, Input]:
    """Boot variables by their content."""
    return {name: Input.of(content) for name, content in contents.items()}
