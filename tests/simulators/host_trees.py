"""Folders that look like the root of a prepared TDX host, and the document that the probe writes about one.

GOOD is what the probe must say of `plant(root)`, but for owners: a test's files are its own. `changed` alters a copy.
"""

from __future__ import annotations

import copy
import struct
from pathlib import Path
from typing import Any

EMR = "INTEL(R) XEON(R) PLATINUM 8558"
GIB = 1 << 30
LOG = (
    "[    1.824045] virt/tdx: BIOS enabled: private KeyID range [32, 64)",
    "[   24.195089] virt/tdx: 1050644 KB allocated for PAMT",
    "[   24.195098] virt/tdx: module initialized",
)
REGISTERS = {0x87: 63 << 32 | 64, 0xA0: 0, 0xCE: 0, 0xFE: 1 << 15, 0x500: 0x55 << 16, 0x503: 0}
REGISTERS |= {0x982: 1 << 48 | 0b11, 0x1401: 0b11 << 10}
LOADED = {"load": "loaded", "active": "active", "enabled": "enabled", "result": "success"}
DEVICE = {"kind": "character", "mode": 0o660, "owner": "root", "group": "root"}
PPID = "0f" * 16

GOOD: dict[str, Any] = {
    "version": 1,
    "processor": {
        "vendor": "GenuineIntel", "family": 6, "model": 207, "stepping": 2, "name": EMR,
        "flags": ["movdir64b", "sgx", "sgx_lc", "ss", "tdx_host_platform", "tme", "vmx"], "threads": 4, "sockets": 2,
    },
    "registers": {"state": "read", "values": {f"{number:#x}": f"{value:016x}" for number, value in REGISTERS.items()}},
    "kernel": {
        "release": "6.19.0-3-generic", "config": {"INTEL_TDX_HOST": "y", "KVM_INTEL_TDX": "y"},
        "parameters": ["nohibernate", "kvm_intel.tdx=1"], "hibernation": False, "crashKernel": False,
        "log": [*LOG], "logSource": "dmesg", "kvm": True, "kvmTdx": True, "kvmSgx": True, "tdxModule": "1.5.24",
    },
    "system": {
        "id": "ubuntu", "release": "26.04", "name": "Ubuntu 26.04 LTS", "systemd": 259,
        "maker": "ACME", "product": "Server 1", "firmware": "2.9",
    },
    "devices": {
        "kvm": DEVICE | {"group": "kvm"}, "sgx_enclave": DEVICE | {"group": "sgx"},
        "sgx_provision": DEVICE | {"group": "sgx_prv"}, "vhost-net": DEVICE, "net/tun": DEVICE | {"mode": 0o666},
    },
    "services": dict.fromkeys(("qgsd", "pccs", "mpa_registration_tool", "systemd-networkd"), LOADED),
    "quotes": {
        "configured": True, "port": None, "threads": 4,
        "folder": {"kind": "folder", "mode": 0o710, "owner": "qgsd", "group": "pluto-qgs"},
        "socket": {"kind": "socket", "mode": 0o660, "owner": "qgsd", "group": "pluto-qgs"},
        "answer": {"state": "answered", "tdqe": 4, "pce": 13, "platform": "aa" * 16, "cpuSvn": "bb" * 16},
    },
    "provisioning": {
        "configured": True, "readable": True, "url": "https://localhost:8081/sgx/certification/v4/", "secure": False,
        "answer": {"state": "answered", "status": 200, "tls": "unverified"},
        "certificate": {"state": "answered", "status": 200, "tls": "unverified", "ppid": PPID},
    },
    "registration": "Registration process completed successfully.",
    "memory": {"total": 1024 * GIB, "available": 1000 * GIB, "swap": 0, "modules": [65536] * 16},
    "disk": {"path": "/var/lib", "free": 400 * GIB, "total": 500 * GIB},
    "nft": True,
}  # fmt: skip


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """A copy of GOOD with members set: ("kernel.release", "6.8")."""
    document = copy.deepcopy(GOOD)
    for path, value in changes:
        *parents, name = path.split(".")
        target = document
        for parent in parents:
            target = target[parent]
        if name not in target:
            raise KeyError(path)
        target[name] = value
    return document


def register(number: int, value: int | None) -> tuple[str, str | None]:
    """A change of one register for `changed`."""
    return f"registers.values.{number:#x}", None if value is None else f"{value:016x}"


def plant(root: Path, *, qgs: bool = True) -> Path:
    """Make the tree below `root`. `qgs` false leaves the socket's folder out."""
    for path, text in _texts().items():
        write(root, path, text)
    _plant_firmware(root)
    _plant_programs(root)
    if qgs:
        (root / "var/run/tdx-qgs").mkdir(parents=True, mode=0o710)
    (root / "var/lib").mkdir(parents=True, exist_ok=True)
    return root


def _texts() -> dict[str, str]:
    """What the kernel, the firmware's tables and the configuration say as text."""
    flags = " ".join(["fpu", *GOOD["processor"]["flags"], "avx512f"])
    threads = "\n\n".join(
        f"processor\t: {thread}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: {EMR}\n"
        f"stepping\t: 2\nphysical id\t: {thread % 2}\nflags\t\t: {flags}"
        for thread in range(4)
    )
    return {
        "proc/cpuinfo": threads + "\n\n",
        "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=UUID=1 nohibernate kvm_intel.tdx=1 password=secret\n",
        "proc/sys/kernel/osrelease": "6.19.0-3-generic\n",
        "proc/meminfo": f"MemTotal: {GIB} kB\nMemFree: 5 kB\nMemAvailable: {1000 << 20} kB\nSwapTotal: 0 kB\n",
        "boot/config-6.19.0-3-generic": "CONFIG_X86=y\nCONFIG_INTEL_TDX_HOST=y\nCONFIG_KVM_INTEL_TDX=y\n",
        "sys/power/disk": "[disabled]\n",
        "sys/kernel/kexec_crash_loaded": "0\n",
        "sys/module/kvm_intel/parameters/tdx": "Y\n",
        "sys/module/kvm_intel/parameters/sgx": "Y\n",
        "sys/devices/faux/tdx_host/version": "1.5.24\n",
        "sys/class/dmi/id/sys_vendor": "ACME\n",
        "sys/class/dmi/id/product_name": "Server 1\n",
        "sys/class/dmi/id/bios_version": "2.9\n",
        "etc/os-release": 'PRETTY_NAME="Ubuntu 26.04 LTS"\nID=ubuntu\nVERSION_ID="26.04"\n',
        "etc/qgs.conf": "# port = 4050\nnumber_threads = 4\n",
        "etc/sgx_default_qcnl.conf": "",
    }


def _plant_firmware(root: Path) -> None:
    """The processor's registers, and SMBIOS."""
    msr = write(root, "dev/cpu/0/msr", "")
    with msr.open("r+b") as file:
        for number, value in REGISTERS.items():
            file.seek(number)
            file.write(value.to_bytes(8, "little"))
    table = b"".join(memory_device(0x7FFF, 65536) for _ in range(16)) + bytes([127, 4, 0, 0, 0, 0])
    write(root, "sys/firmware/dmi/tables/DMI", "").write_bytes(b"\0\x18\0\0" + bytes(20) + b"ACME\0\0" + table)


def _plant_programs(root: Path) -> None:
    program(root, "dmesg", "\n".join(["[    0.0] Command line: kvm_intel.tdx=1 password=secret", *LOG]))
    program(root, "nft", "")
    program(root, "mpa_manage", "\nRegistration process completed successfully.\n")
    shown = "".join(f"{name}={value}\n" for name, value in zip(
        ("LoadState", "ActiveState", "UnitFileState", "Result"), LOADED.values(), strict=True))  # fmt: skip
    program(root, "systemctl", shown, "--version", "systemd 259 (259.1-1ubuntu1)\n+PAM")


def write(root: Path, path: str, text: str) -> Path:
    """Write one file of the tree."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def program(root: Path, name: str, says: str, word: str = "no such word", otherwise: str = "") -> Path:
    """A program that says one thing, and another if its first word is `word`."""
    script = f"#!/bin/sh\nif [ \"$1\" = '{word}' ]; then cat <<'E'\n{otherwise}\nE\nelse cat <<'E'\n{says}\nE\nfi\n"
    path = write(root, f"usr/bin/{name}", script)
    path.chmod(0o755)
    return path


def memory_device(size: int, extended: int = 0) -> bytes:
    """A structure of SMBIOS type 17: `size` as in the field at 0x0C, `extended` as in the one at 0x1C."""
    body = struct.pack("<BBH", 17, 0x28, 0x1100).ljust(0x0C, b"\0") + struct.pack("<H", size)
    body = body.ljust(0x1C, b"\0") + struct.pack("<I", extended)
    return body.ljust(0x28, b"\0") + b"DIMM_A1\0\0"
