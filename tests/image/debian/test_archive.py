"""Control files, Release files and Packages indexes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pluto_image.debian.archive import PackageIndex, paragraphs, parse_release
from pluto_measure.errors import FormatError

DIGEST = "ab" * 32
STANZA = f"""Package: {{name}}
Version: 1.0-1
Architecture: amd64
Filename: pool/main/a/a/a_1.0-1_amd64.deb
Size: 10
SHA256: {DIGEST}
"""


def index(text: str) -> PackageIndex:
    return PackageIndex(text.encode(), archive="main", architecture="amd64")


def release(body: str) -> bytes:
    return f"Suite: stable\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n{body}".encode()


def test_paragraphs_join_continued_values_and_skip_comments() -> None:
    text = "# note\nA: 1\nB: x\n y\n  z\n\n\nA: 2\n"
    assert list(paragraphs(text, what="t")) == [{"A": "1", "B": "x\ny\nz"}, {"A": "2"}]


@pytest.mark.parametrize("text", [" x\n", "A\n", "A: 1\nA: 2\n", ": 1\n", "A b: 1\n"])
def test_broken_paragraphs_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        list(paragraphs(text, what="t"))


def test_a_release_file_gives_date_and_indexes() -> None:
    found = parse_release(
        release(f"Valid-Until: Sun, 13 Sep 2026 07:55:41 UTC\nSHA256:\n {DIGEST} 12 main/x\n"), what="r"
    )
    assert found.date == datetime(2026, 9, 12, 7, 55, 41, tzinfo=UTC)
    assert found.valid_until == datetime(2026, 9, 13, 7, 55, 41, tzinfo=UTC)
    assert found.indexes == {"main/x": (12, bytes.fromhex(DIGEST))}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        release(""),
        release(f"SHA256:\n {DIGEST} -1 main/x\n"),
        release(f"SHA256:\n {DIGEST} 1\n"),
        release("SHA256:\n abc 1 main/x\n"),
        release(f"Valid-Until: never\nSHA256:\n {DIGEST} 1 main/x\n"),
        release(f"SHA256:\n {DIGEST} 1 main/x\n\nSuite: other\n"),
    ],
)
def test_a_broken_release_file_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_release(data, what="r")


def test_an_index_gives_packages_by_name_and_by_what_they_provide() -> None:
    text = STANZA.format(name="aa") + "Source: src (2.0)\nProvides: vv (= 1), ww\nDepends: xx\nPre-Depends: yy\n"
    found = index(text).named("aa")[0]
    assert (found.source, found.source_version) == ("src", "2.0")
    assert [str(group[0]) for group in found.depends] == ["yy", "xx"]
    assert [one.name for one in index(text).providing("ww")] == ["aa"]
    assert index(text).named("bb") == index(text).providing("bb") == ()


def test_packages_for_other_architectures_are_not_offered() -> None:
    assert index(STANZA.format(name="aa").replace("amd64\n", "arm64\n", 1)).named("aa") == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Size: 10", "Size: -1"),
        ("Size: 10", ""),
        (DIGEST, DIGEST[2:]),
        ("pool/main/a/a", "pool/../../etc"),
        ("pool/main/a/a/", "http://host/"),
        ("1.0-1", "not a version"),
        ("Version", "Package"),
        ("\nSize", "\nSource: a b c\nSize"),
    ],
)
def test_a_broken_paragraph_of_an_index_is_refused(old: str, new: str) -> None:
    with pytest.raises(FormatError):
        index(STANZA.format(name="aa").replace(old, new, 1)).named("aa")


def test_an_index_of_something_else_is_refused() -> None:
    with pytest.raises(FormatError, match="begins with"):
        index("<html>\n")
