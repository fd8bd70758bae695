"""Where a measurement goes: the PCR that firmware names, and the register that a machine has for it. Pure.

UEFI specification, EFI_CC_MEASUREMENT_PROTOCOL.MapPcrToMrIndex; edk2 `OvmfPkg/Tcg/TdTcg2Dxe/TdTcg2Dxe.c`. In a CC log
an index is the number of the RTMR plus one, and 0 is MRTD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pluto_measure.digests import ALGORITHMS

PCR_COUNT: Final = 24


@dataclass(frozen=True, slots=True)
class Medium:
    """The registers of one kind of machine.

    of_pcr  the register for each PCR that firmware names; a PCR that is not there is not predicted on this machine
    banks   the algorithms of its registers
    all     every register that a profile has a rule for
    """

    of_pcr: Mapping[int, str]
    banks: tuple[str, ...]
    all: tuple[str, ...]
    is_tdx: bool

    def initial(self, register: str, bank: str) -> bytes:
        """The register before the first event: ones in PCR 17 to 22, which only a dynamic launch resets, else zeros."""
        return (b"\xff" if register in DYNAMIC else b"\0") * ALGORITHMS[bank][1]


PCRS: Final = tuple(f"pcr{i}" for i in range(PCR_COUNT))
DYNAMIC: Final = frozenset(f"pcr{i}" for i in range(17, 23))
RTMRS: Final = ("rtmr0", "rtmr1", "rtmr2", "rtmr3")
OF_RTMR: Final[Mapping[int, str]] = {
    1: "rtmr0",
    7: "rtmr0",
    **dict.fromkeys(range(2, 7), "rtmr1"),
    **dict.fromkeys(range(8, 16), "rtmr2"),
}
TDX: Final = Medium(OF_RTMR, ("sha384",), ("mrtd", *RTMRS), is_tdx=True)
VTPM: Final = Medium({pcr: f"pcr{pcr}" for pcr in range(1, 16)}, ("sha256", "sha384"), PCRS, is_tdx=False)
# Microsoft's firmware measures its own things into the others; these three are as any firmware fills them.
AZURE: Final = Medium({4: "pcr4", 9: "pcr9", 11: "pcr11"}, ("sha256",), (*PCRS, "mrtd", *RTMRS), is_tdx=False)
TOKEN: Final = Medium({}, (), (), is_tdx=False)  # Confidential Space: claims instead of registers

MEDIA: Final[Mapping[str, Medium]] = {
    "qemu-tdx": TDX,
    "gcp-tdx": TDX,
    "azure-tdx": AZURE,
    "gcp-confidential-space": TOKEN,
    "qemu-vtpm": VTPM,
}
