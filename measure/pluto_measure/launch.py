"""launch.json: the digests that decide what a boot of one build measures, and nothing else. Pure.

The builder writes it, `predict` reads it; `pluto_measure.describe` makes one of files. Format: docs/formats/launch.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, loads, pretty

VERSION: Final = 1
FLAVOURS: Final = ("release", "debug")

_WHAT: Final = "launch.json"


@dataclass(frozen=True, slots=True)
class SectionDigest:
    """A measured section of the UKI: name with its dot, VirtualSize in bytes, digests over exactly that many bytes."""

    name: str
    size: int
    digests: Digests


@dataclass(frozen=True, slots=True)
class Container:
    """The notary as a container, for Confidential Space: digests as "sha256:…", what it is started with."""

    manifest_digest: str
    image_id: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        for digest in (self.manifest_digest, self.image_id):
            kind, colon, value = digest.partition(":")
            if not (kind == "sha256" and colon and len(value) == 64 and set(value) <= set("0123456789abcdef")):
                raise FormatError(f"{_WHAT}.container", f"{digest!r} is not sha256: and 64 lower-case hex digits")

    def to_json(self) -> dict[str, object]:
        return {
            "manifestDigest": self.manifest_digest,
            "imageId": self.image_id,
            "args": list(self.args),
            "env": dict(self.env),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """FormatError for anything unknown, missing or of the wrong kind."""
        fields = Fields(value, what=f"{_WHAT}.container")
        args, env = fields.take("args", list), fields.take("env", dict)
        if not all(isinstance(item, str) for item in (*args, *env.values())):
            raise FormatError(f"{_WHAT}.container", "args and env must hold texts")
        digest, image = fields.take("manifestDigest", str), fields.take("imageId", str)
        fields.end()
        return cls(digest, image, tuple(args), tuple(env.items()))


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that a boot of one build measures. Sizes in bytes.

    A kernel for direct boot has no UKI, no stub and no sections, and its command line and initrd are what the VMM was
    given. What is not booted from a disk has no disk. `kernel_file` is the kernel itself, where it is at hand, because
    some VMMs rewrite its header; it is never written to launch.json.
    """

    build_id: str  # SHA-256 in hex
    flavour: str  # release | debug
    stub: str  # systemd-stub's version, such as "257.13-1~deb13u1"; empty for direct boot
    uki_size: int
    uki_digests: Digests | None  # of the whole file
    uki_authenticode: Digests | None
    kernel_size: int
    kernel_authenticode: Digests
    sections: tuple[SectionDigest, ...]  # in the order of the file
    handed_initrd_size: int
    handed_initrd: Digests | None  # the initrd as the stub hands it to the kernel, not the .initrd section alone
    command_line: str
    disk_size: int
    gpt_event: Digests | None  # over the data of EV_EFI_GPT_EVENT
    container: Container | None = None
    kernel_file: bytes | None = field(default=None, repr=False)
    load_options: Digests | None = None  # where the command line is known by the digests of its event alone

    def to_json(self) -> dict[str, object]:
        return {
            "version": VERSION,
            "buildId": self.build_id,
            "flavour": self.flavour,
            "stub": self.stub,
            "uki": self._uki(),
            "kernel": {"size": self.kernel_size, "authenticode": self.kernel_authenticode.to_json()},
            "sections": [{"name": s.name, "size": s.size, "digests": s.digests.to_json()} for s in self.sections],
            "handedInitrd": _sized(self.handed_initrd_size, "digests", self.handed_initrd),
            "commandLine": self.command_line if self.load_options is None else self.load_options.to_json(),
            "disk": _sized(self.disk_size, "gptEvent", self.gpt_event),
            "container": None if self.container is None else self.container.to_json(),
        }

    def to_text(self) -> str:
        return pretty(self.to_json())

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse launch.json. FormatError for anything unknown, missing or of the wrong kind."""
        top = Fields(loads(text, what=_WHAT), what=_WHAT)
        if (version := top.get("version", VERSION, int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        build_id = top.hex("buildId", 32).hex()
        if (flavour := top.take("flavour", str)) not in FLAVOURS:
            raise FormatError(_WHAT, f"flavour {flavour!r} is not one of {', '.join(FLAVOURS)}")
        uki, kernel = top.optional("uki"), top.sub("kernel")
        disk, (handed_size, handed) = (
            top.optional("disk"),
            _handed(top.get("handedInitrd", None, str, dict, type(None))),
        )
        line = top.take("commandLine", str, dict)
        container = top.get("container", None, dict, type(None))
        launch = cls(
            build_id=build_id,
            flavour=flavour,
            stub=top.get("stub", "", str),
            uki_size=_size(uki),
            uki_digests=None if uki is None else _optional(uki, "digests"),
            uki_authenticode=_digests(uki, "authenticode"),
            kernel_size=_size(kernel),
            kernel_authenticode=_required(kernel, "authenticode"),
            sections=tuple(_section(item) for item in top.get("sections", [], list)),
            handed_initrd_size=handed_size,
            handed_initrd=handed,
            command_line=line if isinstance(line, str) else "",
            disk_size=_size(disk),
            gpt_event=_digests(disk, "gptEvent"),
            container=None if container is None else Container.from_json(container),
            load_options=None if isinstance(line, str) else Digests.from_json(line, what=f"{_WHAT}.commandLine"),
        )
        for fields in (top, uki, kernel, disk):
            if fields is not None:
                fields.end()
        return launch

    def _uki(self) -> dict[str, object] | None:
        if self.uki_authenticode is None:
            return None
        digests = {} if self.uki_digests is None else {"digests": self.uki_digests.to_json()}
        return {"size": self.uki_size, **digests, "authenticode": self.uki_authenticode.to_json()}


def _sized(size: int, name: str, digests: Digests | None) -> dict[str, object] | None:
    return None if digests is None else {"size": size, name: digests.to_json()}


def _section(value: object) -> SectionDigest:
    fields = Fields(value, what=f"{_WHAT}.sections[]")
    section = SectionDigest(fields.take("name", str), _size(fields), _required(fields, "digests"))
    fields.end()
    return section


def _size(fields: Fields | None) -> int:
    size: int = 0 if fields is None else fields.take("size", int)
    if size < 0:
        raise FormatError(_WHAT, f"size {size} is negative")
    return size


def _handed(value: object) -> tuple[int, Digests | None]:
    """{size, digests}, or the digests alone, as they may be known of somebody else's initrd."""
    if not (isinstance(value, dict) and "digests" in value):
        return 0, None if value is None else Digests.from_json(value, what=f"{_WHAT}.handedInitrd")
    fields = Fields(value, what=f"{_WHAT}.handedInitrd")
    found = _size(fields), _required(fields, "digests")
    fields.end()
    return found


def _optional(fields: Fields, name: str) -> Digests | None:
    value = fields.get(name, None, str, dict)
    return None if value is None else Digests.from_json(value, what=f"{_WHAT}.{name}")


def _digests(fields: Fields | None, name: str) -> Digests | None:
    return None if fields is None else _required(fields, name)


def _required(fields: Fields, name: str) -> Digests:
    return Digests.from_json(fields.take(name, str, dict), what=f"{_WHAT}.{name}")
