"""The difference of two releases as values. `before` is None for what is new, `after` for what is gone.

Digests in hex, sizes in bytes. Members of the JSON document are these names in camel case
(docs/formats/release-difference.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Which release one side is. `digest`: of its list of digests."""

    name: str
    version: str
    channel: str
    sequence: int
    flavour: str
    build_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Value:
    """Something with a name and one value as text."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Locked:
    """A package as a lock has it. `archive`: its id in the lock."""

    version: str
    source: str
    source_version: str
    archive: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ScriptChange:
    """A maintainer script, by digest. `difference`: its lines; None where no text could be had."""

    script: str
    before: str | None
    after: str | None
    difference: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class PackageChange:
    """`tree`: image, tools, or wheels. A package may be the same but for its scripts' digests, and the reverse."""

    tree: str
    name: str
    before: Locked | None
    after: Locked | None
    scripts: tuple[ScriptChange, ...]


@dataclass(frozen=True, slots=True)
class FileState:
    """A path of the root. `origin`: what accounts for it, with the version of the package."""

    kind: str
    mode: str
    owner: str
    size: int
    sha256: str
    target: str
    origin: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """`what` differs: content, target, kind, mode, owner, origin. `difference`: lines, of short texts that changed."""

    path: str
    before: FileState | None
    after: FileState | None
    what: tuple[str, ...]
    difference: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A file of source.tar, by digest. `part`: its place in the project, such as "notary" or "image definition"."""

    path: str
    part: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class UnitState:
    """`state`: "starts at boot", "waits to be asked for" or "masked". `exposure` is "" for what runs no program."""

    state: str
    exposure: str


@dataclass(frozen=True, slots=True)
class UnitChange:
    """`files`: its unit file and drop-ins that changed; `difference`: their lines; `why`: the recipe's reason."""

    name: str
    before: UnitState | None
    after: UnitState | None
    files: tuple[str, ...]
    difference: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class ModuleState:
    """`loaded`: "at boot", "by its device" or "with another"."""

    size: int
    sha256: str
    loaded: str
    signed: bool


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """A kernel module; `why`: the recipe's reason."""

    name: str
    before: ModuleState | None
    after: ModuleState | None
    why: str


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the command line and what it asks for, "" where that is not known."""

    text: str
    meaning: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`moved`: the same words in another order."""

    before: str
    after: str
    removed: tuple[Token, ...]
    added: tuple[Token, ...]
    moved: bool


@dataclass(frozen=True, slots=True)
class SectionState:
    """A section of the UKI."""

    size: int
    sha384: str


@dataclass(frozen=True, slots=True)
class SectionChange:
    """`why`: what it is made of that changed."""

    name: str
    before: SectionState | None
    after: SectionState | None
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventState:
    """A predicted event. Digests by bank; `allowed` where there is more than one; both empty where any will do."""

    type: str
    digests: Mapping[str, str]
    allowed: tuple[Mapping[str, str], ...]
    description: str
    source: str


@dataclass(frozen=True, slots=True)
class EventChange:
    """`position`: among the events of the register, from 0, in the log that has it (the later one if both do)."""

    register: str
    role: str
    position: int
    before: EventState | None
    after: EventState | None
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegisterState:
    """A register's rule: docs/formats/measurements.md."""

    match: str
    source: str
    values: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class RegisterChange:
    """`roles`: of the events that moved it."""

    register: str
    before: RegisterState | None
    after: RegisterState | None
    roles: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """A machine of measurements.json. `kind`: added, removed or changed; `events` are empty unless it changed.

    `inputs`: what decides the prediction besides the build; `claims`: what a token must say.
    """

    id: str
    platform: str
    kind: str
    inputs: tuple[Value, ...]
    claims: tuple[Value, ...]
    registers: tuple[RegisterChange, ...]
    events: tuple[EventChange, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """All of it. `made_of`: what the build id is made of and what the publisher says; `boots`: parts of what boots.

    `artifacts`: the files of a DIST by digest; `unchanged_machines`: profiles that expect what they did.
    """

    before: Identity
    after: Identity
    equal: bool
    made_of: tuple[Value, ...]
    packages: tuple[PackageChange, ...]
    sources: tuple[SourceChange, ...]
    files: tuple[FileChange, ...]
    command_line: CommandLine | None
    units: tuple[UnitChange, ...]
    modules: tuple[ModuleChange, ...]
    sections: tuple[SectionChange, ...]
    boots: tuple[Value, ...]
    profiles: tuple[ProfileChange, ...]
    unchanged_machines: tuple[str, ...]
    artifacts: tuple[Value, ...]
