"""The readers and writers on the real inputs: every locked package, the real stub, the real kernel's modules."""

from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from pluto_image.debian.deb import read
from pluto_image.formats.depmod import indexes, module_info
from pluto_image.formats.uki import build
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.tree import Kind
from pluto_measure.formats import pe
from simulators.kmod_index import contents

LOCK = Lock.parse((Path(__file__).resolve().parents[3] / "image/notary/lock.json").read_bytes())
PACKAGES = LOCK.image
KERNEL = next(package for package in PACKAGES if package.name.startswith("linux-image-6"))


@pytest.fixture(scope="module")
def store() -> Store:
    found = Store(default_root())
    if not all(found.has(package.sha256) for package in PACKAGES):
        pytest.skip("the locked inputs are not in the store")
    return found


def content(store: Store, package: Package) -> bytes:
    data = store.get(package.sha256)
    assert data is not None
    return data


@pytest.mark.slow
@pytest.mark.interop
def test_every_locked_package_is_read_as_dpkg_deb_unpacks_it(store: Store) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    for package in PACKAGES:
        deb = read(content(store, package))
        assert (deb.control["Package"], deb.control["Version"]) == (package.name, package.version)
        ours = {m.path: (m.mode, m.uid, m.gid, m.link, m.data) for m in deb.members}
        unpacked = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", store.path(package.sha256)], check=True, capture_output=True
        )
        theirs = {}
        with tarfile.open(fileobj=io.BytesIO(unpacked.stdout)) as archive:
            for info in archive:
                file = archive.extractfile(info) if info.isreg() or info.islnk() else None
                link = info.linkname if info.issym() else ""
                data = file.read() if file else b""
                theirs[info.name.removeprefix("./")] = (info.mode & 0o7777, info.uid, info.gid, link, data)
        theirs.pop(".", None)
        assert ours == theirs, package.name


def test_the_locked_stub_takes_our_sections(store: Store) -> None:
    (package,) = (package for package in PACKAGES if package.name == "systemd-boot-efi")
    (stub,) = read(content(store, package), want=lambda path: path.endswith("/linuxx64.efi.stub")).members
    (kernel,) = read(content(store, KERNEL), want=lambda path: path.startswith("boot/vmlinuz-")).members
    sections = [(".osrel", b"ID=x\n"), (".cmdline", b"quiet"), (".uname", b"6"), (".initrd", b"i"),
                (".linux", kernel.data)]  # fmt: skip
    uki = build(stub.data, sections)
    image = pe.parse(uki)
    assert [(s.name, pe.section_data(uki, s)) for s in image.sections[-5:]] == sections
    assert pe.authenticode(uki) != pe.authenticode(stub.data)


@pytest.mark.slow
@pytest.mark.interop
def test_indexes_of_the_locked_kernel_have_the_entries_of_depmod(store: Store, tmp_path: Path) -> None:
    depmod = shutil.which("depmod") or shutil.which("depmod", path="/usr/sbin:/sbin")
    if depmod is None:
        pytest.skip("depmod is not installed")
    prefix = f"usr/lib/modules/{KERNEL.name.removeprefix('linux-image-')}/"
    files = {m.path.removeprefix(prefix): m.data for m in read(content(store, KERNEL)).members if m.kind is Kind.FILE}
    modules = {path[:-3]: lzma.decompress(data) for path, data in files.items() if path.endswith(".ko.xz")}
    needed = {Path(path).stem.replace("-", "_"): path for path in modules}
    wanted = [path for path in modules if path.startswith(("kernel/fs/", "kernel/drivers/net/"))]
    chosen: dict[str, bytes] = {}
    while wanted:
        path = wanted.pop()
        chosen[path] = modules[path]
        wanted += [needed[name] for name in module_info(modules[path]).depends if needed[name] not in chosen]
    folder = tmp_path / "lib/modules/6.12.0"
    for path, data in (chosen | {path: data for path, data in files.items() if path.startswith("modules.")}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    subprocess.run([depmod, "--basedir", str(tmp_path), "6.12.0"], check=True, capture_output=True)
    given = (files["modules.builtin"], files["modules.builtin.modinfo"], files["modules.order"])
    ours = indexes(chosen, builtin=given[0], builtin_modinfo=given[1], order=given[2])
    assert len(chosen) > 100
    for name, data in ours.items():
        if name == "modules.weakdep" and not (folder / name).exists():
            continue  # written by kmod 33 and later
        theirs = (folder / name).read_bytes()
        if name.endswith(".bin"):
            assert (len(data), entries(data)) == (len(theirs), entries(theirs)), name
        else:
            assert data == theirs


def entries(index: bytes) -> dict[str, list[tuple[int, list[str]]]]:
    """An index without the order of a module's dependencies, where depmod has it from the order of symbols."""
    return {key: [(number, sorted(text.split())) for number, text in found] for key, found in contents(index).items()}
