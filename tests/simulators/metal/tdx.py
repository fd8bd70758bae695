"""What a TDX host shows of its hardware and kernel, on the real paths, each fact togglable.

Paths and good values: the checks of Intel's and Canonical's enabling guides. A model-specific register N is the
8 bytes at offset N of /dev/cpu/K/msr, so in a plain file registers closer than 8 overlap and must agree there.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

TME_ACTIVATE, SEAMRR, KEY_PARTITIONING = 0x982, 0x1401, 0x87
MCHECK, PLATFORM_INFO, SGX_SVN = 0xA0, 0xCE, 0x500

INITIALISED = (
    "x86/tme: enabled by BIOS",
    "virt/tdx: BIOS enabled: private KeyID range [64, 128)",
    "virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.",
    "virt/tdx: 1050644 KB allocated for PAMT",
    "virt/tdx: module initialized",
)
HIBERNATION = (*INITIALISED[:2], "virt/tdx: initialization failed: Hibernation support is enabled")
FEW_KEYS = (*INITIALISED[:1], "virt/tdx: initialization failed: too few private KeyIDs available.")
BIOS_OFF = ("x86/tme: not enabled by BIOS",)

# Device → (mode, major, minor, group). SGX's minors are dynamic: the look-alikes are nodes of /dev/null's.
DEVICES: Mapping[str, tuple[str, int, int, str]] = {
    "kvm": ("660", 10, 232, "kvm"),
    "vhost-net": ("660", 10, 238, "kvm"),
    "vhost-vsock": ("660", 10, 241, "kvm"),
    "sgx_enclave": ("660", 1, 3, "sgx"),
    "sgx_provision": ("660", 1, 3, "sgx_prv"),
    "sgx_vepc": ("660", 1, 3, "root"),
}
WRAPPERS: Mapping[str, str] = {
    # What GRUB's does with the defaults; the next boot takes it for its command line.
    "update-grub": (
        "#!/bin/sh\nset -e\nmkdir -p /boot/grub\n"
        "for file in /etc/default/grub /etc/default/grub.d/*.cfg; do\n"
        '    [ ! -f "$file" ] || . "$file"\ndone\n'
        'echo "$GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT" >/boot/grub/cmdline\n'
        'echo "Generating grub configuration file ..." >&2\n'
    ),
    "dmesg": "#!/bin/sh\nexec cat /run/kernel.log\n",
    "uname": '#!/bin/sh\n[ "$*" = -r ] && exec cat /proc/sys/kernel/osrelease\nexec /usr/bin/uname "$@"\n',
    "journalctl": (
        '#!/bin/sh\nfor word in "$@"; do\n    case $word in\n'
        "    -k | --dmesg) exec cat /run/kernel.log ;;\n    esac\ndone\n"
        'exec /usr/bin/journalctl "$@"\n'
    ),
}


@dataclass(frozen=True, slots=True)
class Tdx:
    """The facts. `registers` are model-specific (number → value); None: the module that
    shows them is not loaded. `parameters`: those of kvm_intel, None: not loaded.
    """

    flags: tuple[str, ...] = ("vmx", "sgx", "sgx_lc", "tme", "tdx_host_platform")
    family: int = 6
    model: int = 207  # Emerald Rapids
    model_name: str = "INTEL(R) XEON(R) GOLD 6530"
    cpus: int = 2
    kernel: str = "7.0.0-14-generic"
    kernel_config: tuple[str, ...] = ("CONFIG_INTEL_TDX_HOST=y", "CONFIG_KVM_INTEL_TDX=y", "CONFIG_X86_SGX=y")
    command_line: str = "BOOT_IMAGE=/vmlinuz root=/dev/md2 ro nohibernate kvm_intel.tdx=1"
    kernel_log: tuple[str, ...] = INITIALISED
    parameters: Mapping[str, str] | None = field(default_factory=lambda: {"tdx": "Y", "sgx": "Y"})
    registers: Mapping[int, int] | None = field(
        default_factory=lambda: {
            TME_ACTIVATE: 1 << 1,
            SEAMRR: 1 << 11,
            KEY_PARTITIONING: 64 << 32 | 63,
            MCHECK: 0,
            PLATFORM_INFO: 0,
            SGX_SVN: 0,
        }
    )
    devices: tuple[str, ...] = tuple(DEVICES)
    vendor: str = "Example Systems"
    product: str = "Rack 2"
    module_version: str | None = None  # shown only by machines whose kernel has /sys/devices/faux (6.14)
    once_set: Tdx | None = None  # from the first boot with `nohibernate kvm_intel.tdx=1` on
    memory_table: bytes | None = None  # SMBIOS structures, as /sys/firmware/dmi/tables/DMI

    @classmethod
    def healthy(cls) -> Tdx:
        """A host where all is as it should be."""
        return cls()

    @classmethod
    def absent(cls) -> Tdx:
        """An older server: no TDX, no SGX, an older kernel with its distribution's command line."""
        return replace(
            cls(), flags=("vmx",), model=85, model_name="Intel(R) Xeon(R) Gold 5220", kernel="6.8.0-60-generic",
            kernel_config=("# CONFIG_INTEL_TDX_HOST is not set",), command_line="BOOT_IMAGE=/vmlinuz root=/dev/md2 ro",
            kernel_log=BIOS_OFF, parameters={"sgx": "N"}, registers={PLATFORM_INFO: 0},
            devices=("kvm", "vhost-net", "vhost-vsock"),
        )  # fmt: skip

    @classmethod
    def unset(cls) -> Tdx:
        """A host whose firmware is right and whose kernel is not told; words for GRUB and a reboot heal it."""
        return replace(
            cls(), command_line="BOOT_IMAGE=/vmlinuz root=/dev/md2 ro", kernel_log=HIBERNATION,
            parameters={"tdx": "N", "sgx": "Y"}, once_set=cls(command_line="BOOT_IMAGE=/vmlinuz root=/dev/md2 ro"),
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write the files that hardware.sh mounts. Files are rewritten in place, so mounted ones change at once."""
        if self.once_set is not None:
            self.once_set.write(folder / "set")
        texts = {
            "cpuinfo": self.cpuinfo(), "cmdline": f"{self.command_line}\n", "osrelease": f"{self.kernel}\n",
            "version": f"Linux version {self.kernel} (build@example) #1 SMP PREEMPT_DYNAMIC\n",
            "kernel.log": self.dmesg(), "devices.sh": self.devices_script(),
            **{f"module/kvm_intel/parameters/{name}": f"{value}\n" for name, value in (self.parameters or {}).items()},
            **{f"dmi/{name}": f"{value}\n" for name, value in self._dmi().items()},
            **{f"bin/{name}": text for name, text in WRAPPERS.items()},
        }  # fmt: skip
        contents = {path: text.encode() for path, text in texts.items()}
        if self.registers is not None:
            registers = register_file(self.registers)
            contents |= {f"cpu/{number}/msr": registers for number in range(self.cpus)}
        if self.module_version is not None:
            contents["faux/tdx_host/version"] = f"{self.module_version}\n".encode()
        if self.memory_table is not None:
            contents["firmware/dmi/tables/DMI"] = self.memory_table
        for name in ("module", "cpu", "faux", "firmware"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            _forget(folder / name, keep={folder / path for path in contents})
        for path, content in contents.items():
            private = path.endswith(("msr", "kernel.log"))
            _rewrite(folder / path, content, 0o600 if private else 0o755 if path.startswith("bin/") else 0o644)

    def cpuinfo(self) -> str:
        """/proc/cpuinfo."""
        flags = " ".join(("fpu", "vme", "de", "pse", "tsc", "msr", "constant_tsc", *self.flags))
        return "".join(
            f"processor\t: {number}\nvendor_id\t: GenuineIntel\ncpu family\t: {self.family}\nmodel\t\t: {self.model}\n"
            f"model name\t: {self.model_name}\nstepping\t: 2\nmicrocode\t: 0x21000283\nphysical id\t: 0\n"
            f"core id\t\t: {number}\ncpu cores\t: {self.cpus}\nflags\t\t: {flags}\n\n"
            for number in range(self.cpus)
        )

    def dmesg(self) -> str:
        """The kernel log, as dmesg prints it."""
        lines = (f"Linux version {self.kernel}", f"Command line: {self.command_line}", *self.kernel_log)
        return "".join(f"[{second:5d}.{second * 1234 % 1000000:06d}] {line}\n" for second, line in enumerate(lines))

    def devices_script(self) -> str:
        """A shell script that makes the device nodes of a root in the working folder what they should be."""
        lines = []
        for name, (mode, major, minor, group) in DEVICES.items():
            lines.append(f"rm -f dev/{name}")
            if name in self.devices:
                lines.append(f"mknod -m {mode} dev/{name} c {major} {minor}")
                lines.append(f"chroot . chgrp {group} /dev/{name} 2>/dev/null || :")
        config = "".join(f"{line}\n" for line in self.kernel_config)
        lines.append("mkdir -p boot && rm -f boot/config-*")
        lines.append(f"printf %s {shlex.quote(config)} >boot/config-{self.kernel}")
        return "\n".join(lines) + "\n"

    def _dmi(self) -> dict[str, str]:
        return {
            "sys_vendor": self.vendor, "product_name": self.product, "board_vendor": self.vendor,
            "board_name": self.product, "bios_version": "1.0",
        }  # fmt: skip


def register_file(registers: Mapping[int, int]) -> bytes:
    """The file whose 8 bytes at offset N are register N. Raises ValueError where two that overlap disagree."""
    content, known = bytearray(max(registers, default=0) + 8), set[int]()
    for number, value in registers.items():
        for offset, byte in enumerate(value.to_bytes(8, "little"), number):
            if offset in known and content[offset] != byte:
                raise ValueError(f"register {number:#x} overlaps another with another value")
            content[offset] = byte
            known.add(offset)
    return bytes(content)


def _rewrite(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode)
    with path.open("r+b") as stream:
        stream.truncate(0)
        stream.write(content)
    path.chmod(mode)


def _forget(folder: Path, *, keep: Set[Path]) -> None:
    """Remove files below `folder` that are not to be there any more, and folders left empty."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path not in keep:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
