"""The compressor of the initrd: one exact libzstd, one thread, checked on a fixed corpus before it is used.

Its output is measured, so another version, which would be as correct, must be refused. The size of the input is not
told to the library: parameters then depend on the level alone, and the self-test runs with those of the real input.
Why zstd, and why this level: docs/decisions/0004-compressor.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Final

import zstandard

from pluto_measure.errors import SourceError

LIBRARY: Final = (1, 5, 7)  # libzstd inside the wheel that pyproject.toml pins
LEVEL: Final = 9
_CORPUS_DIGEST: Final = "ac8e401cbf4f3f95e0b5da2000d5df8f0a323721586b7255d6bbb63a49e2afec"


def zstd(chunks: Iterable[bytes]) -> bytes:
    """One zstd frame (RFC 8878) with a checksum; the bytes do not depend on how the input is cut into chunks.

    Raises SourceError unless the installed library is LIBRARY and gives the known bytes for the corpus.
    """
    _self_test()
    return _compressed(chunks)


def _compressed(chunks: Iterable[bytes]) -> bytes:
    # threads=0 is libzstd's single-threaded mode; 1 would be its multi-threaded mode with one worker, other bytes.
    encoder = zstandard.ZstdCompressor(level=LEVEL, threads=0, write_checksum=True, write_content_size=False)
    stream = encoder.compressobj()
    return b"".join([*(stream.compress(chunk) for chunk in chunks), stream.flush()])


@cache
def _self_test() -> None:
    hint = "run 'pip install --force-reinstall zstandard==0.25.0'"
    if zstandard.ZSTD_VERSION != LIBRARY:
        found, wanted = (".".join(map(str, version)) for version in (zstandard.ZSTD_VERSION, LIBRARY))
        raise SourceError(f"libzstd is {found}, not {wanted}, and would give other bytes", hint=hint)
    digest = hashlib.sha256(_compressed([corpus()])).hexdigest()
    if digest != _CORPUS_DIGEST:
        raise SourceError(f"libzstd compresses the test corpus to {digest[:16]}, not {_CORPUS_DIGEST[:16]}", hint=hint)


def corpus() -> bytes:
    """About 700 KB with noise, near and far repetitions: several blocks, every kind of sequence."""
    noise = [hashlib.sha256(b"%d" % number).digest() for number in range(4096)]
    near = b"".join(block[: block[0] % 32] * (1 + block[1] % 4) + b"\0" * (block[2] % 64) for block in noise)
    far = b"".join(noise[int.from_bytes(block[:2], "big") % 512] for block in noise)
    return near + far + b"".join(noise) + near[: len(near) // 2]
