"""Disks as platforms take them, and the SBOM, held against other people's tools: qemu-img, tar, gzip, spdx-tools."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from interop import peers
from pluto_image import definition as definitions
from pluto_image.artifact import file_digest
from pluto_image.formats.disk import SIZE, disk
from pluto_image.lock.lockfile import Lock, Wheel
from pluto_image.outputs import deflate, gcp, sbom, vhd
from pluto_image.sparse import sparse_digest, write_sparse
from pluto_measure.formats.strict_json import pretty
from simulators.launches import LAUNCH

pytestmark = pytest.mark.interop

NOTARY: Final = peers.HERE.parents[1] / "image/notary"
EPOCH: Final = 1_793_491_200
# What compressors cannot shrink, with zeros in its middle and a length that is no multiple of anything.
UKI: Final = random.Random(5).randbytes(3_000_001) + bytes(900_000) + random.Random(6).randbytes(1_000_003)
SIZES: Final = (20, 33, 34, 100, 247, 248, 1024, 40 * 1024)  # MiB: each branch of the geometry
# What spdx-tools finds wrong with a document, and which package URLs packageurl-python writes in another way.
READ: Final = """
import json, sys
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
document = parse_file(sys.argv[1])
urls = [one.locator for package in document.packages for one in package.external_references]
print(json.dumps({
    "problems": [one.validation_message for one in validate_full_spdx_document(document)],
    "packages": sorted([package.name, package.version] for package in document.packages),
    "urls": {url: PackageURL.from_string(url).to_string() for url in urls},
    "parts": [PackageURL.from_string(url).to_dict() for url in urls],
}))
"""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no peer: {name}")
    return found


def run(name: str, *words: str | Path, expected: int = 0) -> str:
    argv = [program(name), *map(str, words)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=peers.TIMEOUT, check=False, env=environment)
    assert done.returncode == expected, done.stderr
    return done.stdout


def qemu_img(*words: str | Path, expected: int = 0) -> str:
    return run("qemu-img", *words, expected=expected)


def gnu_tar(*words: str | Path) -> str:
    if "GNU tar" not in run("tar", "--version"):
        pytest.skip("no peer: GNU tar")
    return run("tar", *words)


@pytest.fixture(scope="module")
def disk_digest() -> str:
    return sparse_digest(SIZE, disk(UKI))


@pytest.mark.slow
def test_qemu_takes_the_vhd_for_the_disk(tmp_path: Path, disk_digest: str) -> None:
    program("qemu-img")
    path, back = tmp_path / "disk.vhd", tmp_path / "back.raw"
    write_sparse(path, vhd.fixed(SIZE, disk(UKI)), SIZE + vhd.SIZE)
    assert virtual_size(path) == SIZE
    qemu_img("convert", "-f", "vpc", "-O", "raw", path, back)
    assert file_digest(back) == disk_digest


def virtual_size(path: Path) -> int:
    # A fixed VHD begins as the disk does, so nobody can tell it by its beginning: the format has to be said.
    found = json.loads(qemu_img("info", "--output=json", "-f", "vpc", path))["virtual-size"]
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("mib", SIZES)
def test_qemu_reads_the_size_of_any_vhd(mib: int, tmp_path: Path) -> None:
    """Before version 10, of a creator that it does not know, it takes the size that the geometry has, mostly less."""
    program("qemu-img")
    path, size = tmp_path / "disk.vhd", mib << 20
    write_sparse(path, vhd.fixed(size, []), size + vhd.SIZE)
    assert virtual_size(path) == size
    other = bytearray(vhd.footer(size))
    other[28:32], other[64:68] = b"plut", bytes(4)
    other[64:68] = (~sum(other) & 0xFFFF_FFFF).to_bytes(4, "big")
    write_sparse(path, [(size, bytes(other))], size + vhd.SIZE)
    cylinders, heads, sectors = vhd.geometry(size)
    version = int(qemu_img("--version").split()[2].partition(".")[0])
    assert virtual_size(path) == (cylinders * heads * sectors * 512 if version < 10 else size)


@pytest.mark.parametrize("mib", SIZES)
def test_qemu_has_the_same_geometry(mib: int, tmp_path: Path) -> None:
    """Its writer enlarges a disk until the geometry holds it; of the enlarged size we must find the same."""
    program("qemu-img")
    path = tmp_path / "disk.vhd"
    qemu_img("create", "-q", "-f", "vpc", "-o", "subformat=fixed", path, f"{mib}M")
    with path.open("rb") as file:
        file.seek(-512, os.SEEK_END)
        theirs = file.read()
    size = int.from_bytes(theirs[48:56], "big")
    cylinders, heads, sectors = vhd.geometry(size)
    assert theirs[56:60] == cylinders.to_bytes(2, "big") + bytes([heads, sectors])
    ours = vhd.footer(mib << 20)
    same = {"cookie": (0, 8), "features": (8, 12), "version": (12, 16), "offset": (16, 24), "type": (60, 64)}
    for begin, end in same.values():
        assert theirs[begin:end] == ours[begin:end]


@pytest.mark.parametrize("at", [0, 12, 48, 56, 60, 64, 68, 511])
def test_qemu_sees_a_changed_footer(at: int, tmp_path: Path) -> None:
    program("qemu-img")
    path, size = tmp_path / "disk.vhd", 64 << 20
    end = bytearray(vhd.footer(size))
    end[at] ^= 1
    write_sparse(path, [(size, bytes(end))], size + vhd.SIZE)
    qemu_img("info", "-f", "vpc", path, expected=1)


def test_gzip_tests_and_lists_what_we_pack(tmp_path: Path) -> None:
    path, size = tmp_path / "disk.raw.gz", 64 << 20
    path.write_bytes(b"".join(deflate.gzip(size, disk(UKI, size))))
    run("gzip", "--test", path)
    _, line = run("gzip", "--list", path).splitlines()
    packed, unpacked, *_ = line.split()
    assert (int(packed), int(unpacked)) == (path.stat().st_size, size)
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    run("gzip", "--test", path, expected=1)


@pytest.mark.slow
def test_gnu_tar_lists_and_extracts_one_member_the_disk(tmp_path: Path, disk_digest: str) -> None:
    path, out = tmp_path / "gcp.tar.gz", tmp_path / "out"
    path.write_bytes(b"".join(gcp.archive(SIZE, disk(UKI), EPOCH)))
    out.mkdir()
    (line,) = gnu_tar("-xvv", "--numeric-owner", "--gzip", "--directory", out, "--file", path).splitlines()
    assert line.split() == ["-rw-r--r--", "0/0", str(SIZE), "2026-11-01", "00:00", "disk.raw"]
    assert [one.name for one in out.iterdir()] == ["disk.raw"]
    assert file_digest(out / "disk.raw") == disk_digest


def test_gnu_tar_writes_the_same_header(tmp_path: Path) -> None:
    """Its own words for the same member, in the format that Google names; sparse, so that it takes no time."""
    with (tmp_path / "disk.raw").open("wb") as file:
        file.truncate(9 << 30)
    words = ["--format=oldgnu", "--owner=0", "--group=0", "--numeric-owner", "--mode=0644", f"--mtime=@{EPOCH}"]
    script = 'cd "$1" && shift && exec tar "$@" disk.raw | head -c 512'
    argv = [program("sh"), "-c", script, "sh", str(tmp_path), "--create", "--file=-", *words]
    gnu_tar("--version")
    done = subprocess.run(argv, capture_output=True, timeout=peers.TIMEOUT, check=False)
    assert done.stdout == gcp.header(9 << 30, EPOCH)


@pytest.fixture(scope="module")
def spdx() -> Callable[[Path], Mapping[str, Any]]:
    try:
        peers.need("python")
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")

    def read(path: Path) -> Mapping[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(peers.BUILD / "python")}
        argv = [sys.executable, "-B", "-c", READ, str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=peers.TIMEOUT, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        found: Mapping[str, Any] = json.loads(done.stdout)
        return found

    return read


def document() -> dict[str, Any]:
    """Of the notary as it is locked, and two wheels with names that are not simple."""
    lock = Lock.parse((NOTARY / "lock.json").read_bytes())
    wheels = tuple(Wheel(name, "1!2.0+a", f"{name}.whl", 1, "00" * 32) for name in ("Zope.Interface", "a__b"))
    both = Lock(lock.version, lock.definition_digest, lock.archives, lock.image, lock.tools, wheels, lock.derived)
    return sbom.document(definitions.load(NOTARY), both, LAUNCH)


def test_spdx_tools_finds_nothing_wrong_with_the_sbom(
    spdx: Callable[[Path], Mapping[str, Any]], tmp_path: Path
) -> None:
    ours, path = document(), tmp_path / "sbom.spdx.json"
    path.write_text(pretty(ours))
    found = spdx(path)
    assert found["problems"] == []
    assert found["packages"] == sorted([one["name"], one["versionInfo"]] for one in ours["packages"])


def test_package_urls_are_in_their_canonical_form(spdx: Callable[[Path], Mapping[str, Any]], tmp_path: Path) -> None:
    ours, path = document(), tmp_path / "sbom.spdx.json"
    path.write_text(pretty(ours))
    found = spdx(path)
    assert all(url == again for url, again in found["urls"].items())
    binaries = {(one["name"], one["version"]) for one in found["parts"] if one["type"] == "deb"}
    assert binaries == {
        (one["name"], one["versionInfo"]) for one in ours["packages"] if "pkg:deb" in json.dumps(one)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["relationships"].append(one["relationships"][1] | {"spdxElementId": "SPDXRef-none"}), "none"),
        (lambda one: one["packages"].append(one["packages"][0]), "SPDXRef-image"),
        (lambda one: one.update(documentNamespace="notary"), "document_namespace"),
        (lambda one: one["packages"][1].update(licenseDeclared="Apache-99"), "Apache-99"),
    ],
    ids=["a relation of nothing", "a package twice", "no namespace", "an unknown licence"],
)
def test_spdx_tools_would_find_it(
    change: Callable[[dict[str, Any]], object],
    message: str,
    spdx: Callable[[Path], Mapping[str, Any]],
    tmp_path: Path,
) -> None:
    wrong, path = document(), tmp_path / "sbom.spdx.json"
    change(wrong)
    path.write_text(pretty(wrong))
    problems = spdx(path)["problems"]
    assert problems
    assert message in " ".join(problems)
