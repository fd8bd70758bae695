"""Explaining archives, documents, digest lists and OCI layouts; and the reader of the ESP's files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image import source_tree
from pluto_image.formats import disk, fat32
from pluto_image.outputs import deflate, gcp
from pluto_image.rebuild.compare import compare
from pluto_image.rebuild.explain.difference import Difference, Explained, printable, report
from pluto_image.rebuild.explain.esp import Volume
from pluto_image.rebuild.explain.files import explain
from pluto_image.rebuild.explain.gzip import archive_differences
from pluto_image.rebuild.explain.known import Known, Origins
from pluto_image.rebuild.view import View
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import pretty
from pluto_measure.publish.digest_list import format_sums

SIZE = 36 << 20
EPOCH = 1_700_000_000
KNOWN = Known(Origins({"usr/bin/notary": "source:notary/pluto_notary"}, {}), "linux 6.1", b"", None)
Files = dict[str, bytes]


def explained(published: Files, rebuilt: Files) -> dict[str, tuple[Difference, ...]]:
    one, two = ({name: View.of(data) for name, data in side.items()} for side in (published, rebuilt))
    return {found.file: found.differences for found in explain(compare(one, two), one, two, KNOWN)}


def only(name: str, published: bytes, rebuilt: bytes) -> list[tuple[str, str, str, str]]:
    found = explained({name: published}, {name: rebuilt})[name]
    return [(one.where, one.published, one.rebuilt, one.meaning) for one in found]


@cache
def archive(epoch: int = EPOCH, flip: int | None = None, compress: bool = False) -> bytes:
    """A small gcp.tar.gz; `flip`: an offset of the disk that is another byte."""
    total = 512 + SIZE + 1024
    content = bytearray(total + -total % 10240)
    content[:512] = gcp.header(SIZE, epoch)
    for at, part in disk.disk(b"an image" * 1000, SIZE):
        content[512 + at : 512 + at + len(part)] = part
    if flip is not None:
        content[512 + flip] ^= 0xFF
    if compress:
        return gzip.compress(bytes(content), mtime=0)
    return b"".join(deflate.gzip(len(content), [(0, bytes(content))]))


def gz_words(published: bytes, known: Known = KNOWN) -> list[tuple[str, str]]:
    return [(one.where, one.meaning) for one in archive_differences("gcp.tar.gz", published, archive(), known)]


def test_a_field_of_gzip_and_tar_and_the_disk_in_an_archive_are_named() -> None:
    assert gz_words(archive()[:4] + b"\1" + archive()[5:]) == [
        ("gzip header: MTIME", "another field of the gzip header")
    ]
    assert gz_words(archive(EPOCH + 1))[0] == ("tar header: mtime", "another field of the tar header")
    assert gz_words(archive(flip=512 + 56))[0] == ("disk.raw: GPT header: DiskGUID", "another field of the GPT header")
    assert gz_words(archive(flip=SIZE + 700)) == [("behind disk.raw", "bytes that no build writes")]
    assert (
        "the same archive in other compressed bytes: another writer made them" in gz_words(archive(compress=True))[-1]
    )
    assert gz_words(archive()[:-9])[0][1].startswith("is no archive that a build writes")
    wrong = View.sparse(SIZE, disk.disk(b"an image" * 1000, SIZE))
    published = bytearray(wrong.read(0, SIZE))
    published[512 + 56] ^= 0xFF
    known = Known(KNOWN.origins, "", b"", View.of(bytes(published)))
    assert gz_words(archive(flip=512 + 56), known) == [("disk.raw", "holds the published disk.raw: see there")]


SOURCES = {"image/tiny/image.toml": b'name = "tiny"\n', "notary/a.py": b"x = 1\n"}


def test_a_source_that_differs_and_a_header_are_named() -> None:
    right = source_tree.tar(SOURCES, EPOCH)
    (one,) = only("source.tar", source_tree.tar(SOURCES | {"notary/a.py": b"y = 1\n"}, EPOCH), right)
    assert one == ("notary/a.py: line 1", "y = 1", "x = 1", "other content (source file notary/a.py)")
    more = only("source.tar", source_tree.tar(SOURCES | {"notary/b.py": b""}, EPOCH), right)
    assert more == [
        ("notary/b.py", "0 bytes", "", "the member is in the published archive only (source file notary/b.py)")
    ]
    stamps = only("source.tar", source_tree.tar(SOURCES, EPOCH + 1), right)
    assert stamps[0][0] == "image/tiny/image.toml: mtime"
    assert only("source.tar", right + b"x", right)[0][3] == "padding or the end differs"
    assert only("source.tar", right[:520], right)[0][3].startswith("is no tar that a build writes")


def test_json_is_explained_by_pointer_and_its_lists_by_name() -> None:
    rows = [{"path": "a/b", "mode": "0644"}, {"path": "c", "mode": "0644"}]
    right = pretty({"version": 1, "rows": rows, "n": [1, 2]}).encode()
    other = pretty({"version": 1, "rows": [rows[0], rows[1] | {"mode": "0666"}], "n": [1, 3, 4]}).encode()
    assert only("files.json", other, right) == [
        ("/rows[path=c]/mode", "0666", "0644", "another value"),
        ("/n/1", "3", "2", "another value"),
        ("/n/2", "4", "", "is not in the rebuilt file"),
    ]
    fewer = pretty({"version": True, "rows": rows[1:], "n": [1, 2]}).encode()
    assert only("files.json", fewer, right) == [
        ("/version", "true", "1", "another value"),
        ("/rows[path=a/b]", "", '{"path": "a/b", "mode": "0644"}', "is missing in the published file"),
    ]
    assert only("x.json", b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}')[0][3] == "the same members in another order"
    assert only("x.json", b'[{"id": "1"}, {"id": "2"}]', b'[{"id": "2"}, {"id": "1"}]')[0][0] == "/"
    assert only("x.json", right.replace(b" ", b""), right)[0][3] == "the same JSON value in another spelling"
    assert only("x.json", b"{", right)[0][3].startswith("is not the JSON that a build writes")


def test_digests_that_follow_from_something_else_are_told_last_and_of_them_a_few() -> None:
    digests = [f"{n:064x}" for n in range(8)]
    right = pretty({"size": 1, "digests": digests, "tag": f"a:{digests[0]}", "blobs": [{"name": digests[1]}]}).encode()
    other = right.replace(b"00000", b"11111").replace(b'"size": 1', b'"size": 2')
    views = {"a.json": View.of(other)}, {"a.json": View.of(right)}
    (found,) = explain(compare(*views), *views, KNOWN)
    assert [one.where for one in found.differences][:3] == ["/size", "/digests/0", "/digests/1"]
    assert [one.follows for one in found.differences] == [False] + [True] * 11
    assert found.to_text().endswith("  and 9 more\n")
    alone = Explained.of("b.json", found.differences[1:])
    assert report([found, alone]) == found.to_text() + "differing by digests alone: b.json (11)\n"
    assert report([alone]) == alone.to_text(), "nothing else says why"


def sums(**files: bytes) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_a_wrong_line_of_the_digest_list_is_found_though_the_file_is_equal() -> None:
    good, zeros = sums(a=b"1", b=b"2"), "0" * 64
    right = {"a": b"1", "b": b"2", "SHA256SUMS": format_sums(good).encode()}
    wrong = right | {"SHA256SUMS": format_sums(good | {"a": zeros}).encode()}
    (one,) = explained(wrong, right)["SHA256SUMS"]
    assert (one.where, one.published) == ("a", zeros)
    assert one.meaning == "the file is what was rebuilt, and the list has another digest for it"
    consistent = {"a": b"9", "b": b"2", "SHA256SUMS": format_sums(good | sums(a=b"9")).encode()}
    found = explained(consistent, right)
    assert found["SHA256SUMS"][0].meaning == "the digest of the published file, which differs from the rebuilt one"
    assert [one.where for one in found["a"]] == [""], "the list agrees with the file"
    changed = explained(right | {"a": b"9"}, right)
    assert list(changed) == ["a"]
    assert changed["a"][0].meaning.startswith("not what SHA256SUMS of the release lists for it")
    extra = explained(right | {"c": b"", "SHA256SUMS": format_sums(good | sums(c=b"")).encode()}, right)
    assert [(name, one.meaning) for name, found in extra.items() for one in found] == [
        ("c", "no build makes this file"),
        ("SHA256SUMS", "a build makes no such file"),
    ]
    assert explained(wrong | {"SHA256SUMS": b"nonsense\n"}, right)["SHA256SUMS"][0].where == "line 1"


def layer(content: bytes = b"x = 1\n", mode: int = 0o644) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as out:
        info = tarfile.TarInfo("usr/bin/notary")
        info.size, info.mode = len(content), mode
        out.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def layout(tar: bytes, command: str = "serve", pack: Callable[[bytes], bytes] = bytes) -> Files:
    files: Files = {"oci/oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"oci/blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    config = blob(json.dumps({"config": {"Cmd": [command]}}).encode())
    manifest = blob(json.dumps({"config": config, "layers": [blob(pack(tar))]}).encode())
    return files | {"oci/index.json": json.dumps({"manifests": [manifest]}).encode()}


def test_a_layer_that_differs_is_looked_into_though_its_name_differs_too() -> None:
    right, wrong = layout(layer()), layout(layer(mode=0o755))
    found = explained(wrong, right)
    told = [(one.where, one.published, one.rebuilt) for each in found.values() for one in each]
    assert ("layer 0: usr/bin/notary: mode", "0000755", "0000644") in told
    assert any(
        one.meaning.startswith("the rebuilt layer 0; the release has oci/") for each in found.values() for one in each
    )
    other = [one for each in explained(layout(layer(b"y = 1\n")), right).values() for one in each]
    assert any(one.meaning == "other content (source notary/pluto_notary)" for one in other)
    commands = [(one.where, one.published) for each in explained(layout(layer(), "sh"), right).values() for one in each]
    assert ("config /config/Cmd/0", "sh") in commands
    packed = explained(layout(layer(), pack=lambda data: gzip.compress(data, mtime=0)), right)
    assert any(one.meaning == "the same layer in other compressed bytes" for each in packed.values() for one in each)


def test_a_blob_too_many_a_missing_one_and_one_that_was_changed_in_place_are_named() -> None:
    right = layout(layer())
    stray = f"oci/blobs/sha256/{'0' * 64}"
    assert explained(right | {stray: b"x"}, right)[stray][0].meaning.startswith("no build makes this file, and nothing")
    name = f"oci/blobs/sha256/{hashlib.sha256(layer()).hexdigest()}"
    assert explained({k: v for k, v in right.items() if k != name}, right)[name][0].meaning == (
        "the rebuilt layer 0; the release lacks it"
    )
    (one,) = explained(right | {name: layer(b"y = 1\n")}, right)[name]
    assert (one.where, one.published) == ("layer 0: usr/bin/notary: line 1", "y = 1")


def test_values_of_a_stranger_are_shown_printable_and_short() -> None:
    assert printable(b"a\x1b[2Jb\xff\n") == "a\\x1b[2Jb\\xff\\n"
    assert printable("x" * 1000) == "x" * 200 + "… (1000 characters)"


RIGHT: dict[str, Callable[[], bytes]] = {
    "gcp.tar.gz": archive,
    "source.tar": lambda: source_tree.tar(SOURCES, EPOCH),
    "lock.json": lambda: pretty({"image": [{"name": "a", "version": "1"}], "tools": []}).encode(),
    "firmware.fd": lambda: b"firmware" * 64,
    "oci/index.json": lambda: layout(layer())["oci/index.json"],
}


@pytest.mark.parametrize("name", RIGHT)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), flip=st.integers(1, 255))
def test_every_changed_byte_of_any_file_is_put_into_words(name: str, data: st.DataObject, flip: int) -> None:
    right = RIGHT[name]()
    changed = bytearray(right)
    changed[data.draw(st.integers(0, len(right) - 1) | st.integers(0, min(len(right), 600) - 1))] ^= flip
    found = explained({name: bytes(changed)}, {name: right})[name]
    assert found
    assert all(one.meaning and one.to_text().replace("\n", "").isprintable() for one in found)


FAT_FILES = {"EFI/BOOT/BOOTX64.EFI": b"image" * 4000, "EMPTY": b"", "a long name.and more": b"1", ".hidden": b"h"}


def fat(files: Files, size: int = SIZE) -> View:
    return View.sparse(size, fat32.volume(size, files, volume_id=1, hidden_sectors=0))


def test_the_files_of_a_volume_are_read_back() -> None:
    volume = Volume.read(fat(FAT_FILES))
    assert {one.path: volume.content(one) for one in volume.nodes if not one.folder} == FAT_FILES
    assert {one.path for one in volume.nodes if one.folder} == {"", "EFI", "EFI/BOOT"}
    first = next(one for one in volume.nodes if one.path == "EFI/BOOT/BOOTX64.EFI").clusters[0]
    assert volume.owner(volume.data + (first - 2) * volume.cluster) == "file EFI/BOOT/BOOTX64.EFI"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4000) | st.integers(0x4000, 0x4200), st.integers(1, 255))
def test_a_damaged_volume_is_read_or_a_format_error(place: int, flip: int) -> None:
    whole = fat(FAT_FILES)
    table = bytearray(whole.read(0, 1 << 20))
    table[place] ^= flip
    try:
        Volume.read(View.sparse(SIZE, [(0, bytes(table)), (1 << 20, whole.read(1 << 20, SIZE - (1 << 20)))]))
    except FormatError:
        return


def test_a_chain_in_a_circle_and_a_file_without_clusters_are_refused() -> None:
    whole = fat({"A": b"x" * 2000})
    reserved = 32 * 512
    volume = Volume.read(whole)
    first = next(one for one in volume.nodes if one.path == "A").clusters[0]
    for value, problem in ((first, "runs in a circle"), (0, "leads to 0x0")):
        data = bytearray(whole.read(0, SIZE))
        data[reserved + 4 * first : reserved + 4 * first + 4] = value.to_bytes(4, "little")
        with pytest.raises(FormatError, match=problem):
            Volume.read(View.of(bytes(data)))
    with pytest.raises(FormatError, match="is none of a FAT32 volume"):
        Volume.read(View.of(bytes(1024)))
    with pytest.raises(FormatError, match="beyond the end"):
        Volume.read(View.of(b"x"))


@pytest.mark.interop
def test_a_volume_that_others_wrote_is_read(tmp_path: Path) -> None:
    if shutil.which("mkfs.fat") is None or shutil.which("mcopy") is None:
        pytest.skip("dosfstools or mtools is not installed")
    path = tmp_path / "esp.raw"
    path.write_bytes(bytes(SIZE))
    subprocess.run(["mkfs.fat", "-F", "32", "-s", "1", str(path)], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", str(path), "::/EFI"], check=True)
    wanted = {"EFI/A long name with blanks.efi": b"1" * 5000, "EFI/SHORT.TXT": b"2", "EFI/EMPTY": b""}
    for name, content in wanted.items():
        (tmp_path / "one").write_bytes(content)
        subprocess.run(["mcopy", "-i", str(path), str(tmp_path / "one"), f"::/{name}"], check=True)
    volume = Volume.read(View.of(path.read_bytes()))
    assert {one.path: volume.content(one) for one in volume.nodes if not one.folder} == wanted
