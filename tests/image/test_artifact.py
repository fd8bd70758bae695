"""DIST: opened only if its list holds, swapped in whole, and the digest of zeros that were never written is right."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image import artifact, receipt, sparse
from pluto_image.artifact import Dist
from pluto_image.cli import main
from pluto_image.inputs.store import Store
from pluto_measure.errors import FormatError, PlutoError, SourceError, UsageError, VerificationError
from pluto_measure.publish import digest_list
from simulators import tiny_definition


@pytest.fixture
def dist(tmp_path: Path, small_disks: None) -> Path:
    store = Store(tmp_path / "store")
    folder, out = tiny_definition.make(tmp_path, store), tmp_path / "dist"
    assert main(["build", str(folder), "--out", str(out), "--store", str(store.root), "--offline"]) == 0
    return out


def test_a_dist_opens_and_its_files_have_their_digests(dist: Path) -> None:
    opened = Dist.open(dist)
    opened.check()
    assert {name for name in opened.sums if not name.startswith("oci/")} == set(artifact.NAMES) - {"oci/index.json"}
    assert opened.launch.flavour == "release"
    assert opened.digest == hashlib.sha256((dist / "SHA256SUMS").read_bytes()).hexdigest()
    assert {path.stat().st_mode & 0o777 for path in dist.rglob("*") if path.is_file()} == {0o644}
    assert dist.joinpath("disk.raw").stat().st_blocks * 512 < 64 << 20, "the disk is sparse"


@pytest.mark.parametrize("name", sorted(set(artifact.NAMES) - {"launch.json"}))
def test_a_changed_byte_is_found_by_check(dist: Path, name: str) -> None:
    with (dist / name).open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    opened = Dist.open(dist)
    with pytest.raises(VerificationError, match=name):
        opened.check([name])


def test_what_is_missing_too_much_or_changed_is_found_when_opening(dist: Path) -> None:
    def refusal() -> str:
        with pytest.raises(PlutoError) as refused:
            Dist.open(dist)
        return str(refused.value)

    (dist / "extra").write_bytes(b"")
    assert "extra" in refusal()
    (dist / "extra").unlink()
    uki = (dist / "pluto.efi").read_bytes()
    (dist / "pluto.efi").write_bytes(uki + b"\0")
    assert "launch.json says" in refusal()
    (dist / "pluto.efi").unlink()
    assert "pluto.efi is missing" in refusal()
    (dist / "pluto.efi").write_bytes(uki)
    text = (dist / "launch.json").read_text()
    (dist / "launch.json").write_text(text.replace("release", "debug"))
    assert "does not have the digest" in refusal()
    (dist / "SHA256SUMS").unlink()
    assert "not the result of a build" in refusal()


@pytest.mark.parametrize(
    "text",
    [
        "0" * 64 + "  b\n" + "0" * 64 + "  a\n",
        "0" * 64 + "  a\n" + "0" * 64 + "  a\n",
        "0" * 64 + "  ../a\n",
        "0" * 64 + "  .a\n",
        "0" * 64 + " *a\n",
        "0" * 63 + "  a\n",
        "A" * 64 + "  a\n",
        "0" * 64 + "  a",
        "0" * 64 + "  SHA256SUMS\n",
        "\n",
        "\u00e4\n",
    ],
)
def test_a_digest_list_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError):
        digest_list.parse_sums(text.encode())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=50)), max_size=4))
def test_the_digest_of_a_sparse_file_is_that_of_its_bytes(raw: list[tuple[int, bytes]]) -> None:
    image, chunks, at = bytearray(8192), [], 0
    for offset, data in sorted(raw):
        if offset >= at:
            chunks.append((offset, data))
            image[offset : offset + len(data)] = data
            at = offset + len(data)
    assert sparse.sparse_digest(8192, chunks) == hashlib.sha256(image).hexdigest()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    artifact.write(out, {"a": b"1"}, {})

    def full() -> sparse.Chunks:
        yield 0, b"x"
        raise OSError(28, "No space left on device")

    with pytest.raises(SourceError, match="No space left"):
        artifact.write(out, {"a": b"2"}, {"b": (10, full)})
    assert (out / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="not a folder"):
        artifact.write(tmp_path / "file", {}, {})


def test_a_damaged_receipt_only_costs_time(dist: Path, tmp_path: Path) -> None:
    place = receipt.path_for(dist)
    for text in ("", "{}", "[1]", '{"version": 1}', '{"inputs": 5, "version": 1, "flavour": "release", "tool": []}'):
        place.write_text(text)
        assert not receipt.holds(dist, flavour="release", inputs=[], check=False)


def test_a_source_that_changes_during_the_build_counts_as_changed(dist: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"old")
    known = receipt.facts([source], now=time.time_ns())
    source.write_bytes(b"new")
    receipt.write(dist, flavour="release", inputs=known, sums=Dist.open(dist).sums)
    assert not receipt.holds(dist, flavour="release", inputs=[source], check=False)
    source.write_bytes(b"old")
    assert receipt.holds(dist, flavour="release", inputs=[source], check=True)


@pytest.mark.root
def test_a_file_system_that_is_really_full_leaves_the_dist_as_it_was(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=True)
    try:
        artifact.write(tmp_path / "out", {"a": b"1"}, {})
        with pytest.raises(SourceError, match="No space left on device") as failed:
            artifact.write(tmp_path / "out", {"a": os.urandom(400_000)}, {})
        assert failed.value.exit_code == 6
        assert (tmp_path / "out/a").read_bytes() == b"1"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_where_folders_cannot_be_exchanged_a_dist_is_replaced_by_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "platform", "elsewhere")
    for content in (b"1", b"2"):
        artifact.write(out, {"a": content}, {})
        assert (out / "a").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_inspect_says_what_is_in_a_dist(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(dist)]) == 0
    out = capsys.readouterr().out
    assert "flavour       release" in out
    assert "package:init" in out
    assert main(["inspect", str(dist / "nowhere"), "--json"]) == 2


def test_a_folder_with_somebody_elses_digest_list_is_left_alone(tmp_path: Path) -> None:
    """SHA256SUMS lies beside many downloads: what a build did not list is not a build's to replace."""
    out = tmp_path / "downloads"
    out.mkdir()
    (out / "SHA256SUMS").write_text(f"{'0' * 64}  debian.iso\n")
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds thesis\.tex, which no build made"):
        artifact.write(out, {"a": b"1"}, {})
    (out / "thesis.tex").rename(out / "debian.iso")
    (out / "SHA256SUMS").write_text("debian.iso, as I got it\n")
    with pytest.raises(UsageError, match="which no build made"):
        artifact.write(out, {"a": b"1"}, {})


def test_the_folder_that_one_stands_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is replaced whole, and you are in it"):
        artifact.write(Path(), {"a": b"1"}, {})
