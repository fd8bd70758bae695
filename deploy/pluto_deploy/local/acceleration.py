"""Does KVM work here? Asked of the real thing: our QEMU boots our firmware under it, and the firmware must speak.

/dev/kvm that opens, and even creates machines, is no answer: there are backends on which guests abort or hang.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pluto_deploy.local.machine import MACHINE_TYPE, acceleration
from pluto_image.tools import ToolsTree
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

DEVICE: Final = Path("/dev/kvm")
# Real KVM takes about a second to the first words; what hangs is not waited for much longer.
PATIENCE: Final = 8.0
_BROKEN: Final = b"KVM internal error"  # QEMU then keeps the machine, halted
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def choose(tools: ToolsTree, firmware: Path, cache: Path) -> str:
    """ "kvm" if it works, else "tcg". The answer is kept in the file `cache` until this computer or QEMU changes."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return "tcg"
    key = f"{_BOOT_ID.read_text().strip()} {tools.root}"
    if (known := _recall(cache, key)) is not None:
        return known
    answer = "kvm" if speaks(arguments(tools, firmware, "kvm"), tools.environment(), patience=PATIENCE) else "tcg"
    cache.write_text(pretty({"key": key, "accelerator": answer}))
    return answer


def arguments(tools: ToolsTree, firmware: Path, accelerator: str) -> list[str]:
    """The smallest machine that runs our firmware with all that the real one asks of the accelerator. Pure."""
    # fmt: off
    return tools.command(
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", f"{MACHINE_TYPE},smm=off,pic=off",
        "-accel", acceleration(accelerator),
        "-cpu", "max",
        "-smp", "2",
        "-m", "128M",
        "-bios", firmware,
        "-serial", "stdio",
    )
    # fmt: on


def speaks(argv: Sequence[str], environment: Mapping[str, str], *, patience: float) -> bool:
    """Whether the program writes to its standard output within `patience` seconds, before it reports that KVM broke.

    It is ended then.
    """
    limit = time.monotonic() + patience
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            return _first_words(process.stdout.fileno(), process.stderr.fileno(), limit)
        finally:
            process.kill()


def _first_words(output: int, errors: int, limit: float) -> bool:
    """True for words on `output`; False at its end, at the limit, or when `errors` tells of a broken machine."""
    complaint, sources = b"", [output, errors]
    while (left := limit - time.monotonic()) > 0:
        ready, _, _ = select.select(sources, [], [], left)
        if output in ready:
            return bool(os.read(output, 1))
        if errors in ready:
            data = os.read(errors, 4096)
            complaint = (complaint + data)[-8192:]
            if _BROKEN in complaint:
                return False
            sources = sources if data else [output]
    return False


def _recall(cache: Path, key: str) -> str | None:
    try:
        fields = Fields(loads(cache.read_bytes(), what="cache"), what="cache")
        same, answer = fields.take("key", str) == key, fields.take("accelerator", str)
    except (OSError, FormatError):
        return None
    return str(answer) if same and answer in ("kvm", "tcg") else None
