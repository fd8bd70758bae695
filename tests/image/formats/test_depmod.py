"""Module indexes: the same bytes as kmod's depmod, and modules that do not fit together are refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.formats.depmod import indexes, module_info
from pluto_measure.errors import FormatError
from simulators.kernel_modules import module
from simulators.kmod_index import contents

MODULES = {
    "kernel/drivers/net/virtio_net.ko": module(
        "virtio_net", depends=["net_failover", "failover"], uses=["net_failover_create", "failover_event"],
        info=["alias=virtio:d00000001v*", "softdep=pre: crc32c post: extra-thing"],
    ),
    "kernel/drivers/net/net_failover.ko": module(
        "net_failover", depends=["failover"], exports=["net_failover_create"], uses=["failover_register"],
    ),
    "kernel/net/core/failover.ko": module("failover", exports=["failover_register", "failover_event"]),
    "kernel/drivers/virt/tsm-core.ko": module("tsm_core", info=["alias=tsm-*", "alias=char-major-10-[0-9-]*"]),
    "kernel/fs/fuse/fuse.ko": module("fuse", info=["alias=fs-fuse", "alias=devname:fuse", "alias=char-major-10-229"]),
    "kernel/fs/other/fuse2.ko": module("fuse2", info=["alias=fs-fuse", "alias=fs-fuseblk"]),
}  # fmt: skip
ORDER = b"".join(path.encode() + b"\n" for path in reversed(MODULES))
BUILTIN = b"kernel/drivers/virtio/virtio.ko\nkernel/drivers/char/tpm/tpm-crb.ko\nkernel/net/unix/unix.ko\n"
MODINFO = b"tpm_crb.license=GPL\0tpm_crb.alias=acpi*:MSFT0101:*\0unix.alias=net-pf-1\0unix.alias=net-pf-1\0"
NAMES = {
    "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin", "modules.builtin.bin",
    "modules.builtin.alias.bin", "modules.softdep", "modules.weakdep",
}  # fmt: skip


def made(modules: dict[str, bytes], order: bytes = ORDER) -> dict[str, bytes]:
    return indexes(modules, builtin=BUILTIN, builtin_modinfo=MODINFO, order=order)


def lookup(index: bytes, key: str) -> list[str]:
    return [value for _, value in contents(index).get(key, [])]


def test_a_module_says_what_it_is_and_needs() -> None:
    info = module_info(MODULES["kernel/drivers/net/virtio_net.ko"])
    assert (info.name, info.depends) == ("virtio_net", ("net_failover", "failover"))
    assert info.aliases == ("virtio:d00000001v*",)
    assert info.softdeps == ("pre: crc32c post: extra-thing",)
    assert module_info(MODULES["kernel/net/core/failover.ko"]).exports == ("failover_register", "failover_event")


def test_dependencies_stand_before_what_they_need_themselves() -> None:
    (line,) = lookup(made(MODULES)["modules.dep.bin"], "virtio_net")
    path, _, needs = line.partition(": ")
    assert path == "kernel/drivers/net/virtio_net.ko"
    assert needs.split() == ["kernel/drivers/net/net_failover.ko", "kernel/net/core/failover.ko"]


def test_equal_aliases_are_tried_in_the_order_of_the_kernel() -> None:
    assert lookup(made(MODULES)["modules.alias.bin"], "fs_fuse") == ["fuse2", "fuse"]
    forward = b"".join(path.encode() + b"\n" for path in MODULES)
    assert lookup(made(MODULES, forward)["modules.alias.bin"], "fs_fuse") == ["fuse", "fuse2"]


def test_dashes_become_underscores_except_in_ranges() -> None:
    index = made(MODULES)["modules.alias.bin"]
    assert lookup(index, "char_major_10_[0-9-]*") == ["tsm_core"]
    assert lookup(index, "tsm_*") == ["tsm_core"]


KEYS = st.text("ab_:*", min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=30), KEYS)
def test_every_alias_is_found_and_nothing_else(aliases: set[str], other: str) -> None:
    index = made({"kernel/a.ko": module("a", info=[f"alias={alias}" for alias in sorted(aliases)])})
    for alias in aliases | {other}:
        assert lookup(index["modules.alias.bin"], alias) == (["a"] if alias in aliases else [])


def test_builtin_modules_and_their_aliases_are_found() -> None:
    files = made(MODULES)
    assert set(files) == NAMES
    assert lookup(files["modules.builtin.bin"], "tpm_crb") == [""]
    assert lookup(files["modules.builtin.alias.bin"], "acpi*:MSFT0101:*") == ["tpm_crb"]
    assert lookup(files["modules.symbols.bin"], "symbol:failover_register") == ["failover"]


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ({"kernel/a.ko": module("a", depends=["absent"])}, "a needs absent"),
        ({"kernel/b.ko": module("a")}, "calls itself a"),
        ({"kernel/a.ko": module("a"), "kernel/x/a.ko": module("a")}, "the same name"),
        (
            {"kernel/a.ko": module("a", depends=["b"]), "kernel/b.ko": module("b", depends=["a"])},
            "need each other in a circle",
        ),
        ({"kernel/a.ko": module("a", info=["alias=[open"])}, "unmatched bracket"),
        ({"kernel/a.ko": module("a", info=["alias=" + "x" * 600])}, "too long"),
        ({"kernel/a.ko": module("a", info=["alias=ä"])}, "not ASCII"),
        ({"kernel/a.ko": module("a", info=["name=b"])}, "has 2 names"),
        ({"kernel/a.ko": b"\x7fELF\x01\x01"}, "ELF"),
        ({"kernel/a.ko": b"\xfd7zXZ\0"}, "ELF"),
    ],
)
def test_modules_that_do_not_fit_together_are_refused(modules: dict[str, bytes], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        made(modules)


SAMPLE = MODULES["kernel/drivers/net/net_failover.ko"]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255), st.integers(0, len(SAMPLE)))
def test_a_damaged_module_gives_facts_or_a_format_error(place: int, flip: int, size: int) -> None:
    broken = bytearray(SAMPLE)
    broken[place] ^= flip
    for data in (bytes(broken), SAMPLE[:size]):
        try:
            module_info(data)
        except FormatError:
            continue


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder /lib/modules/6.12.0 with the modules, without indexes."""
    folder = tmp_path / "lib/modules/6.12.0"
    for path, data in MODULES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for name, text in {"order": ORDER, "builtin": BUILTIN, "builtin.modinfo": MODINFO}.items():
        (folder / f"modules.{name}").write_bytes(text)
    return folder


@pytest.mark.interop
def test_depmod_of_kmod_writes_the_same_entries(tree: Path) -> None:
    subprocess.run([program("depmod"), "--basedir", str(tree.parents[2]), "6.12.0"], check=True, capture_output=True)
    for name, data in made(MODULES).items():
        if not (tree / name).exists():
            assert name == "modules.weakdep"  # kmod 33 and later
            continue
        theirs = (tree / name).read_bytes()
        if name.endswith(".bin"):  # kmod 34 has the same nodes in another order
            assert (contents(data), len(data)) == (contents(theirs), len(theirs))
        else:
            assert data == theirs


@pytest.mark.interop
def test_libkmod_finds_modules_by_alias_in_our_indexes(tree: Path) -> None:
    for name, data in made(MODULES).items():
        (tree / name).write_bytes(data)
    (tree / "modules.softdep").unlink()  # names modules that do not exist here
    command = [program("modprobe"), "--dirname", str(tree.parents[2]), "--set-version", "6.12.0", "--show-depends"]

    def shown(alias: str) -> list[str]:
        done = subprocess.run([*command, alias], check=True, capture_output=True, text=True)
        return [Path(line.split()[1]).name if "/" in line else line for line in done.stdout.split("\n") if line]

    assert shown("virtio:d00000001v00001AF4") == ["failover.ko", "net_failover.ko", "virtio_net.ko"]
    assert shown("symbol:failover_event") == ["failover.ko"]
    assert shown("fs-fuseblk") == ["fuse2.ko"]
    assert shown("tpm-crb") == ["builtin tpm_crb"]
