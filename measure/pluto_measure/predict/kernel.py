"""The kernel on direct boot: which bytes of it are measured, and what command line it is given. Pure.

QEMU rewrites the setup header of a kernel that it is given by -kernel, unless it hands the file over under a name of
its own (`etc/boot/kernel`, QEMU 10.0) to firmware that reads it (edk2 202502), or the guest is confidential (10.2).
"""

from __future__ import annotations

from typing import Final

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.launch import Launch
from pluto_measure.machine.platform import TDX_KINDS, Platform
from pluto_measure.predict import stub

_NAMED_BLOBS_QEMU: Final = (10, 0)
_NAMED_BLOBS_EDK2: Final = 202502
_CONFIDENTIAL_UNTOUCHED: Final = (10, 2)


def is_rewritten(platform: Platform) -> bool:
    """Whether this VMM hands the firmware another kernel than the file it was given."""
    if platform.vmm != "qemu":
        return False
    if platform.version >= _CONFIDENTIAL_UNTOUCHED and platform.kind in TDX_KINDS:
        return False
    return not (platform.version >= _NAMED_BLOBS_QEMU and platform.generation >= _NAMED_BLOBS_EDK2)


def check_uki(platform: Platform) -> None:
    """FormatError where this VMM may write into a UKI that it is given by -kernel, as into a kernel of ancient times.

    QEMU did so to any image without a setup header until commit 57e2cc9abf5d, which is in 10.0 and in some updates of
    earlier releases.
    """
    if platform.boot == "uki-kernel" and platform.vmm == "qemu" and platform.version < _NAMED_BLOBS_QEMU:
        raise FormatError(
            "platform file",
            f"QEMU {platform.vmm_version} may write into a UKI that it starts by -kernel; 10.0 does not",
        )


def measured_image(launch: Launch, platform: Platform) -> Digests:
    """Authenticode of the kernel as the firmware gets it on direct boot.

    A kernel that is known by its digest alone is taken to be the one that the firmware gets: where the VMM rewrites the
    header, a digest of the file does not fit any machine.
    """
    if not is_rewritten(platform) or launch.kernel_file is None:
        return launch.kernel_authenticode
    # Imported here, as below: only direct boots need the kernel's own format.
    from pluto_measure.formats import linux, pe

    rewritten = linux.rewrite_for_qemu(
        launch.kernel_file,
        memory=platform.memory,
        initrd_size=None if launch.handed_initrd is None else launch.handed_initrd_size,
        command_line=launch.command_line,
    )
    return pe.authenticode(rewritten)


def load_options(launch: Launch, platform: Platform) -> bytes | Digests:
    """LoadOptions as the kernel gets them, UTF-16LE with its NUL; empty where there are none. Or their digests."""
    if launch.load_options is not None:
        return launch.load_options
    if platform.boot != "direct":
        has_section = any(section.name == ".cmdline" for section in launch.sections)
        return stub.load_options(launch.command_line, has_section=has_section)
    from pluto_measure.formats import linux

    return linux.load_options(launch.command_line, launch.handed_initrd is not None, platform.generation)
