"""64-bit fields of which only some bits count, such as TDATTRIBUTES and XFAM. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields


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
    try:
        value = int(text, 16) if text.startswith("0x") and "_" not in text else -1
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise FormatError(fields.what, f'{name} is {text!r}, not 64 bits such as "0x3"')
    return value
