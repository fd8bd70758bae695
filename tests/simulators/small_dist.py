"""The files of a small DIST, made of a root that a test gives: to be looked at, not to be booted. For tests alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pluto_image import source_tree
from pluto_image.formats import compress, cpio, uki
from pluto_image.lock.lockfile import Lock, LockedArchive, Package, Wheel
from pluto_image.tree import Entry, Kind
from pluto_measure import describe
from pluto_measure.digests import Digests
from pluto_measure.formats.strict_json import pretty
from pluto_measure.launch import Container
from pluto_measure.measurements import Measurements
from simulators.kernel_modules import module
from simulators.pe_images import KERNEL, STUB

SIGNED = b"~Module signature appended~\n"
CONFIG = {"architecture": "amd64", "os": "linux", "config": {"ExposedPorts": {"8443/tcp": {}}}}
RECIPE = """
name = "small"
[[kernel.module]]
names = ["virtio-net"]
reason = "the network card"
[[kernel.module]]
names = ["tsm"]
load = true
reason = "quotes"
[[prune.keep]]
packages = ["tool"]
paths = ["usr/bin/tool"]
reason = "what it is for"
[[units.enable]]
target = "multi-user.target"
units = ["tool.service"]
reason = "the workload"
[[units.mask]]
units = ["debug-shell.service"]
reason = "no shell"
"""


def file(path: str, data: bytes | str = b"", origin: str = "package:tool", mode: int = 0o644) -> Entry:
    return Entry(path, Kind.FILE, mode, data.encode() if isinstance(data, str) else data, origin)


def link(path: str, target: str, origin: str = "recipe:files.link") -> Entry:
    return Entry(path, Kind.SYMLINK, 0o777, target.encode(), origin)


UNITS = (
    file(
        "usr/lib/systemd/system/tool.service",
        "[Unit]\nDescription=A tool\n[Service]\nExecStart=/usr/bin/tool\nUser=tool\nNoNewPrivileges=yes\n",
    ),
    file("usr/lib/systemd/system/tool.service.d/10-more.conf", "[Service]\nPrivateNetwork=yes\n", "recipe:rootfs"),
    file("usr/lib/systemd/system/tool.socket", "[Socket]\nListenStream=8443\nListenStream=/run/tool\n"),
    file("usr/lib/systemd/system/multi-user.target", "[Unit]\nWants=tool.socket\n"),
    link("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target", "recipe:units.default"),
    link("etc/systemd/system/debug-shell.service", "/dev/null", "recipe:units.mask"),
)
ENTRIES = (
    *UNITS,
    file("usr/bin/tool", b"\x7fELF" + bytes(4000), mode=0o755),
    file("usr/lib/tool.pyc", bytes(900), "derived:python-byte-code of package:tool"),
    file("usr/lib/modules/6.1/kernel/virtio_net.ko", module("virtio_net", info=["alias=virtio:d1"]) + SIGNED),
    file("usr/lib/modules/6.1/kernel/tsm.ko", module("tsm") + SIGNED),
    file("etc/passwd", "root:x:0:0::/:/x\ntool:x:990:990:A tool:/:/x\n", "recipe:files.users"),
    file("etc/group", "root:x:0:\ntool:x:990:\nextra:x:5:tool\n", "recipe:files.groups"),
    file("usr/lib/own.py", b"pass\n", "source:notary/pluto_notary"),
)


def files(
    entries: Sequence[Entry] = ENTRIES,
    *,
    command_line: str = "console=ttyS0 lockdown=integrity",
    recipe: str = RECIPE,
    container: bool = False,
    lock: Lock | None = None,
) -> dict[str, bytes]:
    """Name to content of everything that `pluto-image inspect` reads."""
    whole = _with_parents(entries)
    sections = [
        (".osrel", b"PLUTO_BUILD_ID=" + b"ab" * 32 + b"\n"),
        (".cmdline", command_line.encode()),
        (".initrd", compress.zstd(cpio.newc(whole, 0))),
        (".linux", KERNEL),
    ]
    image = uki.build(STUB, sections)
    launch = describe.of_uki(
        image, Digests.of(b"gpt"), stub="257.1", disk_size=1 << 20, build_id="ab" * 32, flavour="release"
    )
    made = {"firmware.fd": b"firmware", "lock.json": (lock or _lock()).to_text().encode(), "pluto.efi": image}
    if container:
        text = json.dumps(CONFIG).encode()
        digest = hashlib.sha256(text).hexdigest()
        made[f"oci/blobs/sha256/{digest}"] = text
        launch = replace(launch, container=Container("sha256:" + "cd" * 32, f"sha256:{digest}", ("tool",), ()))
    return made | {
        "files.json": pretty([_listed(entry) for entry in whole]).encode(),
        "launch.json": launch.to_text().encode(),
        "measurements.json": Measurements(launch.build_id, launch.flavour, ()).to_text().encode(),
        "source.tar": source_tree.tar({"image/small/image.toml": recipe.encode(), "pyproject.toml": b""}, 0),
    }


def _lock() -> Lock:
    archive = LockedArchive("main", "trixie", "debian", "2025-01-01T00:00:00Z", 0, "0" * 64, (), ())
    scripts: Mapping[str, str] = {"postinst": "1" * 64, "triggers": "2" * 64}
    packages = (
        Package("kept", "2-1+b1", "amd64", 10, "3" * 64, "4" * 40, "pool/kept.deb", "main", "kept", "2-1", {}),
        Package("tool", "1:1-1", "amd64", 20, "5" * 64, "6" * 40, "pool/tool.deb", "main", "tool", "1:1-1", scripts),
    )
    wheels = (Wheel("wheel", "1.0", "wheel-1.0-py3-none-any.whl", 30, "7" * 64),)
    return Lock(1, "0" * 64, (archive,), packages, (), wheels, ())


def _with_parents(entries: Sequence[Entry]) -> list[Entry]:
    known = {entry.path: entry for entry in entries}
    for entry in entries:
        parts = entry.path.split("/")
        for count in range(1, len(parts)):
            path = "/".join(parts[:count])
            known.setdefault(path, Entry(path, Kind.DIRECTORY, 0o755, b"", "recipe:parents"))
    return sorted(known.values(), key=lambda one: one.path.encode())


def _listed(entry: Entry) -> dict[str, object]:
    document: dict[str, object] = {"path": entry.path, "kind": entry.kind.value, "mode": f"{entry.mode:04o}"}
    document |= {"uid": entry.uid, "gid": entry.gid, "origin": entry.origin}
    if entry.kind is Kind.FILE:
        document |= {"size": len(entry.data), "sha256": hashlib.sha256(entry.data).hexdigest()}
    if entry.kind is Kind.SYMLINK:
        document["target"] = entry.data.decode()
    return document
