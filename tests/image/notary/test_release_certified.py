"""The release flavour has its key certified: its root's own program on two sockets, in a network of its own.

Its time is that of operators, its names those of its image's resolver, its configuration one that was accepted. The
authority is reached at a public address, and comes to the notary's port 443 as any authority does. Nothing of the
notary is changed, but that this test build carries our authority of web sites beside Mozilla's.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from pluto_image import build, definition, source_tree, unpacked
from pluto_image.inputs.store import Store, default_root
from pluto_image.lock.lockfile import Lock
from pluto_image.recipe import tables
from pluto_notary import places, systemd
from pluto_notary.config import Acme, encode_payload
from pluto_notary.server import world
from pluto_notary.trusted_time.operators import OPERATORS
from simulators.acme_ca import BASE, AcmeCa, over_tls, shown_by_name
from simulators.containers import tool
from simulators.launches import LAUNCH
from simulators.notary import isolated, today
from simulators.notary.certificates import Authority
from simulators.notary.isolated import PublicSite, Release

ROOT: Final = Path(__file__).resolve().parents[3]
NOTARY: Final = "93.184.215.8"
CA: Final = "93.184.215.20"
TIME: Final[Mapping[str, str]] = {one.host: f"93.184.216.{10 + index}" for index, one in enumerate(OPERATORS)}
PORTS: Final = (8443, 443)  # of pluto-notary.socket
# What the service manager does, for two sockets of one name.
_HAND_OVER: Final = """
import fcntl, os, sys
for place, number in enumerate([fcntl.fcntl(int(one), fcntl.F_DUPFD, 100) for one in sys.argv[1:3]], 3):
    os.dup2(number, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
_START: Final = f"""
set -e
mount -t proc proc "$1/proc"
for device in null urandom; do mount --bind /dev/$device "$1/dev/$device"; done
exec env -i CRYPTOGRAPHY_OPENSSL_NO_LEGACY=1 LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=https:https "$2" \\
    --userspec={isolated.USER}:{isolated.USER} --groups= "$1" /usr/bin/python3 -I -B -m pluto_notary.server
"""

pytestmark = [pytest.mark.root, pytest.mark.slow]


def laid(root: Path, authority: Authority) -> Path:
    """The root of the release on disk, with our authority, after a start with a configuration that names a CA."""
    folder = ROOT / "image/notary"
    lock, found = Lock.parse((folder / "lock.json").read_bytes()), definition.load(folder)
    source, recipe = source_tree.read(folder), tables.parse(found.recipe)
    entries = build.assemble(recipe, lock, Store(default_root()), source, "release", LAUNCH.build_id).entries
    root.mkdir(mode=0o755)
    roots = world.ROOTS.lstrip("/")
    kept = (one for one in entries if not one.path.startswith("usr/lib/modules/"))
    more = authority.pem.encode()
    unpacked.lay(root, (replace(one, data=one.data + more) if one.path == roots else one for one in kept))
    os.utime(root / systemd.OS_RELEASE.lstrip("/"), (found.epoch, found.epoch))
    config = root / places.CONFIG_FILE.lstrip("/")
    config.parent.mkdir(parents=True)
    config.write_bytes(encode_payload(acme=Acme(f"{BASE}/directory", "notary.example")))
    for name in ("proc", "dev"):
        (root / name).mkdir(exist_ok=True)
    for name in ("null", "urandom"):
        (root / "dev" / name).touch()
    return root


@contextlib.contextmanager
def started(root: Path, place: Path) -> Iterator[Release]:
    """The program of pluto-notary.service in that root, as its user."""
    said = place / "stdout", place / "stderr"
    with contextlib.ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server((NOTARY, port))) for port in PORTS]
        out, err = (stack.enter_context(path.open("wb")) for path in said)
        numbers = [door.fileno() for door in doors]
        shell = [tool("unshare"), "--mount", "--", tool("sh"), "-c", _START, "sh", str(root), tool("chroot")]
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _HAND_OVER, *map(str, numbers), *shell],
            stdout=out,
            stderr=err,
            pass_fds=numbers,
        )
    try:
        release = Release(process, said)
        release.soon("pluto: ready ")
        yield release
    finally:
        process.kill()
        process.wait(10)


def shown(port: int) -> bytes:
    """The certificate that the notary shows there, in DER."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((NOTARY, port), timeout=20))


def test_a_release_has_its_key_certified_once_it_knows_the_time(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    authority = Authority()
    root = laid(tmp_path / "root", authority)
    with contextlib.ExitStack() as stack:
        stack.enter_context(isolated.entered())
        isolated.add_addresses(NOTARY, CA, *TIME.values())
        stack.enter_context(isolated.names({"ca.example": CA, **TIME}))
        ca = AcmeCa(now=datetime.datetime.now(datetime.UTC), look=over_tls(lambda: PORTS[1], NOTARY))
        stack.enter_context(PublicSite(CA, authority.issue("ca.example"), ca.act))
        operators = stack.enter_context(isolated.operators(authority, TIME))
        stack.enter_context(isolated.helper(root, today.domain()))
        release = stack.enter_context(started(root, tmp_path))
        own = [shown(port) for port in PORTS]
        shown_by_name((NOTARY, PORTS[1]), "notary.example")
        assert ca.kinds == [], "nobody is asked before the time is known"
        operators.answer()
        release.soon("pluto: certificate state=shown code=none")
        assert [shown(port) for port in PORTS] == ca.issued * 2
        assert release.end() == 0
    assert own[0] == own[1]
    assert ca.wrongs == []
    assert release.said[1].read_text() == ""
    lines = release.lines
    assert lines[1] == f"pluto: ready port={PORTS[0]} buildid={LAUNCH.build_id}"
    assert lines.index("pluto: time state=known") < lines.index("pluto: certificate state=asked code=none")
