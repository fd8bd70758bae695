"""A deployment on this computer and the commands about it; only QEMU and swtpm are pretended."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy import cli
from pluto_deploy.local.processes import Process
from simulators import deployments


class World:
    """A folder with releases and a deployment file, a state folder, and the commands."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.state, self._capsys = root, root / "state", capsys
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.documents: list[str] = []

    def release(self, name: str, sequence: int, **changes: Any) -> Path:
        place = {"minimum_sequence": 1, "supersedes": sequence - 1 or None, **changes}
        return deployments.release(self.root / name, build=name, sequence=sequence, **place)

    def file(self, release: Path, **how: Any) -> Path:
        return deployments.deployment(self.root / "file", release, port=how.pop("port", self.port), **how)

    def run(self, command: str, *words: object) -> tuple[int, Any]:
        """One command with --json: its exit code, and the one document that it wrote."""
        argv = [
            command,
            str(self.root / "file/DEPLOYMENT.toml"),
            "--state",
            str(self.state),
            *map(str, words),
            "--json",
        ]
        code = cli.main(argv)
        out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err, self.err
        self.documents += [out, self.err]
        return code, json.loads(out)

    def text(self, command: str, *words: object) -> tuple[int, str]:
        """The same for people."""
        code = cli.main(
            [command, str(self.root / "file/DEPLOYMENT.toml"), "--state", str(self.state), *map(str, words)]
        )
        out, self.err = self._capsys.readouterr()
        return code, out

    @property
    def slots(self) -> Path:
        return self.state / "local/notary"

    def process(self, slot: str) -> Process:
        return Process.from_json(json.loads((self.slots / slot / "machine.json").read_text())["qemu"])

    def everything(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the state folder: when it was written, and what is in it."""
        return {
            str(path.relative_to(self.root)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in sorted(self.root.rglob("*"))
            if not path.is_socket()
        }
