"""The compressor: one version, one result, whatever the cuts of its input."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_image.formats import compress
from pluto_measure.errors import SourceError

DATA = compress.corpus()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(DATA)), max_size=20))
def test_the_bytes_do_not_depend_on_how_the_input_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(DATA)]
    chunks = [DATA[start:end] for start, end in pairwise(places)]
    assert compress.zstd(chunks) == compress.zstd([DATA])


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=5000))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    assert zstandard.ZstdDecompressor().decompressobj().decompress(compress.zstd([data])) == data


def test_another_library_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstandard, "ZSTD_VERSION", (1, 5, 4))
    compress._self_test.cache_clear()
    with pytest.raises(SourceError, match=r"libzstd is 1\.5\.4, not 1\.5\.7"):
        compress.zstd([b""])


def test_a_library_that_gives_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress, "LEVEL", compress.LEVEL + 1)
    compress._self_test.cache_clear()
    with pytest.raises(SourceError, match="compresses the test corpus to"):
        compress.zstd([b""])
    compress._self_test.cache_clear()


@pytest.mark.interop
def test_the_zstd_program_accepts_the_frame() -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    done = subprocess.run(["zstd", "--decompress", "--stdout"], input=compress.zstd([DATA]), check=True,
                          capture_output=True)  # fmt: skip
    assert done.stdout == DATA
