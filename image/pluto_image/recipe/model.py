"""The recipe as frozen values; `pluto_image.recipe.tables` reads them from image.toml. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Modules:
    """Kernel modules by name, in the recipe's order; `load`: by systemd-modules-load instead of a device alias."""

    names: tuple[str, ...]
    load: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """The package pattern (exactly one locked package matches), the image's path pattern, the module list."""

    package: str
    image: str
    modules: tuple[Modules, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for group in self.modules for name in group.names)


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of one locked package: the EFI stub of the image, the firmware of the tools tree."""

    package: str
    path: str
    version: str  # required beginning of the package's version


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Tokens in order: `common`, then those of the flavour."""

    common: tuple[str, ...]
    release: tuple[str, ...]
    debug: tuple[str, ...]

    def text(self, flavour: str) -> str:
        return " ".join((*self.common, *(self.debug if flavour == "debug" else self.release)))


@dataclass(frozen=True, slots=True)
class Keep:
    """What is taken of some packages: nothing else of them reaches the image."""

    packages: tuple[str, ...]
    paths: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Enable:
    """A link TARGET.wants/UNIT for each unit."""

    target: str
    units: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Mask:
    """Units linked to /dev/null."""

    units: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Units:
    default: str
    enable: tuple[Enable, ...]
    mask: tuple[Mask, ...]


@dataclass(frozen=True, slots=True)
class Directory:
    path: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Text:
    path: str
    text: str
    mode: int


@dataclass(frozen=True, slots=True)
class Source:
    """Files of the source tree that are laid below `to`: path patterns below the folder `base`.

    `debug`: in the debug flavour alone.
    """

    base: str
    paths: tuple[str, ...]
    to: str
    reason: str
    debug: bool = False


@dataclass(frozen=True, slots=True)
class WheelFiles:
    """Files of a locked wheel that are laid below `to`: path patterns inside the wheel."""

    name: str
    paths: tuple[str, ...]
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    gid: int
    gecos: str


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByteCode:
    """Python sources of locked packages that are replaced by their byte code; `interpreter` is a path in the root."""

    interpreter: str
    paths: tuple[str, ...]
    keep_sources: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Certificates:
    sources: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Files:
    rootfs: str  # folder beside image.toml whose files are laid as they are
    os_release: Mapping[str, str]
    directories: tuple[Directory, ...]
    links: tuple[Link, ...]
    texts: tuple[Text, ...]
    sources: tuple[Source, ...]
    users: tuple[User, ...]
    groups: tuple[Group, ...]
    byte_code: ByteCode | None
    certificates: Certificates | None
    wheels: tuple[WheelFiles, ...] = ()


@dataclass(frozen=True, slots=True)
class LintTable:
    """What the lint may not complain about: everything else that it finds fails the build."""

    listen: tuple[str, ...]  # ListenStream= and friends of socket units
    world_writable: tuple[str, ...]
    units: tuple[str, ...]  # every unit that something will start, by its name


@dataclass(frozen=True, slots=True)
class Kept:
    """Paths of the finished root that enter the container, by patterns."""

    paths: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Container:
    """The part of the finished root that is the container, and what an engine starts in it. `ports`: TCP."""

    name: str
    entrypoint: tuple[str, ...]
    user: User
    ports: tuple[int, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    keep: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    kernel: Kernel
    stub: Blob
    firmware: Blob
    command_line: CommandLine
    keep: tuple[Keep, ...]
    units: Units
    files: Files
    lint: LintTable
    container: Container
