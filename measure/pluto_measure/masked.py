"""64-bit fields of which only some bits count, such as TDATTRIBUTES and XFAM. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

_BITS: Final = re.compile(r"0x[0-9A-Fa-f]{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Masked:
    """A 64-bit field of which the bits under `mask` must be `value`."""

    value: int
    mask: int

    def fits(self, actual: int) -> bool:
        """Whether the bits under the mask are as they must be."""
        return actual & self.mask == self.value

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """{value, mask}, each as "0x…". FormatError, also for a value with bits that are never looked at."""
        found = cls(_bits(fields, "value"), _bits(fields, "mask"))
        fields.end()
        if found.value & ~found.mask:
            raise FormatError(fields.what, "value has bits outside mask, so nothing would be accepted")
        return found

    def to_json(self) -> dict[str, str]:
        return {"value": f"{self.value:#x}", "mask": f"{self.mask:#x}"}


def _bits(fields: Fields, name: str) -> int:
    text = fields.take(name, str)
    if _BITS.fullmatch(text) is None:
        raise FormatError(fields.what, f'{name} is {text[:40]!r}, not 64 bits such as "0x3"')
    return int(text, 16)
