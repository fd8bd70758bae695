"""What the tests of `pluto_deploy` share: a small DIST, and tools that only pretend."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluto_deploy.local import engine
from pluto_deploy.local.state import StateFolder
from pluto_image import artifact
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.digests import Digests
from pluto_measure.formats import pe
from pluto_measure.launch import Launch, SectionDigest
from simulators import pe_images, pretend_machine


class PretendTools(ToolsTree):
    """Tools whose programs are `simulators.pretend_machine`."""

    __slots__ = ()

    def command(self, program: str, *args: str | Path) -> list[str]:
        return [sys.executable, pretend_machine.__file__, program, *map(str, args)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def tools(tmp_path: Path) -> ToolsTree:
    return PretendTools(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path / "state")
    yield folder
    engine.stop(folder)


@pytest.fixture
def dist(tmp_path: Path) -> Dist:
    """A DIST whose files nobody could boot; its digests are as good as any."""
    sections = {".osrel": b"ID=test\n", ".cmdline": b"console=ttyS0", ".initrd": b"initrd", ".linux": pe_images.image()}
    uki = pe_images.image(list(sections.items()))
    launch = Launch(
        build_id="b1" * 32,
        flavour="release",
        stub="257.13-1~deb13u1",
        uki_size=len(uki),
        uki_digests=Digests.of(uki),
        uki_authenticode=pe.authenticode(uki),
        kernel_size=len(sections[".linux"]),
        kernel_authenticode=pe.authenticode(sections[".linux"]),
        sections=tuple(SectionDigest(name, len(data), Digests.of(data)) for name, data in sections.items()),
        handed_initrd_size=6,
        handed_initrd=Digests.of(b"initrd"),
        command_line="console=ttyS0",
        disk_size=1 << 20,
        gpt_event=Digests.of(b"gpt"),
    )
    texts = {name: name.encode() for name in artifact.NAMES if name not in ("disk.raw", "launch.json")}
    texts |= {"pluto.efi": uki, "launch.json": launch.to_text().encode()}
    artifact.write(tmp_path / "dist", texts, {"disk.raw": (1 << 20, lambda: [(0, b"disk")])})
    return Dist.open(tmp_path / "dist")
