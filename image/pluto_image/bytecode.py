"""Python byte code as a derived input: made by the target's own interpreter, pinned by hash in the lock.

Debian ships sources and compiles them in maintainer scripts. Here the image's python3.13 compiles the kept sources of
locked packages once, when the lock is made; lock.json pins the result, and a build takes it from the store or a
bundle. Where it is in neither, a Linux x86-64 machine makes it again and compares the hash. Decision:
docs/decisions/0003-byte-code.md.

One derived file, the pack:  u32be length of the index, the index, then the contents in the order of the index.
Index: canonical JSON {"version": 1, "files": [[path of the source, size], ...]}, sorted by path.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pluto_image.lock.lockfile import Derived
from pluto_image.recipe.model import ByteCode
from pluto_image.recipe.patterns import Selection
from pluto_image.tree import Entry, Kind
from pluto_image.unpacked import command, lay
from pluto_measure.errors import FormatError, SourceError, VerificationError
from pluto_measure.formats.reader import Reader
from pluto_measure.formats.strict_json import Fields, canonical, loads

NAME: Final = "python-byte-code"
_VERSION: Final = 1
_TIMEOUT: Final = 300.0
_LARGEST: Final = 256 * 1024 * 1024

# Runs inside the image's interpreter. One process, sorted order and a fixed hash seed, because marshal's output
# depends on how often an object is referred to while it is written. 1 = unchecked hash: nothing is compared with a
# source at run time (PEP 552), since there is no source.
_PROGRAM: Final = """
import json, marshal, sys
from importlib.util import MAGIC_NUMBER, source_hash
paths = json.load(sys.stdin)
output = sys.stdout.buffer
for path in paths:
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, "/" + path, "exec", dont_inherit=True, optimize=0)
    data = MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + marshal.dumps(code)
    output.write(len(data).to_bytes(4, "big") + data)
"""


def sources(byte_code: ByteCode, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The Python sources of packages that are replaced, sorted by path. FormatError for a pattern without a match."""
    selection = Selection(byte_code.paths)
    found = [e for e in entries if e.kind is Kind.FILE and e.origin.startswith("package:") and selection.wants(e.path)]
    if unused := selection.unused():
        raise FormatError("image.toml [files.byte_code]", f"pattern {unused[0]!r} matches nothing")
    if wrong := [entry.path for entry in found if not entry.path.endswith(".py")]:
        raise FormatError("image.toml [files.byte_code]", f"{wrong[0]} is not a Python source")
    return tuple(sorted(found, key=lambda entry: entry.path.encode()))


def inputs_digest(byte_code: ByteCode, entries: Sequence[Entry]) -> str:
    """SHA-256 in hex over all that decides the pack: every file that the interpreter needs, and the sources."""
    files = [[e.path, hashlib.sha256(e.data).hexdigest()] for e in _needed(byte_code, entries)]
    paths = [entry.path for entry in sources(byte_code, entries)]
    return hashlib.sha256(canonical({"version": _VERSION, "files": files, "sources": paths})).hexdigest()


def replaced(byte_code: ByteCode, entries: Sequence[Entry], pack: bytes) -> tuple[list[str], list[Entry]]:
    """The paths to remove from the root and the entries to add, for a pack that was made from these entries."""
    contents, wanted = parse_pack(pack), sources(byte_code, entries)
    if [entry.path for entry in wanted] != list(contents):
        raise FormatError("byte code pack", "holds other files than the recipe wants")
    added = []
    for entry in wanted:
        folder, _, name = entry.path.rpartition("/")
        stem = name.removesuffix(".py")
        # Where the source stays, its byte code lies beside it in __pycache__; without a source it takes its place.
        path = f"{folder}/__pycache__/{stem}.cpython-313.pyc" if byte_code.keep_sources else f"{folder}/{stem}.pyc"
        added.append(Entry(path, Kind.FILE, 0o644, contents[entry.path], f"derived:{NAME} of {entry.origin}"))
    return ([] if byte_code.keep_sources else [entry.path for entry in wanted]), added


def can_derive() -> bool:
    """Whether this machine can run the image's interpreter."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def derive(byte_code: ByteCode, entries: Sequence[Entry]) -> bytes:
    """Compile the sources with the interpreter among `entries`. SourceError where that cannot run."""
    if not can_derive():
        raise SourceError(
            "byte code can be made on Linux on x86-64 only, and it is not in the store",
            hint="run 'pluto-image build' with the inputs of the release: --bundle FILE or --store URL",
        )
    paths = [entry.path for entry in sources(byte_code, entries)]
    with tempfile.TemporaryDirectory(prefix="pluto-byte-code-") as folder:
        root = Path(folder)
        lay(root, _needed(byte_code, entries))
        stream = _run(root, byte_code.interpreter, paths)
    return _packed(paths, stream)


def describe(byte_code: ByteCode, entries: Sequence[Entry], pack: bytes) -> Derived:
    """The pack's entry for lock.json."""
    return Derived(NAME, len(pack), hashlib.sha256(pack).hexdigest(), inputs_digest(byte_code, entries))


def check(pinned: Derived, byte_code: ByteCode, entries: Sequence[Entry]) -> None:
    """FormatError if the lock's pack was made from other inputs than these entries."""
    if pinned.inputs != inputs_digest(byte_code, entries):
        raise FormatError(
            "lock.json",
            f"{NAME} was made from other packages or sources than the definition names now",
            hint="run 'pluto-image derive DIR' (on Linux on x86-64)",
        )


def check_derived(pinned: Derived, pack: bytes) -> None:
    """VerificationError if a pack that was made here is not the one that the lock pins."""
    if (found := hashlib.sha256(pack).hexdigest()) != pinned.sha256:
        raise VerificationError(f"{NAME} made on this machine has SHA-256 {found}, the lock pins {pinned.sha256}")


def parse_pack(pack: bytes) -> Mapping[str, bytes]:
    """Contents by path of the source, in order. Raises FormatError."""
    r = Reader(pack, what="byte code pack", order="big")
    index = Fields(loads(r.take(r.uint(4, "index size"), "index"), what="byte code pack"), what="byte code pack")
    if (version := index.take("version", int)) != _VERSION:
        raise r.error(f"version {version} is not known")
    files = index.take("files", list)
    index.end()
    contents: dict[str, bytes] = {}
    for item in files:
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], int)):
            raise r.error(f"index entry {item!r} is not a path with a size")
        if contents and item[0] <= next(reversed(contents)):
            raise r.error(f"{item[0]} is out of order")
        contents[item[0]] = r.take(item[1], item[0])
    r.end()
    return contents


def _packed(paths: Sequence[str], stream: bytes) -> bytes:
    r = Reader(stream, what="output of the image's interpreter", order="big")
    contents = [r.take(r.uint(4, "size"), path) for path in paths]
    r.end()
    files = [[path, len(content)] for path, content in zip(paths, contents, strict=True)]
    index = canonical({"version": _VERSION, "files": files})
    return len(index).to_bytes(4, "big") + index + b"".join(contents)


def _needed(byte_code: ByteCode, entries: Iterable[Entry]) -> list[Entry]:
    """What the interpreter needs to run: itself, libraries, Python files of packages; not what the source tree adds."""
    found = []
    for entry in entries:
        shared = entry.path.startswith(("usr/lib64/", "usr/lib/x86_64-linux-gnu/"))
        python = entry.path.startswith(("usr/lib/python3", byte_code.interpreter))
        if entry.kind is not Kind.DIRECTORY and entry.origin.startswith("package:") and (shared or python):
            found.append(entry)
    return sorted(found, key=lambda entry: entry.path.encode())


def _run(root: Path, interpreter: str, paths: Sequence[str]) -> bytes:
    # No site, no user folder, no byte code written, no current folder on the path.
    argv = command(root, interpreter, "-S", "-s", "-B", "-P", "-c", _PROGRAM)
    environment = {
        "PYTHONHASHSEED": "0",
        "PYTHONHOME": str(root / "usr"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(
            argv,
            input=json.dumps(paths).encode(),
            capture_output=True,
            cwd=root,
            env=environment,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"the image's interpreter did not run: {error}") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SourceError(f"the image's interpreter exited {done.returncode}: {''.join(last)}")
    if len(done.stdout) > _LARGEST:
        raise SourceError(f"the image's interpreter wrote {len(done.stdout)} bytes")
    return done.stdout
