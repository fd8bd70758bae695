"""Write wheels.json: for each Python and platform, the wheels by which pip meets run.txt, and pip's own wheel.

    .venv/bin/python -m requirements.lock_wheels

Every file has a hash of run.txt, or the one of bootstrap.py for pip. Where files come from is up to pip's own
configuration; nothing is installed. Which requirement applies where: environment markers of PEP 508.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from requirements.bootstrap import WHEEL, WHEEL_SHA256

FOLDER = Path(__file__).resolve().parent
LOCKED = FOLDER / "run.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True, slots=True)
class Platform:
    """Tags of the wheels that fit (PEP 425, PEP 600), and what Python says of itself there."""

    tags: tuple[str, ...]
    os_name: str
    sys_platform: str
    system: str
    machine: str

    def environment(self, python: str) -> dict[str, str]:
        """The marker variables of PEP 508 for CPython `python`, such as "3.12"."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": self.os_name,
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": self.system,
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": self.sys_platform,
        }


def _linux(machine: str) -> Platform:
    tags = tuple(f"{name}_{machine}" for name in ("manylinux_2_17", "manylinux2014", "manylinux_2_28"))
    return Platform(tags, "posix", "linux", "Linux", machine)


PLATFORMS = {
    "linux-aarch64": _linux("aarch64"),
    "linux-x86_64": _linux("x86_64"),
    "macos-arm64": Platform(("macosx_13_0_arm64",), "posix", "darwin", "Darwin", "arm64"),
    "windows-x86_64": Platform(("win_amd64",), "nt", "win32", "Windows", "AMD64"),
}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pluto-wheels-") as name:
        folder = Path(name)
        for python in PYTHONS:
            for platform in PLATFORMS.values():
                download(folder, python, platform)
        text = lock(folder)
    (FOLDER / "wheels.json").write_text(text, encoding="utf-8")
    return 0


def requirements(text: str) -> Iterator[tuple[Requirement, tuple[str, ...]]]:
    """Each requirement of a locked file, with its SHA-256 in hex."""
    for entry in re.split(r"\n(?=\S)", text.strip()):
        line = re.split(r"\s*\\\n", entry, maxsplit=1)[0]
        yield Requirement(line), tuple(re.findall(r"sha256:([0-9a-f]{64})", entry))


def applying(text: str, python: str, platform: Platform) -> Iterator[tuple[Requirement, tuple[str, ...]]]:
    """The requirements that a machine has to meet."""
    environment = platform.environment(python)
    for requirement, hashes in requirements(text):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement, hashes


def download(folder: Path, python: str, platform: Platform) -> None:
    """Fetch the wheels for one Python on one platform by pip. Raises CalledProcessError."""
    version = parse_wheel_filename(WHEEL)[1]
    lines = [f"pip=={version} --hash=sha256:{WHEEL_SHA256}"]
    for requirement, hashes in applying(LOCKED.read_text(encoding="utf-8"), python, platform):
        requirement.marker = None  # pip would judge it for the machine that it runs on
        lines.append(" ".join((str(requirement), *(f"--hash=sha256:{one}" for one in hashes))))
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # fmt: off
    argv = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--only-binary=:all:", "--require-hashes", f"--dest={folder}", f"--requirement={wanted}",
        "--implementation=cp", f"--python-version={python}",
        f"--abi=cp{python.replace('.', '')}", "--abi=abi3", "--abi=none",
        *(f"--platform={tag}" for tag in platform.tags),
    ]
    # fmt: on
    subprocess.run(argv, check=True)


def lock(folder: Path) -> str:
    """The text of wheels.json for the wheels in a folder."""
    wheels = []
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = parse_wheel_filename(path.name)
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        facts = {"name": canonicalize_name(name), "version": str(version), "file": path.name}
        wheels.append({**facts, "size": len(data), "sha256": digest})
    platforms = {name: list(platform.tags) for name, platform in PLATFORMS.items()}
    document = {"version": 1, "pythons": list(PYTHONS), "platforms": platforms, "wheels": wheels}
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
