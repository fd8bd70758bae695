"""What the recipe takes of each locked package. Pure: package bytes in, entries out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pluto_image.debian import deb
from pluto_image.recipe import kernel as kernels
from pluto_image.recipe.model import Blob, Recipe
from pluto_image.recipe.patterns import Selection, matches
from pluto_image.recipe.root import merged
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

# No file of the image is set-uid, set-gid or writable by others, whatever its package says.
_MODE_MASK: Final = 0o755
_MODULE_MASK: Final = 0o644  # Debian marks some Python modules executable; nobody starts them as programs


@dataclass(frozen=True, slots=True)
class Taken:
    """The entries of one package by their use; only `root` is laid into the image as it is."""

    root: tuple[Entry, ...] = ()
    kernel: tuple[Entry, ...] = ()  # the image, module files and builtin lists
    stub: tuple[Entry, ...] = ()
    certificates: tuple[Entry, ...] = ()


def check_packages(recipe: Recipe, names: Iterable[str]) -> None:
    """Every locked package has a use and every named package is locked. Raises FormatError."""
    locked = set(names)
    kept = {name for keep in recipe.keep for name in keep.packages}
    if missing := sorted(kept - locked):
        raise FormatError("image.toml [prune]", f"package {missing[0]} is not in the lock")
    if recipe.stub.package not in locked:
        raise FormatError("image.toml [stub]", f"package {recipe.stub.package} is not in the lock")
    kernels_ = sorted(name for name in locked if matches(recipe.kernel.package, name))
    if len(kernels_) != 1:
        raise FormatError("image.toml [kernel]", f"{recipe.kernel.package} names {len(kernels_)} locked packages")
    if unused := sorted(locked - kept - {recipe.stub.package} - set(kernels_)):
        raise FormatError("image.toml [prune]", f"nothing is said about package {unused[0]}; say what is kept of it")


def take(recipe: Recipe, name: str, data: bytes) -> Taken:
    """Read one package and keep what the recipe names. FormatError if a pattern finds nothing, or for a bad package."""
    keep = [item for item in recipe.keep if name in item.packages]
    selection = Selection(tuple(dict.fromkeys(path for item in keep for path in item.paths)))
    other = _other_use(recipe, name)
    package = deb.read(data, want=lambda path: other(merged(path)) != "" or selection.wants(merged(path)))
    if package.control["Package"] != name:
        raise FormatError(name, f"the file is package {package.control['Package']}")
    found: dict[str, list[Entry]] = {"root": [], "kernel": [], "stub": [], "certificates": []}
    for member in package.members:
        if member.kind is Kind.DIRECTORY:
            continue  # the recipe makes directories, so that none is writable by accident
        path = merged(member.path)
        content = member.link.encode() if member.kind is Kind.SYMLINK else member.data
        mode = (
            0o777
            if member.kind is Kind.SYMLINK
            else member.mode & (_MODULE_MASK if path.endswith(".py") else _MODE_MASK)
        )
        entry = Entry(path, member.kind, mode, content, f"package:{name}")
        found[other(path) or "root"].append(entry)
    if unused := selection.unused():
        raise FormatError("image.toml [prune]", f"pattern {unused[0]!r} matches nothing in package {name}")
    return Taken(**{use: tuple(entries) for use, entries in found.items()})


def _other_use(recipe: Recipe, name: str) -> Callable[[str], str]:
    """A function from path to its use outside the root tree, "" where it has none."""
    certificates = recipe.files.certificates

    def use(path: str) -> str:
        if name == recipe.stub.package and path == recipe.stub.path:
            return "stub"
        if is_kernel and (matches(recipe.kernel.image, path) or kernels.wants(recipe.kernel, path)):
            return "kernel"
        if certificates is not None and path.endswith(".crt") and matches(certificates.sources, path):
            return "certificates"
        return ""

    is_kernel = matches(recipe.kernel.package, name)
    return use


def one_file(data: bytes, blob: Blob) -> bytes:
    """The one file of a package that a [firmware] or [stub] table names. Raises FormatError."""
    package = deb.read(data, want=lambda path: merged(path) == blob.path)
    found = [member.data for member in package.members if member.kind is Kind.FILE]
    if package.control["Package"] != blob.package or len(found) != 1:
        raise FormatError("image.toml", f"{blob.path} is not a file of package {blob.package}")
    return found[0]
