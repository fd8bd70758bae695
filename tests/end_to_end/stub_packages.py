"""Other versions of systemd-stub, pinned by hash in stubs.toml and fetched like the locked inputs. For tests alone.

Run as a program it brings all of them into the store, so that the tests need no network; what cannot be had is named.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from struct import pack_into, unpack_from

from pluto_image.debian import deb, mirrors
from pluto_image.errors import UnavailableError
from pluto_image.inputs import fetch
from pluto_image.inputs.fetch import Sources
from pluto_image.inputs.store import Store, default_root
from pluto_measure.formats import pe
from pluto_measure.predict import stub as stubs

PINS = Path(__file__).with_name("stubs.toml")
_FILE = "/linuxx64.efi.stub"


@dataclass(frozen=True, slots=True)
class StubPackage:
    """One pinned package, as `fetch` wants it."""

    version: str
    path: str
    size: int
    sha256: str
    sha1: str
    name: str = "systemd-boot-efi"
    archive: str = "debian"


@dataclass(frozen=True, slots=True)
class Stub:
    """The stub of one package: a PE file to which sections are appended."""

    version: str
    data: bytes


def pinned() -> tuple[StubPackage, ...]:
    """All packages of stubs.toml."""
    return tuple(StubPackage(**table) for table in tomllib.loads(PINS.read_text())["stub"])


def load(major: int, store: Store) -> Stub:
    """The stub of a major version, from the store or fetched. UnavailableError if no package of it can be had."""
    found = [package for package in pinned() if stubs.version(package.version).major == major]
    found.sort(key=lambda package: not store.has(package.sha256, package.size))
    sources, gone = Sources(mirrors={"debian": mirrors.from_apt().get("debian", ())}), []
    for package in found:
        try:
            fetch.ensure([package], store, sources)
        except UnavailableError as error:
            gone.append(error)
            continue
        data = store.get(package.sha256)
        assert data is not None
        (member,) = deb.read(data, want=lambda path: path.endswith(_FILE)).members
        return Stub(package.version, without_symbols(member.data))
    tried = [line for error in gone for line in error.tried]
    raise UnavailableError([f"{package.name} {package.version}" for package in found], tried)


def without_symbols(data: bytes) -> bytes:
    """The stub up to the end of its last section. That of 252 carries a symbol table behind it, which is of no use.

    PE/COFF specification "COFF File Header": u32 PointerToSymbolTable at 8, u32 NumberOfSymbols at 12.
    """
    image = pe.parse(data)
    stripped = bytearray(data[: max(section.raw_offset + section.raw_size for section in image.sections)])
    if any(unpack_from("<II", stripped, image.coff_offset + 8)):
        pack_into("<II", stripped, image.coff_offset + 8, 0, 0)
    return bytes(stripped)


def main() -> int:
    """Fetch all. A package that is gone is no failure: its tests skip."""
    store = Store(default_root())
    for major in sorted({stubs.version(package.version).major for package in pinned()}):
        try:
            print(f"systemd-stub {load(major, store).version} is in {store.root}", file=sys.stderr)
        except UnavailableError as error:
            print(f"systemd-stub {major} cannot be had: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
