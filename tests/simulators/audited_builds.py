"""A small build to audit, and what a tracker and a rebuilder say of its packages. For tests alone.

lay(folder)                              the files of a DIST that `pluto-image audit` reads, and their SHA256SUMS
tracker({"tool": {"CVE-2026-0001": issue()}})     the tracker's data; `issue` and `status` take changes
rebuilds(("tool", "1:1-1", "BAD"))       the list of a rebuilderd
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pluto_image import source_tree
from pluto_image.lock.lockfile import Lock, LockedArchive, Package, Wheel
from pluto_measure.formats.strict_json import pretty
from pluto_measure.publish import digest_list
from simulators.launches import LAUNCH

RECIPE: Final = """
name = "small"
version = "1.2"
[kernel]
package = "linux-image-*-cloud-amd64"
[stub]
package = "systemd-boot-efi"
[firmware]
package = "ovmf"
"""
POLICY: Final = """\
version = 1
maxTrackerAge = 172800
clockSkew = 300
accepted = []
[refuse]
fixable = ["high", "medium", "not yet assigned", "low", "end-of-life", "unimportant"]
open = ["high", "medium"]
noDsa = ["high"]
postponed = []
ignored = []
undetermined = ["high"]
[rebuilders]
bad = "refuse"
unknown = "accept"
"""
RELEASE: Final = b"the statement of the release"
FETCHED: Final = "2026-11-26T08:00:00Z"
NOW: Final = "2026-11-26T12:00:00Z"
TOOL: Final = "1:1.0-1+deb13u2"


def package(
    name: str,
    version: str,
    source: str = "",
    source_version: str = "",
    archive: str = "main",
    architecture: str = "amd64",
) -> Package:
    path = f"pool/{name}.deb"
    found = (source or name, source_version or version)
    return Package(name, version, architecture, 1, "0" * 64, "0" * 40, path, archive, *found, {})


IMAGE: Final = (
    package("fresh", "3.0-1~bpo13+1", archive="backports"),
    package("libtool1", f"{TOOL}+b1", "tool", TOOL),
    package("linux-image-6.1.0-9-cloud-amd64", "6.1.27-1", "linux-signed-amd64", "6.1.27+1"),
    package("quiet", "5", architecture="all"),
    package("systemd-boot-efi", "257.13-1~deb13u1", "systemd", archive="security"),
    package("tool", TOOL),
    package("unused", "1-1"),
)
FILES: Final = (
    ("usr/bin/tool", "package:tool"),
    ("usr/lib/fresh.so", "package:fresh"),
    ("usr/lib/libtool.so.1", "package:libtool1"),
    ("usr/lib/own.py", "source:notary/own"),
    ("usr/lib/quiet.py", "package:quiet"),
    ("usr/lib/quiet.pyc", "derived:python-byte-code of package:quiet"),
)


def lock(*, image: tuple[Package, ...] = IMAGE) -> Lock:
    suites = {"backports": "trixie-backports", "main": "trixie", "security": "trixie-security"}
    archives = tuple(LockedArchive(name, suite, "debian", NOW, 0, "0" * 64, (), ()) for name, suite in suites.items())
    tools = (package("ovmf", "2025.02-8", "edk2"), package("qemu", "10", "qemu", archive="backports"))
    wheels = (Wheel("coin", "21.0", "coin-21.0-py3-none-any.whl", 1, "0" * 64),)
    return Lock(1, "0" * 64, archives, image, tools, wheels, ())


def files(recipe: str = RECIPE) -> dict[str, bytes]:
    """What an audit reads of a build, but for launch.json and the statement: name to content."""
    listed = [
        {
            "path": path,
            "kind": "file",
            "mode": "0644",
            "uid": 0,
            "gid": 0,
            "origin": origin,
            "size": 1,
            "sha256": "1" * 64,
        }
        for path, origin in FILES
    ]
    return {
        "files.json": pretty(listed).encode(),
        "lock.json": lock().to_text().encode(),
        "source.tar": source_tree.tar({"image/small/image.toml": recipe.encode()}, 0),
    }


def lay(folder: Path, *, changes: Mapping[str, bytes | None] | None = None, recipe: str = RECIPE) -> Path:
    """Write the build. `changes`: other content by name, None for a file that is missing; its digests are right."""
    found: dict[str, bytes | None] = {
        **files(recipe),
        "launch.json": LAUNCH.to_text().encode(),
        "release.json": RELEASE,
        **(changes or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: data for name, data in found.items() if data is not None}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    (folder / digest_list.SUMS).write_text(digest_list.format_sums(sums))
    return folder


def status(**changes: Any) -> dict[str, Any]:
    """An open vulnerability in one release; a change to None leaves a member out."""
    plain = {"status": "open", "urgency": "high", "repositories": {"trixie": TOOL}}
    return {name: value for name, value in (plain | changes).items() if value is not None}


def issue(release: str = "trixie", **changes: Any) -> dict[str, Any]:
    """A vulnerability with a status in one release, as in `status`."""
    return {"description": "A flaw.", "scope": "remote", "releases": {release: status(**changes)}}


def fixed(version: str, **changes: Any) -> dict[str, Any]:
    """One that the archives' newest version does not have."""
    return issue(status="resolved", fixed_version=version, **{"repositories": {"trixie-security": version}, **changes})


def tracker(more: Mapping[str, Any] | None = None) -> bytes:
    """The tracker's data: it knows the release and unstable, and nothing of the image is vulnerable but by `more`."""
    never = issue(status="resolved", fixed_version="0")
    unstable = issue("sid", status="resolved", fixed_version="0", repositories={"sid": "9-1"})
    plain: dict[str, Any] = {"systemd": {"CVE-2000-0001": never}, "fresh": {"CVE-2000-0001": unstable}}
    return json.dumps(plain | dict(more or {})).encode()


def rebuilds(*words: tuple[str, str, str], architecture: str = "amd64", suite: str = "trixie") -> bytes:
    """(name, version, status) of packages, as rebuilderd lists them."""
    listed = [
        {
            "name": name, "version": version, "status": word, "distro": "debian", "suite": suite,
            "architecture": architecture, "artifact_url": "https://example.org/x.deb", "build_id": 7,
            "built_at": "2026-11-01T00:00:00", "has_diffoscope": False, "has_attestation": True,
        }
        for name, version, word in words
    ]  # fmt: skip
    return json.dumps(listed).encode()
