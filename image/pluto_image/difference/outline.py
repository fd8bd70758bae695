"""The difference of two releases in the order in which people read it: chapters of tables and texts. Pure.

One outline is behind the text for terminals, the text of a pull request and the page, which say the same therefore.
Nothing is cut here; every form cuts to what it can show, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pluto_image.difference.chapter import NONE, PAIR, Block, Chapter, kind_of, pair, table_of
from pluto_image.difference.model import (
    Difference,
    FileState,
    Locked,
    ModuleState,
    PackageChange,
    UnitState,
    Value,
)
from pluto_image.difference.outline_measured import events, registers
from pluto_measure.wording import counted

_NAMED_BY_DIGEST: Final = "oci/blobs/"
_TREES: Final = {"image": "of the image", "tools": "of the tools tree", "wheels": "wheels"}


def chapters(found: Difference) -> tuple[Chapter, ...]:
    """The chapters that have something to say."""
    made = (
        _made_of(found), _packages(found), _scripts(found), _files(found), _command_line(found), _units(found),
        _modules(found), _sections(found), events(found), registers(found), _sources(found), _artifacts(found),
    )  # fmt: skip
    return tuple(one for one in made if any(table.rows for table in one.tables) or one.blocks)


def headline(found: Difference) -> str:
    """One sentence: how much changed, and how much of it a verifier sees."""
    if found.equal:
        return "no difference: all files have the same digests"
    words = [
        counted(len(items), noun)
        for items, noun in (
            (found.packages, "package"), (found.files, "path"), (found.units, "unit"), (found.modules, "module")
        )
        if items
    ]  # fmt: skip
    machines = [one for one in found.profiles if one.registers or one.claims]
    total = len(found.profiles) + len(found.unchanged_machines)
    if machines:
        words.append(f"{len(machines)} of {counted(total, 'machine')} with other registers or claims")
    elif total:
        words.append("no register of any machine")
    return f"different: {', '.join(words) or 'nothing that an image holds'}"


def _made_of(found: Difference) -> Chapter:
    rows = tuple((one.name, one.before or NONE, one.after or NONE) for one in found.made_of)
    says = "The build id is made of definition, lock and sources; the rest is what the publisher says."
    return Chapter("made-of", "What it was made of", says, (table_of("What changed", PAIR, rows),))


def _packages(found: Difference) -> Chapter:
    columns = ("package:name", "before:name", "now:name", "source:name", "archive:name", "size:number")
    tables = []
    for tree, words in _TREES.items():
        listed = [one for one in found.packages if one.tree == tree]
        rows = tuple(tuple(_package(one)) for one in listed)
        tables.append(table_of(f"Packages {words}" if tree != "wheels" else "Python wheels", columns, rows))
    says = f"{counted(len(found.packages), 'package')} moved, came or went."
    return Chapter("packages", "Packages", says, tuple(table for table in tables if table.rows))


def _package(one: PackageChange) -> Iterator[str]:
    def version(state: Locked | None) -> str:
        return NONE if state is None else state.version

    same = one.before is not None and one.after is not None and one.before.version == one.after.version
    state = one.after or one.before
    yield one.name
    yield version(one.before)
    yield f"{version(one.after)} (other bytes)" if same else version(one.after)
    yield "" if state is None else f"{state.source} {state.source_version}"
    yield "" if state is None else state.archive
    yield pair(lambda state: str(state.size), one.before, one.after)


def _scripts(found: Difference) -> Chapter:
    rows, blocks = [], []
    for package in (one for one in found.packages if one.tree == "image"):
        for one in package.scripts:
            kind = kind_of(one.before, one.after)
            rows.append((package.name, one.script, kind, one.before or NONE, one.after or NONE))
            note = "The text could not be had: give a store that has both packages." if one.difference is None else ""
            blocks.append(Block(f"{package.name} {one.script}: {kind}", one.difference or (), note))
    columns = ("package:name", "script:name", "what:text", "before:digest", "now:digest")
    says = "None of them ever runs. Read each: must the recipe do something else now?"
    table = table_of("Maintainer scripts that changed", columns, tuple(rows))
    return Chapter("scripts", "Maintainer scripts", says, (table,), tuple(blocks))


def _files(found: Difference) -> Chapter:
    def shown(state: FileState | None) -> str:
        return NONE if state is None else state.origin

    rows = []
    for one in found.files:
        what = ", ".join(one.what) if one.before and one.after else kind_of(one.before, one.after)
        origin = shown(one.after or one.before)
        rows.append((one.path, what, origin, pair(lambda state: str(state.size), one.before, one.after)))
    blocks = tuple(Block(one.path, one.difference) for one in found.files if one.difference)
    columns = ("path:name", "what:text", "from:name", "size:number")
    says = f"{counted(len(rows), 'path')} of the root."
    return Chapter("files", "Files", says, (table_of("Paths of the root that changed", columns, tuple(rows)),), blocks)


def _command_line(found: Difference) -> Chapter:
    line = found.command_line
    rows: list[tuple[str, ...]] = []
    if line is not None:
        rows += [("removed", one.text, one.meaning or "not known here") for one in line.removed]
        rows += [("added", one.text, one.meaning or "not known here") for one in line.added]
        rows += [("moved", line.after, "the same words in another order")] if line.moved else []
    columns = ("what:text", "word:name", "what it asks for:text")
    says = "What the kernel is started with. It is measured, and the host cannot change it."
    return Chapter("command-line", "Command line", says, (table_of("Words of the command line", columns, tuple(rows)),))


def _units(found: Difference) -> Chapter:
    def state(one: UnitState | None) -> str:
        return NONE if one is None else f"{one.state}, exposure {one.exposure}" if one.exposure else one.state

    rows = tuple((one.name, state(one.before), state(one.after), one.why) for one in found.units)
    blocks = tuple(Block(one.name, one.difference) for one in found.units if one.difference)
    columns = ("unit:name", "before:text", "now:text", "why:text")
    says = "systemd's units: what starts, what is masked, and how exposed it is, from 0 to 10."
    return Chapter("units", "Units", says, (table_of("Units that changed", columns, rows),), blocks)


def _modules(found: Difference) -> Chapter:
    def state(one: ModuleState | None) -> str:
        if one is None:
            return NONE
        return f"{one.loaded}, {'signed' if one.signed else 'not signed'}"

    rows = tuple(
        (
            one.name, state(one.before), state(one.after),
            pair(lambda state: str(state.size), one.before, one.after), one.why or "not said",
        )
        for one in found.modules
    )  # fmt: skip
    columns = ("module:name", "before:text", "now:text", "size:number", "why:text")
    says = f"{counted(len(rows), 'module')} of the kernel."
    return Chapter("modules", "Kernel modules", says, (table_of("Modules that changed", columns, rows),))


def _sections(found: Difference) -> Chapter:
    rows = tuple(
        (
            one.name,
            pair(lambda state: str(state.size), one.before, one.after),
            one.before.sha384 if one.before else NONE,
            one.after.sha384 if one.after else NONE,
            "; ".join(one.why),
        )
        for one in found.sections
    )
    parts = tuple((one.name, one.before or NONE, one.after or NONE) for one in found.boots)
    columns = ("section:name", "size:number", "before:digest", "now:digest", "why:text")
    tables = (table_of("Sections of the UKI", columns, rows), table_of("Other parts of what boots", PAIR, parts))
    says = "The UKI is one file that holds kernel, command line and root; each section is measured."
    return Chapter("uki", "What boots", says, tuple(table for table in tables if table.rows))


def _sources(found: Difference) -> Chapter:
    rows = tuple((one.path, one.part, kind_of(one.before, one.after)) for one in found.sources)
    says = "Files of source.tar. Not all of them lie in the image: the builder and the tools do not."
    columns = ("path:name", "part:text", "what:text")
    return Chapter("sources", "Sources", says, (table_of("Files of source.tar that changed", columns, rows),))


def _artifacts(found: Difference) -> Chapter:
    listed = [one for one in found.artifacts if not one.name.startswith(_NAMED_BY_DIGEST)]
    rows = tuple((one.name, one.before or NONE, one.after or NONE) for one in listed)
    says = "The published files by SHA-256, as both lists have them; blobs of the container are named by their own."
    columns = ("file:name", "before:digest", "now:digest")
    return Chapter("published", "Published files", says, (table_of("Files that changed", columns, rows),))


def identities(found: Difference) -> tuple[Value, ...]:
    """What each side is, member by member."""
    one, two = found.before, found.after
    return (
        Value("release", f"{one.name} {one.version}", f"{two.name} {two.version}"),
        Value("channel", f"{one.channel} {one.sequence}", f"{two.channel} {two.sequence}"),
        Value("flavour", one.flavour, two.flavour),
        Value("build id", one.build_id, two.build_id),
        Value("digest list", one.digest, two.digest),
    )
