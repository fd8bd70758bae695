"""The firmware of a trust domain, as far as it decides measurements: what stays of its bytes once read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import Digests, digest
from pluto_measure.errors import FormatError
from pluto_measure.formats import tdvf
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_measure.formats.tdvf import Section, SectionType
from pluto_measure.machine.mrtd import mrtd

# edk2 stable tags as numbers. What each generation changed: docs/measurements.md.
GENERATIONS: Final = (202302, 202305, 202308, 202311, 202402, 202405, 202408, 202411, 202502, 202505, 202508, 202511)
MENU_SPLIT: Final = 202505  # from this one on, boot menu and setup program are two applications


@dataclass(frozen=True, slots=True)
class Inside:
    """What is seen of an image only when it is unpacked; None where nobody knows.

    has_shell    whether a trust domain finds the UEFI shell, which then is a boot option
    has_setup    the same for the setup program, which from 202505 on is an option beside the menu
    menu_volume  the name (GUID) of the volume that the boot menu of 202505 and later lies in
    """

    generation: int | None = None
    has_shell: bool | None = None
    has_setup: bool | None = None
    menu_volume: bytes | None = None


# Published builds by SHA-256, so that the usual ones need not be unpacked.
KNOWN: Final[Mapping[str, Inside]] = {
    # Debian 13 ovmf 2025.02-8+deb13u1
    "14954040cc754ade0c625ac3470ea46d4c14318b5b1396de4ef77090203d76db": Inside(202502, True, True),
    # Ubuntu 25.04 ovmf 2025.02-3ubuntu2
    "9e807cb2cd4313406a3aa4becc0836671a5c64ca7bdc08a45e15260184b446bf": Inside(202502, True, True),
    # Ubuntu 25.10 ovmf 2025.02-8ubuntu3
    "a8135e3ddf1a3217cf36fa579c3cd24baed74a7879a656a5d7097e828af0a72e": Inside(202502, True, True),
    # Ubuntu 25.10 ovmf-inteltdx 2025.02-8ubuntu3
    "ae577ac531f6d7ecf7aee3203bfbd3d40db5eb8f79ce3e1ba69894a4711bc118": Inside(202502, False, True),
}
_UNSEEN: Final = Inside()


@dataclass(frozen=True, slots=True)
class Firmware:
    """A firmware image. Known by its digests alone, it has no sections, and MRTD and TD HOB cannot be computed.

    sections    its TDVF metadata, in order
    cfv         digest of the variable store as the firmware measures it, 48 bytes
    mrtds       MRTD by page order, 48 bytes each, for the orders that were asked for
    generation  the edk2 stable tag it was built from, such as 202502; None if nobody knows
    inside      what was seen of it when it was unpacked, which nobody does without need
    """

    digests: Digests
    size: int | None = None
    sections: tuple[Section, ...] = ()
    cfv: bytes = b""
    mrtds: Mapping[str, bytes] | None = None
    generation: int | None = None
    inside: Inside = _UNSEEN

    @classmethod
    def of(
        cls,
        data: bytes,
        order: str,
        generation: int | None = None,
        *,
        unpack: bool = False,
        digests: Digests | None = None,
    ) -> Self:
        """Everything about a firmware image. FormatError where it does not start a trust domain.

        `generation` as the caller says; where it is None it is found by digest or read out of the image. With `unpack`
        the image is looked into in any case, which takes most of a second. `digests` are the image's, where known.
        """
        sections = tdvf.parse(data)
        volumes = tdvf.find(sections, SectionType.CFV)
        if len(volumes) != 1:
            raise FormatError("firmware", f"{len(volumes)} CFV sections, not one")
        digests = digests or Digests.of(data)
        inside = KNOWN.get(digests.sha256.hex()) or (_look_inside(data) if unpack or not generation else _UNSEEN)
        return cls(
            digests=digests,
            size=len(data),
            sections=sections,
            cfv=digest("sha384", tdvf.content(data, volumes[0])),
            mrtds={order: mrtd(data, sections, order)},
            generation=generation or inside.generation,
            inside=inside,
        )

    def mrtd(self, order: str) -> bytes:
        """MRTD in this page order. FormatError where the image's bytes were not there to compute it."""
        if not self.mrtds or order not in self.mrtds:
            raise FormatError("firmware", "is known by its digest alone, so MRTD cannot be computed", hint=HINT)
        return self.mrtds[order]

    @classmethod
    def from_json(cls, value: object) -> Self:
        """What `to_json` gave of an image: as good as the image for everything that is predicted. FormatError."""
        fields = Fields(value, what="firmware")
        mrtds, generation = fields.get("mrtd", {}, dict), fields.get("edk2Generation", None, int, str)
        digests = {name: fields.get(name, "", str) for name in ("sha256", "sha384")}
        firmware = cls(
            digests=Digests.from_json({name: text for name, text in digests.items() if text}, what="firmware"),
            size=fields.get("size", None, int),
            sections=tuple(Section.from_json(item) for item in fields.take("sections", list)),
            cfv=fields.hex("cfv", 48),
            mrtds={order: unhex(text, 48, what=f"firmware.mrtd.{order}") for order, text in mrtds.items()},
            generation=None if generation is None else parse_generation(generation),
        )
        fields.end()
        if len(tdvf.find(firmware.sections, SectionType.TD_HOB)) != 1:
            raise FormatError("firmware", "has not one TD_HOB section")
        return firmware

    def to_json(self) -> dict[str, object]:
        document: dict[str, object] = dict(self.digests.to_json())
        if self.generation is not None:
            document["edk2Generation"] = self.generation
        if not self.sections:
            return document
        mrtds = {order: value.hex() for order, value in (self.mrtds or {}).items()}
        sections = [section.to_json() for section in self.sections]
        return {**document, "size": self.size, "cfv": self.cfv.hex(), "mrtd": mrtds, "sections": sections}


HINT: Final = "name the image with --firmware FILE"


def parse_generation(value: int | str) -> int:
    """An edk2 stable tag: 202502, "202502" or "edk2-stable202502". FormatError."""
    text = str(value).removeprefix("edk2-stable")
    if not (len(text) == 6 and text.isascii() and text.isdigit() and 1 <= int(text[4:]) <= 12):
        raise FormatError("edk2Generation", f"{value!r} is not a stable tag such as 202502")
    number = int(text)
    if number < GENERATIONS[0]:
        text = f"{number} measures no TD HOB and no variable store; {GENERATIONS[0]} is the first that does"
        raise FormatError("edk2Generation", text)
    return number


def _look_inside(data: bytes) -> Inside:
    # Imported here: only an image that is not known by its digest has to be unpacked.
    from pluto_measure.formats import firmware_volume

    try:
        seen = firmware_volume.parse(data)
    except FormatError:
        # Not edk2, or packed in a way that we do not read: MRTD is defined all the same, and whoever needs the
        # generation asks the caller for it.
        return _UNSEEN

    def volumes(file: bytes) -> list[bytes | None]:
        # IntelTdxX64 keeps programs that a trust domain does not run in a volume that it does not load.
        found = (volume.name for volume in seen.volumes_with(file))
        return [name for name in found if name != firmware_volume.NOT_IN_TD_VOLUME]

    menu = volumes(firmware_volume.MENU_APP)
    return Inside(
        generation=seen.generation,
        has_shell=bool(volumes(firmware_volume.SHELL)),
        has_setup=bool(volumes(firmware_volume.SETUP_APP)),
        menu_volume=menu[0] if menu else None,
    )
