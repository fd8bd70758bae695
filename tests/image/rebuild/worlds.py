"""A release of the tiny definition, and ways to tamper with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pluto_image import artifact, source_tree
from pluto_image import definition as definitions
from pluto_image.build import build_image
from pluto_image.inputs import bundle
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_image.outputs.everything import outputs
from pluto_image.rebuild import again
from pluto_measure.publish import digest_list
from pluto_measure.publish.listing import names
from simulators import tiny_definition

Tamper = Callable[[Path], None]


@dataclass(frozen=True)
class Made:
    """A release of the tiny definition, the store that it was made from, and the builder's result."""

    release: Path
    store: Store
    rebuilt: again.Rebuilt


def make(root: Path, flavour: str = "release", more: Mapping[str, bytes] | None = None) -> Made:
    """Build and publish; `more` adds source files."""
    store = Store(root / "store")
    folder = tiny_definition.make(root / "project", store)
    for path, data in (more or {}).items():
        (root / "project" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "project" / path).write_bytes(data)
    definition, lock = definitions.load(folder), Lock.parse((folder / "lock.json").read_bytes())
    source = source_tree.read(folder)
    image = build_image(definition, lock, store, source, flavour)
    made = outputs(definition, lock, source, image)
    artifact.write(root / "release", made.texts, made.sparse, made.sums)
    wanted = [one.sha256 for one in (*lock.image, *lock.tools)]
    bundle.write(root / "release/inputs.tar", lock, {}, wanted, store)
    return Made(root / "release", store, again.Rebuilt(image.build_id, made))


def put(release: Path, name: str, data: bytes) -> None:
    """Replace a file, and not the one that it is a link to."""
    (release / name).unlink(missing_ok=True)
    (release / name).write_bytes(data)


def consistent(tamper: Tamper) -> Tamper:
    """Tamper, then write the digest list anew, as somebody who means it does."""

    def both(release: Path) -> None:
        tamper(release)
        sums = digest_list.parse_sums((release / digest_list.SUMS).read_bytes())
        present = set(names(release)) - {digest_list.SUMS, "inputs.tar"}
        new = [name for name in present if (release / name).stat().st_nlink == 1]
        sums = {name: sums[name] for name in present - set(new)} | {n: artifact.file_digest(release / n) for n in new}
        put(release, digest_list.SUMS, digest_list.format_sums(sums).encode())

    return both
