"""Two releases compared: every part in its turn, each from what the parts before it found. Pure."""

from __future__ import annotations

from pluto_image.difference import boot, files, measured, packages, units
from pluto_image.difference.causes import causes, sections
from pluto_image.difference.model import Difference, Identity
from pluto_image.difference.packages import Scripts
from pluto_image.difference.side import Side


def difference(before: Side, after: Side, texts: tuple[Scripts, Scripts] = ({}, {})) -> Difference:
    """All that differs. `texts`: maintainer scripts of both sides, as far as they could be had."""
    changed_units = units.units(before, after)
    shown = {path for unit in changed_units for path in unit.files}
    changed_packages = packages.packages(before.lock, after.lock, texts)
    changed_files = files.files(before, after, shown)
    line, parts = boot.command_line(before, after), boot.parts(before, after)
    changed_sections = sections(before, after, line, changed_files, changed_packages)
    machines, same = measured.profiles(before.measurements, after.measurements, causes(changed_sections, parts))
    return Difference(
        before=identity(before),
        after=identity(after),
        equal=before.sums == after.sums,
        made_of=(*boot.made_of(before, after), *packages.facts(before.lock, after.lock)),
        packages=changed_packages,
        sources=files.sources(before, after),
        files=changed_files,
        command_line=line,
        units=changed_units,
        modules=boot.modules(before, after),
        sections=changed_sections,
        boots=parts,
        profiles=machines,
        unchanged_machines=tuple(same),
        artifacts=tuple(sorted(packages.values(before.sums, after.sums), key=lambda one: one.name)),
    )


def identity(side: Side) -> Identity:
    """Which release it is."""
    release, place = side.release, side.release.facts.place
    return Identity(
        release.name, release.version, place.channel, place.sequence, release.flavour, release.build_id, side.digest
    )
