"""launch.json: the digests that decide what a boot of one build measures, and nothing else. Pure.

The builder writes it, `predict` reads it. Format: docs/formats/launch.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

VERSION: Final = 1
FLAVOURS: Final = ("release", "debug")


@dataclass(frozen=True, slots=True)
class SectionDigest:
    """A measured section of the UKI: name with its dot, VirtualSize in bytes, digests over exactly that many bytes."""

    name: str
    size: int
    digests: Digests


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that a boot of one build measures. Sizes in bytes."""

    build_id: str  # SHA-256 in hex
    flavour: str  # release | debug
    stub: str  # systemd-stub's version, such as "257.13-1~deb13u1"
    uki_size: int
    uki_digests: Digests  # of the whole file
    uki_authenticode: Digests
    kernel_size: int
    kernel_authenticode: Digests
    sections: tuple[SectionDigest, ...]  # in the order of the file
    handed_initrd_size: int
    handed_initrd: Digests  # the initrd as the stub hands it to the kernel, not the .initrd section alone
    command_line: str
    disk_size: int
    gpt_event: Digests  # over the data of EV_EFI_GPT_EVENT

    def to_json(self) -> dict[str, object]:
        return {
            "version": VERSION,
            "buildId": self.build_id,
            "flavour": self.flavour,
            "stub": self.stub,
            "uki": {
                "size": self.uki_size,
                "digests": self.uki_digests.to_json(),
                "authenticode": self.uki_authenticode.to_json(),
            },
            "kernel": {"size": self.kernel_size, "authenticode": self.kernel_authenticode.to_json()},
            "sections": [{"name": s.name, "size": s.size, "digests": s.digests.to_json()} for s in self.sections],
            "handedInitrd": {"size": self.handed_initrd_size, "digests": self.handed_initrd.to_json()},
            "commandLine": self.command_line,
            "disk": {"size": self.disk_size, "gptEvent": self.gpt_event.to_json()},
            "container": None,
        }

    def to_text(self) -> str:
        return pretty(self.to_json())

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse launch.json. FormatError for anything unknown, missing or of the wrong kind."""
        top = Fields(loads(text, what="launch.json"), what="launch.json")
        if (version := top.take("version", int)) != VERSION:
            raise FormatError("launch.json", f"version {version} is not known")
        build_id = top.hex("buildId", 32).hex()
        if (flavour := top.take("flavour", str)) not in FLAVOURS:
            raise FormatError("launch.json", f"flavour {flavour!r} is not one of {', '.join(FLAVOURS)}")
        uki, kernel, disk = top.sub("uki"), top.sub("kernel"), top.sub("disk")
        handed = top.sub("handedInitrd")
        if top.take("container", type(None)) is not None:
            raise FormatError("launch.json", "container is not known yet")
        launch = cls(
            build_id=build_id,
            flavour=flavour,
            stub=top.take("stub", str),
            uki_size=_size(uki),
            uki_digests=_digests(uki, "digests"),
            uki_authenticode=_digests(uki, "authenticode"),
            kernel_size=_size(kernel),
            kernel_authenticode=_digests(kernel, "authenticode"),
            sections=tuple(_section(item) for item in top.take("sections", list)),
            handed_initrd_size=_size(handed),
            handed_initrd=_digests(handed, "digests"),
            command_line=top.take("commandLine", str),
            disk_size=_size(disk),
            gpt_event=_digests(disk, "gptEvent"),
        )
        for fields in (top, uki, kernel, disk, handed):
            fields.end()
        return launch


def _section(value: object) -> SectionDigest:
    fields = Fields(value, what="launch.json.sections[]")
    section = SectionDigest(fields.take("name", str), _size(fields), _digests(fields, "digests"))
    fields.end()
    return section


def _size(fields: Fields) -> int:
    size: int = fields.take("size", int)
    if size < 0:
        raise FormatError("launch.json", f"size {size} is negative")
    return size


def _digests(fields: Fields, name: str) -> Digests:
    pair = fields.sub(name)
    digests = Digests(pair.hex("sha256", 32), pair.hex("sha384", 48))
    pair.end()
    return digests
