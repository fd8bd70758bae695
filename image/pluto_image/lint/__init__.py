"""The lint: what must not be in an image, checked on the finished tree, independent of the recipe that made it. Pure.

It runs in every build, and a finding ends the build.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pluto_image.lint import command_line, tree, unit_graph, units
from pluto_image.recipe.model import Recipe
from pluto_image.tree import Entry
from pluto_measure.errors import RefusedError


class LintError(RefusedError):
    """The image holds what it must not hold. `findings` has one sentence for each."""

    def __init__(self, findings: Sequence[str]) -> None:
        self.findings = list(findings)
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"the lint found {findings[0]}{more}")


def findings(
    recipe: Recipe,
    entries: Sequence[Entry],
    text: str,
    *,
    flavour: str,
    packages: Collection[str],
    wheels: Collection[str] = (),
) -> list[str]:
    """All findings for a complete tree and a command line; empty if the image is fit to be built."""
    enabled = {f"{item.target}.wants/{unit}" for item in recipe.units.enable for unit in item.units}
    # Links that a package ships count as enabled only if the recipe names them one by one.
    enabled |= {
        "/".join(path.split("/")[-2:])
        for keep in recipe.keep
        for path in keep.paths
        if ".wants/" in path and "*" not in path and "?" not in path
    }
    return [
        *command_line.check(text, flavour=flavour),
        *tree.check_flavour(entries, flavour),
        *tree.check(
            entries,
            modules=recipe.kernel.names,
            packages=packages,
            world_writable=recipe.lint.world_writable,
            wheels=wheels,
        ),
        *units.check(entries, enabled=enabled, listen=recipe.lint.listen),
        *unit_graph.check(entries, expected=recipe.lint.units),
    ]


def check(
    recipe: Recipe,
    entries: Sequence[Entry],
    text: str,
    *,
    flavour: str,
    packages: Collection[str],
    wheels: Collection[str] = (),
) -> None:
    """Raises LintError with all findings."""
    if found := findings(recipe, entries, text, flavour=flavour, packages=packages, wheels=wheels):
        raise LintError(found)
