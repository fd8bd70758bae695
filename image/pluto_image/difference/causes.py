"""Why a predicted event is another: from the `source` that the prediction names to what changed there. Pure.

`pluto_measure.predict` says of every event which input decided it, such as launch.sections[.cmdline] or
platform.memory. Each of these is led back to packages, files, words of the command line, or values of the machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pluto_image.difference import boot
from pluto_image.difference.model import (
    CommandLine,
    FileChange,
    PackageChange,
    SectionChange,
    Value,
)
from pluto_image.difference.packages import values
from pluto_image.difference.side import Side
from pluto_measure.wording import counted

_SECTION: Final = re.compile(r"launch\.sections\[(.*)\]")
_ASSIGNED: Final = re.compile(rb"([A-Z0-9_]+)=(.*)")
_ROOT: Final = (".initrd", "launch.handedInitrd")
_MOST_ORIGINS: Final = 8
_LONGEST: Final = 60  # characters of a value in a sentence
_INGREDIENTS: Final = ("definition", "lock", "sources")


@dataclass(frozen=True, slots=True)
class Causes:
    """Sentences by what changed. `sections`: of the UKI, by name; `parts`: of what boots, by name."""

    sections: Mapping[str, tuple[str, ...]]
    image: tuple[str, ...]
    parts: Mapping[str, Value]

    def of(self, source: str, inputs: Sequence[Value]) -> tuple[str, ...]:
        """Of an event whose `source` is this, on a machine whose inputs changed like that. At least one sentence."""
        found = [sentence for one in source.split(", ") for sentence in self._of(one.partition(" (")[0], inputs)]
        if not found and inputs:
            found = [_shown(one) for one in inputs]
        return tuple(dict.fromkeys(found)) or ("what stands around it changed",)

    def _of(self, source: str, inputs: Sequence[Value]) -> Iterator[str]:
        if (match := _SECTION.fullmatch(source)) is not None:
            yield from self.sections.get(match[1], ())
        elif source in _ROOT:
            yield from self.sections.get(".initrd", ("what the stub puts beside the root changed",))
        elif source == "launch.commandLine":
            yield from self.sections.get(".cmdline", ())
        elif source == "launch.uki.authenticode":
            yield from self.image
        elif source == "launch.kernel.authenticode":
            yield from self.sections.get(".linux", ())
        elif source == "launch.disk.gptEvent":
            yield from self._parts("disk, size") or ("ids in the partition table follow from pluto.efi",)
        elif source.startswith("platform.") or source == "firmware":
            yield from self._machine(source.removeprefix("platform."), inputs)

    def _machine(self, name: str, inputs: Sequence[Value]) -> Iterator[str]:
        first = re.split(r"[.\[]", name)[0]
        if first == "firmware":
            yield from self._parts("firmware") or self._parts("firmware.fd")
        nearest = [one for one in inputs if one.name.startswith(name)]
        for one in nearest or [one for one in inputs if one.name.startswith(first)]:
            if not one.name.startswith("firmware"):  # its digests: the part above has its version
                yield _shown(one)

    def _parts(self, *names: str) -> tuple[str, ...]:
        return tuple(_shown(self.parts[name]) for name in names if name in self.parts)


def sections(
    before: Side, after: Side, line: CommandLine | None, files: Sequence[FileChange], packages: Sequence[PackageChange]
) -> tuple[SectionChange, ...]:
    """The sections of the UKI that differ, in the order of the newer file, each with why."""
    one, two = boot.sections(before), boot.sections(after)
    told = _Told(before, after, line, files, packages)
    return tuple(
        SectionChange(name, one.get(name), two.get(name), tuple(told.section(name)))
        for name in {**two, **one}
        if one.get(name) != two.get(name)
    )


def causes(changed: Sequence[SectionChange], parts: Sequence[Value]) -> Causes:
    """From the sections and parts that differ."""
    known = {one.name: one for one in parts}
    image = []
    if changed:
        image.append(f"{'section' if len(changed) == 1 else 'sections'} {_joined([one.name for one in changed])}")
    if "systemd-stub" in known:
        image.append(_shown(known["systemd-stub"]))
    whole = tuple(image) or ("the image has other bytes around its sections",)
    return Causes({one.name: one.why for one in changed}, whole, known)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the sections are made of, on both sides."""

    before: Side
    after: Side
    line: CommandLine | None
    files: Sequence[FileChange]
    packages: Sequence[PackageChange]

    def section(self, name: str) -> Iterator[str]:
        one, two = self.before.sections.get(name), self.after.sections.get(name)
        if one is None or two is None:
            yield "the section is new" if one is None else "the section is gone"
        elif name == ".osrel":
            yield from self._os_release(one, two)
        elif name == ".cmdline" and self.line is not None:
            yield from _words(self.line)
        elif name == ".initrd":
            yield from self._root()
        elif name == ".linux":
            yield from self._kernel()
        elif name == ".uname":
            yield f"kernel release {one.decode(errors='replace')} → {two.decode(errors='replace')}"
        else:
            yield from self._stub()

    def _os_release(self, one: bytes, two: bytes) -> Iterator[str]:
        for value in values(_assigned(one), _assigned(two)):
            if value.name == "BUILD_ID":
                changed = {each.name for each in boot.made_of(self.before, self.after)}
                yield f"build id, made of {_joined([name for name in _INGREDIENTS if name in changed]) or 'the same'}"
            else:
                yield f"os-release: {_shown(value)}"

    def _root(self) -> Iterator[str]:
        if not self.files:
            yield "the same files, archived or compressed in other bytes"
            return
        counts = Counter(_origin(one) for one in self.files)
        versions = {one.name: _version(one) for one in self.packages}
        for origin, count in counts.most_common(_MOST_ORIGINS):
            kind, _, name = origin.partition(" ")
            moved = versions.get(name, "") if kind in ("package", "wheel") else ""
            yield f"{origin}{moved}: {counted(count, 'file')}"
        if (left := len(counts) - _MOST_ORIGINS) > 0:
            yield f"and {left} more"

    def _kernel(self) -> Iterator[str]:
        one, two = (side.version_of(".linux") for side in (self.before, self.after))
        yield f"kernel {one} → {two}" if one != two else "the kernel has other bytes"

    def _stub(self) -> Iterator[str]:
        one, two = self.before.launch.stub, self.after.launch.stub
        yield f"systemd-stub {one} → {two}" if one != two else "its bytes are other ones"


def _words(line: CommandLine) -> Iterator[str]:
    if line.moved:
        yield "command line: the same words in another order"
        return
    found = []
    for how, words in (("without", line.removed), ("with", line.added)):
        if words:
            found.append(f"{how} {_joined([one.text for one in words])}")
    yield f"command line: {'; '.join(found)}"


def _origin(change: FileChange) -> str:
    """What accounts for it, without version: byte code counts for what its source came from."""
    state = change.after or change.before
    words = (state.origin if state is not None else "").removeprefix("byte code of ").split(" ")
    return " ".join(words[:2])


def _version(change: PackageChange) -> str:
    if change.before is None or change.after is None:
        return " (new)" if change.before is None else " (gone)"
    if change.before.version == change.after.version:
        return " (other bytes)"
    return f" {change.before.version} → {change.after.version}"


def _assigned(text: bytes) -> dict[str, str]:
    found = (_ASSIGNED.fullmatch(line) for line in text.split(b"\n"))
    return {match[1].decode(): match[2].decode(errors="replace").strip('"') for match in found if match is not None}


def _shown(value: Value) -> str:
    before, after = _cut(value.before), _cut(value.after)
    if value.before is None or value.after is None:
        return f"{value.name} {before or after}: {'new' if value.before is None else 'gone'}"
    return f"{value.name}: {before} → {after}"


def _cut(text: str | None) -> str:
    """A value in a sentence: a digest is named by its beginning."""
    return f"{text[:16]}…" if text is not None and len(text) > _LONGEST else text or ""


def _joined(words: Iterable[str]) -> str:
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last
