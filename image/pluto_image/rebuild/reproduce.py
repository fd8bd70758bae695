"""Reproduces one release: reads it, has its inputs fetched, builds, compares, explains. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from pluto_image.build import Say
from pluto_image.inputs.store import Store
from pluto_image.outputs.everything import Outputs
from pluto_image.rebuild import again, builder
from pluto_image.rebuild.again import Ingredients
from pluto_image.rebuild.causes import Cause, Scene, causes, listed_otherwise
from pluto_image.rebuild.compare import Compared, Verdict, compare
from pluto_image.rebuild.explain.difference import Explained
from pluto_image.rebuild.explain.files import explain
from pluto_image.rebuild.explain.known import Known, Origins
from pluto_image.rebuild.published import Published
from pluto_image.rebuild.view import View
from pluto_image.recipe import tables
from pluto_measure.errors import FormatError, PlutoError, VerificationError
from pluto_measure.publish.digest_list import SUMS, parse_sums

_UKI: Final = "pluto.efi"
_LARGEST: Final = 512 * 1024 * 1024
Fetched = Callable[[Published, Ingredients], Store]


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What was found. `causes` are there only if something differs; `builder`: see `pluto_image.rebuild.builder`."""

    published: Published
    made_of: Ingredients
    build_id: str
    outputs: Outputs
    compared: tuple[Compared, ...]
    explained: tuple[Explained, ...]
    causes: tuple[Cause, ...]
    builder: tuple[str, ...] | None

    @property
    def equal(self) -> bool:
        """Whether every file is there and equal, and none is too much."""
        return all(one.verdict is Verdict.EQUAL for one in self.compared)


def reproduce(root: Path, fetched: Fetched, say: Say) -> Reproduced:
    """Rebuild the release in `root`, with inputs from the store that `fetched` gives, and compare every byte.

    Raises FormatError for a release that cannot be read; VerificationError where nothing can be built of it and its
    own digest list does not hold; else the errors of reading, fetching and building.
    """
    published = Published.open(root)
    said = [_whole(published.views, name) for name in ("launch.json", "release.json")]
    try:
        made_of = again.ingredients(published.text("source.tar"), published.text("lock.json"), *said)
        made = again.rebuilt(made_of, fetched(published, made_of), say)
    except FormatError:
        raise
    except PlutoError as error:
        if (name := _not_as_listed(published)) is None:
            raise
        problem = f"{name} is not what {SUMS} of the release lists, and nothing can be built of it: {error}"
        raise VerificationError(problem) from error
    say("comparing")
    views = again.views(made.outputs)
    compared = compare(published.views, views)
    different_builder = builder.differing(made_of.source.files)
    build_id = made.build_id
    if all(one.verdict is Verdict.EQUAL for one in compared):
        return Reproduced(published, made_of, build_id, made.outputs, compared, (), (), different_builder)
    say("explaining")
    explained = explain(compared, published.views, views, _known(published, made_of, views))
    scene = Scene(
        made_of=made_of,
        build_id=build_id,
        uki=_whole(published.views, _UKI),
        rebuilt_uki=made.outputs.texts[_UKI],
        release=said[1],
        builder=different_builder,
        changed=listed_otherwise(explained),
    )
    return Reproduced(published, made_of, build_id, made.outputs, compared, explained, causes(scene), different_builder)


def _known(published: Published, made_of: Ingredients, views: Mapping[str, View]) -> Known:
    documents = (_whole(side, "files.json") for side in (views, published.views))
    pattern = tables.parse(made_of.definition.recipe).kernel.package
    kernel = next((one for one in made_of.lock.image if fnmatchcase(one.name, pattern)), None)
    return Known(
        origins=Origins.of(made_of.lock, *documents),
        kernel=f"{kernel.name} {kernel.version}" if kernel is not None else pattern,
        uki=_whole(published.views, _UKI),
        disk=published.views.get("disk.raw"),
    )


def _whole(views: Mapping[str, View], name: str) -> bytes:
    """A file's bytes; none if it is missing or too large to be one of ours."""
    view = views.get(name)
    return view.read(0, view.size) if view is not None and view.size <= _LARGEST else b""


def _not_as_listed(published: Published) -> str | None:
    """The first of the files that a build is made of which does not have its digest in the release's own list."""
    try:
        listed = parse_sums(published.text(SUMS))
    except FormatError:
        return SUMS
    sources = ("source.tar", "lock.json")
    return next((name for name in sources if published.views[name].sha256() != listed.get(name)), None)
