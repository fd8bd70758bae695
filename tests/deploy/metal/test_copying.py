"""Copying to a host, against OpenSSH's own server: whole or not at all, resumed, in little memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from pluto_deploy.metal import copying
from pluto_deploy.metal.connection import Connection, opened
from pluto_measure.errors import SourceError, VerificationError
from simulators.ssh_server import SshServer

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(bytes(range(256)) * 4096 * 8)  # 8 MiB
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_a_file_arrives_whole_read_only_and_once(connection: Connection, source: Path, tmp_path: Path) -> None:
    dest, sent = tmp_path / "host/image/file", list[int]()
    copying.put_file(connection, source, PurePosixPath(dest), digest(source), lambda done, _: sent.append(done))
    assert dest.read_bytes() == source.read_bytes()
    assert dest.stat().st_mode & 0o777 == 0o444
    assert sent == [n * MIB for n in range(9)]
    copying.put_file(connection, source, PurePosixPath(dest), digest(source), lambda done, _: sent.append(-1))
    assert -1 not in sent, "what is there is not sent again"


def test_a_copy_that_was_cut_off_goes_on_where_it_ended(
    connection: Connection, server: SshServer, source: Path, tmp_path: Path
) -> None:
    dest = PurePosixPath(tmp_path / "host/file")

    def cut(done: int, _: int) -> None:
        if done == 3 * MIB:
            server.cut()

    with opened(server.login) as first, pytest.raises(SourceError):
        first.sudo = False
        copying.put_file(first, source, dest, digest(source), cut)
    assert not Path(dest).exists()
    begun = Path(f"{dest}.partial").stat().st_size
    assert 0 < begun <= 8 * MIB
    with opened(server.login) as second:
        second.sudo = False
        sent: list[int] = []
        copying.put_file(second, source, dest, digest(source), lambda done, _: sent.append(done))
    assert sent[0] == begun
    assert Path(dest).read_bytes() == source.read_bytes()


def test_what_arrived_as_something_else_never_counts(connection: Connection, source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "host/file"
    dest.parent.mkdir()
    (tmp_path / "host/file.partial").write_bytes(b"somebody else's beginning")
    with pytest.raises(VerificationError, match="not what was sent"):
        copying.put_file(connection, source, PurePosixPath(dest), digest(source), silent)
    assert list(dest.parent.iterdir()) == []
    copying.put_file(connection, source, PurePosixPath(dest), digest(source), silent)


def test_a_longer_beginning_is_thrown_away(connection: Connection, source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "host/file"
    dest.parent.mkdir()
    (tmp_path / "host/file.partial").write_bytes(bytes(9 * MIB))
    copying.put_file(connection, source, PurePosixPath(dest), digest(source), silent)
    assert dest.read_bytes() == source.read_bytes()


def test_a_place_that_cannot_be_written_is_an_error(connection: Connection, source: Path) -> None:
    with pytest.raises(SourceError):
        copying.put_file(connection, source, PurePosixPath("/proc/none/file"), digest(source), silent)


def tree(folder: Path) -> Path:
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/tool").write_bytes(b"#!/bin/sh\n")
    (folder / "usr/bin/tool").chmod(0o755)
    (folder / "usr/share").mkdir()
    (folder / "usr/share/data").write_bytes(b"x" * 3 * MIB)
    (folder / "bin").symlink_to("usr/bin")
    return folder


def test_a_tree_arrives_whole_with_its_digests(connection: Connection, tmp_path: Path) -> None:
    source, dest = tree(tmp_path / "tree"), tmp_path / "host/tree"
    copying.put_tree(connection, source, PurePosixPath(dest), silent)
    partial = tmp_path / "host/tree.partial"
    assert (partial / "bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert (partial / "usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (partial / "usr/share/data").stat().st_mode & 0o777 == 0o644
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=partial).returncode == 0
    assert not dest.exists(), "it is put in its place by whoever knows that all is there"


def test_what_a_killed_copy_left_of_a_tree_is_cleared_away(connection: Connection, tmp_path: Path) -> None:
    source, dest = tree(tmp_path / "tree"), tmp_path / "host/tree"
    (tmp_path / "host/tree.partial").mkdir(parents=True)
    (tmp_path / "host/tree.partial/old").write_bytes(b"")
    copying.put_tree(connection, source, PurePosixPath(dest), silent)
    assert not (tmp_path / "host/tree.partial/old").exists()


@pytest.mark.slow
def test_memory_stays_that_of_a_piece(server: SshServer, tmp_path: Path) -> None:
    """The peak of a process that copies 256 MiB, beside one that copies 1 MiB."""
    peaks = []
    for size in (1, 256):
        source = tmp_path / f"{size}"
        with source.open("wb") as file:
            file.truncate(size * MIB)
        with source.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        script = (
            "import sys\nfrom pathlib import Path, PurePosixPath\n"
            "from pluto_deploy.metal import copying\nfrom pluto_deploy.metal.connection import opened\n"
            "from pluto_deploy.metal.login import Login\n"
            "host, user, port, key, known, source, dest, digest = sys.argv[1:]\n"
            "with opened(Login(host, user, int(port), Path(key), Path(known))) as connection:\n"
            "    connection.sudo = False\n"
            "    copying.put_file(connection, Path(source), PurePosixPath(dest), digest, lambda *_: None)\n"
            "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))\n"
        )
        login = server.login
        words = [login.host, login.user, login.port, login.key, login.known_hosts, source, f"{source}.copy", found]
        done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] < 64 * MIB
    assert peaks[1] - peaks[0] < 8 * MIB
