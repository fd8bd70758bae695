"""All files of a DIST from one build, in memory; the two that are mostly zeros as chunks. Pure.

pluto.efi disk.raw firmware.fd disk.vhd gcp.tar.gz oci/      what platforms boot or run
launch.json measurements.json                                what a boot measures, on which machine
files.json sbom.spdx.json sources.json lock.json source.tar  what is in it, and what it was made of
release.json                                                 the unsigned statement about all of these
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from pluto_image.artifact import Sparse
from pluto_image.build import Image, files_document
from pluto_image.definition import Definition
from pluto_image.formats import disk
from pluto_image.lock.lockfile import Lock
from pluto_image.outputs import gcp, references, sbom, sources, statement, vhd
from pluto_image.source_tree import SourceTree
from pluto_measure.digests import Digests
from pluto_measure.errors import UsageError
from pluto_measure.formats.strict_json import pretty
from pluto_measure.publish.facts import FILE as FACTS
from pluto_measure.publish.release import FILE

_ZEROS: Final = memoryview(bytes(1 << 20))


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files of a DIST by name, but the digest list; `digests` has all of them."""

    texts: Mapping[str, bytes]
    sparse: Mapping[str, Sparse]
    digests: Mapping[str, Digests]

    @property
    def sums(self) -> dict[str, str]:
        """SHA-256 in hex by name: what SHA256SUMS lists."""
        return {name: self.digests[name].sha256.hex() for name in sorted(self.digests)}


def outputs(definition: Definition, lock: Lock, source: SourceTree, image: Image) -> Outputs:
    """Make them all. UsageError where the definition has no release.toml, FormatError for what is wrong in one."""
    own = f"{source.definition}/"
    beside = {path.removeprefix(own): data for path, data in source.files.items() if path.startswith(own)}
    if FACTS not in beside:
        raise UsageError(f"{source.definition} holds no {FACTS}, which says what a release of it is")
    with ThreadPoolExecutor(2) as pool:
        # The digests of a GiB of zeros take longest, and do not hold the interpreter's lock.
        large = [pool.submit(_of_sparse, image, algorithm) for algorithm in ("sha384", "sha256")]
        texts = _texts(definition, lock, source, image)
        values = references.measurements(image.launch, texts, beside)
        texts["measurements.json"] = values.to_text().encode()
        digests = {name: Digests.of(data) for name, data in texts.items()}
        sha384, sha256 = (future.result() for future in large)
    digests |= {name: Digests(sha256[name], sha384[name]) for name in sha256}
    said = statement.statement(definition, lock, source, image.launch, values, digests)
    texts[FILE] = said.to_text().encode()
    digests[FILE] = Digests.of(texts[FILE])
    return Outputs(texts, {"disk.raw": (disk.SIZE, image.disk), "disk.vhd": _vhd(image)}, digests)


def _texts(definition: Definition, lock: Lock, source: SourceTree, image: Image) -> dict[str, bytes]:
    archive = b"".join(gcp.archive(disk.SIZE, image.disk(), definition.epoch))
    return {
        "pluto.efi": image.uki,
        "firmware.fd": image.firmware,
        "gcp.tar.gz": archive,
        **{f"oci/{name}": data for name, data in image.container.items()},
        "launch.json": image.launch.to_text().encode(),
        "files.json": pretty(files_document(image)).encode(),
        "sbom.spdx.json": pretty(sbom.document(definition, lock, image.launch)).encode(),
        "sources.json": pretty(sources.document(definition, lock)).encode(),
        "lock.json": lock.to_text().encode(),
        "source.tar": source.tar(definition.epoch),
    }


def _vhd(image: Image) -> Sparse:
    return disk.SIZE + len(vhd.footer(disk.SIZE)), lambda: vhd.fixed(disk.SIZE, image.disk())


def _of_sparse(image: Image, algorithm: str) -> dict[str, bytes]:
    """Digests of the raw disk and of the VHD, which is the same and a footer."""
    state, at = hashlib.new(algorithm), 0
    for offset, data in image.disk():
        _zeros(state, offset - at)
        state.update(data)
        at = offset + len(data)
    _zeros(state, disk.SIZE - at)
    fixed = state.copy()
    fixed.update(vhd.footer(disk.SIZE))
    return {"disk.raw": state.digest(), "disk.vhd": fixed.digest()}


def _zeros(state: hashlib._Hash, count: int) -> None:
    while count > 0:
        state.update(_ZEROS[: min(count, len(_ZEROS))])
        count -= len(_ZEROS)
