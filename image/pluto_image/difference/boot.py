"""What changed in what boots: command line, kernel modules, and parts that are measured as a whole. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping

from pluto_image.contents.command_line import tokens
from pluto_image.contents.modules import modules as in_root
from pluto_image.difference.model import CommandLine, ModuleChange, ModuleState, SectionState, Token, Value
from pluto_image.difference.packages import values
from pluto_image.difference.side import Side
from pluto_image.recipe.kernel import module_name
from pluto_measure.digests import Digests
from pluto_measure.formats.strict_json import canonical


def command_line(before: Side, after: Side) -> CommandLine | None:
    """None where it is the same."""
    one, two = before.launch.command_line, after.launch.command_line
    if one == two:
        return None
    left, right = Counter(_tokens(one)), Counter(_tokens(two))
    removed, added = tuple((left - right).elements()), tuple((right - left).elements())
    return CommandLine(one, two, removed, added, moved=not (removed or added))


def modules(before: Side, after: Side) -> tuple[ModuleChange, ...]:
    """Modules that are new, gone, other, or loaded at another time, by name."""
    one, two = _modules(before), _modules(after)
    return tuple(
        ModuleChange(name, one.get(name), two.get(name), after.reasons.modules.get(name, ""))
        for name in sorted({*one, *two})
        if one.get(name) != two.get(name)
    )


def sections(side: Side) -> dict[str, SectionState]:
    """The measured sections of the UKI by name, in the order of the file."""
    return {one.name: SectionState(one.size, one.digests.sha384.hex()) for one in side.launch.sections}


def parts(before: Side, after: Side) -> tuple[Value, ...]:
    """Parts of what boots that are other, by digest, size or version."""
    return tuple(values(dict(_parts(before)), dict(_parts(after))))


def made_of(before: Side, after: Side) -> tuple[Value, ...]:
    """What the build id is made of, and what the publisher says."""
    return tuple(values(dict(_made_of(before)), dict(_made_of(after))))


def _tokens(text: str) -> list[Token]:
    return [Token(one.text, one.meaning) for one in tokens(text)]


def _modules(side: Side) -> dict[str, ModuleState]:
    entries = tuple(side.entries.values())
    digests = {
        module_name(entry.path): hashlib.sha256(entry.data).hexdigest()
        for entry in entries
        if entry.path.startswith("usr/lib/modules/") and entry.path.endswith(".ko")
    }
    found = in_root(entries, side.reasons)
    return {one.name: ModuleState(one.size, digests.get(one.name, ""), one.loaded, one.signed) for one in found}


def _parts(side: Side) -> Iterator[tuple[str, str]]:
    launch = side.launch
    yield "systemd-stub", launch.stub
    yield "kernel", side.version_of(".linux")
    yield "firmware", side.version_of("firmware")
    yield "firmware.fd", side.sums.get("firmware.fd", "")
    yield "UKI, Authenticode", _digest(launch.uki_authenticode)
    yield "UKI, size", str(launch.uki_size)
    yield "kernel, Authenticode", _digest(launch.kernel_authenticode)
    yield "initrd as it is handed over", _digest(launch.handed_initrd)
    yield "disk, size", str(launch.disk_size)
    yield "partition table", _digest(launch.gpt_event)
    if (container := launch.container) is not None:
        yield "container, manifest", container.manifest_digest
        yield "container, image id", container.image_id
        yield "container, arguments", " ".join(container.args)
        for name, value in container.env:
            yield f"container, environment {name}", value


def _made_of(side: Side) -> Iterator[tuple[str, str]]:
    release = side.release
    yield "build id", release.build_id
    for name in ("definition", "lock"):
        yield name, str(release.build[name]["sha256"])
    yield "sources", release.source.tree_digest.hex()
    yield "sources are committed", "no" if release.source.dirty else "yes"
    yield "time of all files", str(release.build["sourceDateEpoch"])
    yield "name", release.name
    yield "version", release.version
    yield "flavour", release.flavour
    place = release.facts.place.to_json()
    for name, value in {**place, **release.facts.validity.to_json()}.items():
        yield name, _text(value)
    yield "repository", release.facts.repository
    yield "terms for the trust domain", _text(release.facts.td.to_json())
    yield "terms for the platform", _text(release.facts.tcb.to_json())
    yield "builder's tools", _text(release.build["tools"])


def _text(value: object) -> str:
    return value if isinstance(value, str) else canonical(_plain(value)).decode()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _digest(digests: Digests | None) -> str:
    return "" if digests is None else digests.sha384.hex()
