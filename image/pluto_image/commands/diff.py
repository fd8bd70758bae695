"""pluto-image diff: what changed between two releases, from packages to registers, and why."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.command import Result
from pluto_measure.commands import files
from pluto_measure.errors import FormatError, SourceError, UsageError, VerificationError

if TYPE_CHECKING:
    from pluto_image.difference.packages import Scripts
    from pluto_image.difference.side import Side
    from pluto_image.inputs.store import Store
    from pluto_image.lock.lockfile import Lock

DIFFERENT: Final = 5
_LARGEST: Final = 256 * 1024 * 1024  # bytes of one file that is read
_DESCRIPTION = """
Compare two releases: packages and their maintainer scripts, files, command line, units, kernel modules, sections of the
UKI, then each predicted event and register that changed, machine by machine, and what led to it. A and B are folders
with the files of a release, or DISTs of a build; disks and archives are compared by their listed digests and need not
be there. Nothing is fetched. Exit code 0: no difference. 5: they differ. Whether either is to be trusted is not asked:
that is for 'pluto-measure release'.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser("diff", help="say what changed between two releases", description=_DESCRIPTION)
    parser.add_argument("before", type=Path, metavar="A", help="the earlier release")
    parser.add_argument("after", type=Path, metavar="B", help="the later release")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for people, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the text of a pull request, too")
    parser.add_argument(
        "--store",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="where packages lie, to show the text of changed maintainer scripts; repeatable (default: the cache)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Result:
    """Read both, compare, write what was asked for."""
    from pluto_image.difference import document, markdown, text, whole

    for option in ("html", "markdown"):
        _refuse_no_place(option, getattr(arguments, option))
    with ThreadPoolExecutor(2) as pool:  # hashing and decompressing do not hold the interpreter's lock
        before, after = pool.map(read, (arguments.before, arguments.after))
    found = whole.difference(before, after, _texts(arguments.store, before.lock, after.lock))
    notes = []
    if arguments.html is not None:
        from pluto_image.pages.difference import page

        files.write(arguments.html, page(found, command=_command(arguments)))
        notes.append(f"wrote {arguments.html}")
    if arguments.markdown is not None:
        files.write(arguments.markdown, markdown.markdown(found))
        notes.append(f"wrote {arguments.markdown}")
    shown = text.text(found, str(arguments.before), str(arguments.after))
    return Result(document.document(found), shown, exit_code=0 if found.equal else DIFFERENT, notes=tuple(notes))


def read(root: Path) -> Side:
    """One release, its files checked against its own list. UsageError where there is none, FormatError,
    VerificationError.
    """
    from pluto_image.difference.side import READ, Side
    from pluto_measure.publish.digest_list import SUMS, format_sums, parse_sums

    if not (root / SUMS).is_file():
        hint = "name the folder with the release's files, or what 'pluto-image build' wrote"
        raise UsageError(f"{root} holds no {SUMS}, so it is no release and no DIST", hint=hint)
    sums = parse_sums(files.read(root / SUMS, what=SUMS, limit=_LARGEST))
    data = {name: _checked(root, name, sums) for name in READ}
    return Side.of(data, sums, hashlib.sha256(format_sums(sums).encode()).hexdigest())


def _checked(root: Path, name: str, sums: Mapping[str, str]) -> bytes:
    if name not in sums:
        raise FormatError(f"{root}", f"its SHA256SUMS does not list {name}")
    if not (root / name).is_file():
        raise FormatError(f"{root}", f"holds no {name}")
    data = files.read(root / name, what=name, limit=_LARGEST)
    if hashlib.sha256(data).hexdigest() != sums[name]:
        raise VerificationError(f"{name} in {root} does not have the digest in SHA256SUMS")
    return data


def _texts(folders: list[Path], before: Lock, after: Lock) -> tuple[Scripts, Scripts]:
    """Maintainer scripts of the packages whose scripts changed, as far as a store has them."""
    from pluto_image.difference.packages import scripts_wanted
    from pluto_image.inputs.store import Store, default_root

    wanted = scripts_wanted(before, after)
    if not any(wanted):
        return {}, {}
    stores = [Store(folder) for folder in folders or [default_root()]]
    one, two = (_scripts(lock, digests, stores) for lock, digests in zip((before, after), wanted, strict=True))
    return one, two


def _scripts(lock: Lock, digests: set[str], stores: list[Store]) -> dict[tuple[str, str], bytes]:
    from pluto_image.debian import deb

    found: dict[tuple[str, str], bytes] = {}
    for package in (one for one in lock.image if one.sha256 in digests):
        data = next((got for store in stores if (got := _had(store, package.sha256)) is not None), None)
        if data is not None:
            scripts = deb.read(data, want=lambda _: False).scripts
            found |= {(package.name, name): scripts[name] for name in package.scripts if name in scripts}
    return found


def _had(store: Store, digest: str) -> bytes | None:
    try:
        return store.get(digest)
    except SourceError:  # a store that cannot be read has no text; nothing else depends on it
        return None


def _command(arguments: argparse.Namespace) -> str:
    words = ["pluto-image", "diff", str(arguments.before), str(arguments.after), "--html", str(arguments.html)]
    return shlex.join([*words, *(word for folder in arguments.store for word in ("--store", str(folder)))])


def _refuse_no_place(option: str, path: Path | None) -> None:
    """What cannot be written is said before anything is read."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"--{option} {path}: is a directory")
    if not path.parent.is_dir():
        raise UsageError(f"--{option} {path}: there is no folder {path.parent}")
