"""Signed releases for pretended trust domains: whole folders as `pluto-image build` and `sign` leave them. For tests.

    make(folder, sequence=5)                        one that serves
    make(folder, sequence=6, pretend="silent")      one whose machine is never ready (`pretend_td`)

The UKI is a real PE image of a few KiB, the firmware a real TDVF image, and measurements.json what is predicted of
both. The tools are a real Debian package, which has `pretend_td` for a dynamic loader; `store` is where it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pluto_image import artifact
from pluto_image.formats import uki
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock, LockedArchive, Package
from pluto_measure import describe
from pluto_measure.digests import Digests
from pluto_measure.launch import Launch
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.inputs import Acpi
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.publish.platforms import described
from pluto_measure.publish.terms import TcbTerms
from simulators import debs, pe_images, releases, tdvf_images

STUB = "257.13-1~deb13u1"
FIRMWARE = tdvf_images.image()
MEMORY = 1 << 30
CPUS = 2
DEVICES = ("virtio-net-pci,romfile=", "virtio-blk-pci", "serial")
MACHINE = "pc-q35-10.1"
PROFILE = "bare-metal"
DISK = b"disk" * 128
LOADER = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
TOOLS: Mapping[str, tuple[int, bytes]] = {
    LOADER: (0o755, Path(__file__).with_name("pretend_td.py").read_bytes()),
    "usr/bin/qemu-system-x86_64": (0o755, b"what the loader is asked to start\n"),
}


def firmware(image: bytes) -> Firmware:
    """A firmware as it is measured."""
    return Firmware.of(image, "interleaved", 202502)


def acpi(board: str, cpus: int, memory: int, devices: tuple[str, ...]) -> Acpi:
    """What a VMM would make of this machine: other blobs for each. `board`: machine type and its options."""
    shape = repr((board, cpus, min(memory, 0xB0000000), devices)).encode()
    return Acpi({name: Digests.of(name.encode() + shape) for name in ("loader", "rsdp", "tables")})


def platform(memory: int = MEMORY, cpus: int = CPUS) -> Platform:
    """The machine that releases are measured for."""
    return Platform(
        kind="qemu-tdx",
        cpus=cpus,
        memory=memory,
        machine_type=MACHINE,
        firmware=firmware(FIRMWARE),
        devices=DEVICES,
        acpi=(acpi(f"{MACHINE},smm=off,pic=off", cpus, memory, DEVICES),),
    )


def build_id(sequence: int, pretend: str = "honest") -> str:
    return hashlib.sha256(f"{sequence} {pretend}".encode()).hexdigest()


def image(sequence: int, pretend: str = "honest", padding: int = 0) -> bytes:
    """A UKI. `padding`: bytes more of it."""
    release = f"ID=pluto\nBUILD_ID={build_id(sequence, pretend)}\nPRETEND={pretend}\n".encode()
    sections = [
        (".osrel", release),
        (".cmdline", b"console=ttyS0 lockdown=integrity"),
        (".initrd", b"initrd" + hashlib.shake_128(release).digest(padding)),
        (".linux", pe_images.KERNEL),
    ]
    return uki.build(pe_images.STUB, sections)


def launch_of(image: bytes) -> Launch:
    """What a boot of a UKI measures."""
    return describe.of_uki(image, Digests.of(b"gpt"), stub=STUB, disk_size=len(DISK))


def make(
    folder: Path,
    store: Store,
    *,
    sequence: int,
    pretend: str = "honest",
    padding: int = 0,
    signed: bool = True,
    **changes: Any,
) -> Path:
    """A release in `folder`; `changes` as `releases.release` takes them."""
    made = image(sequence, pretend, padding)
    launch = launch_of(made)
    values = Measurements(launch.build_id, launch.flavour, measure(launch, platform(), PROFILE).profiles)
    files = {name: name.encode() for name in artifact.NAMES if name != "release.json"}
    files |= {
        "pluto.efi": made,
        "disk.raw": DISK,
        "firmware.fd": FIRMWARE,
        "launch.json": launch.to_text().encode(),
        "measurements.json": values.to_text().encode(),
        "lock.json": lock(store).to_text().encode(),
    }
    today = datetime.now(UTC).replace(microsecond=0)
    facts = releases.FACTS
    terms = TcbTerms(("UpToDate",), (), 20, 0, 30)
    given: dict[str, Any] = {
        "version": f"1.{sequence}.0",
        "sequence": sequence,
        "minimum_sequence": 1,
        "supersedes": sequence - 1,
        "issued_at": today - timedelta(days=1),
        "not_after": today + timedelta(days=365),
        "build_id": launch.build_id,
        "platforms": tuple(described(profile) for profile in values.profiles),
    }
    assert facts.tcb.max_collateral_age_days <= terms.max_collateral_age_days
    releases.write(folder, files, **{**given, **changes})
    return releases.sign(folder).parents[1] if signed else folder


def lock(store: Store) -> Lock:
    """The lock of a release whose tools are `TOOLS`, which are put into `store`."""
    archive = LockedArchive("main", "trixie", "debian", "2025-01-01T00:00:00Z", 0, "0" * 64, (), ())
    entries = [debs.entry(f"./{path}", data, mode=mode) for path, (mode, data) in TOOLS.items()]
    data = debs.deb(entries, name="qemu-system-x86", version="1:11.1+ds-1", suffix=".gz")
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    names = ("qemu-system-x86", "1:11.1+ds-1", "amd64")
    pool = "pool/qemu-system-x86.deb"
    package = Package(*names, len(data), store.put(data), sha1, pool, "main", "qemu", "1:11.1+ds-1", {})
    return Lock(1, "0" * 64, (archive,), (), (package,), (), ())
