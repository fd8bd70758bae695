"""A small OCI layout, written by the builder's own module. For tests alone."""

from __future__ import annotations

import random
from pathlib import Path

from pluto_image.outputs import oci
from pluto_image.recipe.model import Container, Kept, User
from pluto_image.tree import Entry, Kind
from simulators import containers


def layout(size: int = 5000) -> oci.Layout:
    """An image whose one layer is a little larger than `size` bytes."""
    recipe = Container(
        name="tiny",
        entrypoint=("/bin/serve",),
        user=User("serve", 990, 991, ""),
        ports=(8443,),
        env={"PATH": "/bin"},
        labels={},
        keep=(Kept(("bin/*",), "test"),),
    )
    root = (
        Entry("bin", Kind.DIRECTORY, 0o755, b"", "recipe:parents"),
        Entry("bin/serve", Kind.FILE, 0o755, random.Random(size).randbytes(size), "package:serve"),
    )
    return oci.layout(recipe, root, epoch=1_700_000_000, version="1", build_id="ab" * 32, flavour="release")


def lay(folder: Path, size: int = 5000) -> tuple[Path, str]:
    """The folder with it, and the digest of its manifest."""
    made = layout(size)
    return containers.lay(made.files, folder), made.container.manifest_digest
