"""The probe, run as the host runs it, on trees that look like one: what it sees, what it cannot, and what it keeps."""

from __future__ import annotations

import ast
import errno
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.metal.check import probe
from pluto_deploy.metal.check.document import parse_facts
from simulators.host_trees import GOOD, LOG, memory_device, plant, program, write

SOURCE = Path(probe.__file__)
PLATFORM, SVN = b"\xaa" * 16, b"\xbb" * 16
ANSWER = struct.pack("<HHII", 4, 13, 16, 16) + PLATFORM + SVN


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: the name of a socket has about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="t") as name:
        yield plant(Path(name))


def seen(root: Path) -> dict[str, Any]:
    """What the probe says, from standard input, isolated, as over ssh."""
    done = subprocess.run(
        [sys.executable, "-I", "-", str(root)], input=SOURCE.read_bytes(), capture_output=True, check=True, timeout=60
    )
    parse_facts(done.stdout)
    return dict(json.loads(done.stdout))


def message(kind: int, problem: int, body: bytes, *, major: int = 1, size: int | None = None) -> bytes:
    whole = struct.pack("<HHIII", major, 1, kind, 16 + len(body) if size is None else size, problem) + body
    return struct.pack(">I", len(whole)) + whole


@contextmanager
def qgs(root: Path, answer: bytes | Callable[[socket.socket], None]) -> Iterator[list[bytes]]:
    """A service at the socket that answers once. Yields what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "var/run/tdx-qgs/qgs.socket"))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                asked.append(client.recv(64))
                if callable(answer):
                    answer(client)
                else:
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join()


def test_a_good_host_is_seen_whole(root: Path) -> None:
    with qgs(root, message(5, 0, ANSWER)) as asked:
        found = seen(root)
    assert asked == [bytes.fromhex("00000010" + "01000100" + "04000000" + "10000000" + "00000000")]
    for topic in ("processor", "registers", "kernel", "system", "services", "registration", "memory", "nft"):
        assert found[topic] == GOOD[topic], topic
    assert found["quotes"]["answer"] == GOOD["quotes"]["answer"]
    assert (found["quotes"]["port"], found["quotes"]["threads"]) == (None, 4)
    assert (found["quotes"]["folder"]["kind"], found["quotes"]["folder"]["mode"]) == ("folder", 0o710)
    assert found["quotes"]["socket"]["kind"] == "socket"
    assert found["disk"]["path"] == "/var/lib"
    assert 0 < found["disk"]["free"] <= found["disk"]["total"]


def test_no_secret_of_a_file_it_reads_is_in_what_it_says(root: Path) -> None:
    write(
        root,
        "etc/sgx_default_qcnl.conf",
        json.dumps({"pccs_url": "http://u:secret@p/x?key=secret", "ApiKey": "secret"}),
    )
    found = seen(root)
    assert "secret" not in json.dumps(found)
    assert found["provisioning"]["url"] == "http://p/x"


def test_an_empty_tree_is_seen_as_nothing(root: Path, tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert found["processor"]["vendor"] is None
    assert found["registers"] == {"state": "absent", "values": {}}
    assert found["kernel"]["log"] is None
    assert set(found["devices"].values()) == {None}
    assert set(found["services"].values()) == {None}
    assert found["quotes"]["answer"] == {"state": "absent"}
    assert found["provisioning"]["configured"] is False
    assert found["registration"] is None
    assert found["memory"]["modules"] is None
    assert found["nft"] is False


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (message(5, 0x12001, b""), {"state": "error", "code": 0x12001}),
        (message(5, 0, ANSWER[:-1]), {"state": "malformed"}),
        (message(5, 0, ANSWER + b"\0"), {"state": "malformed"}),
        (message(5, 0, b""), {"state": "malformed"}),
        (message(3, 0, ANSWER), {"state": "malformed"}),
        (message(5, 0, ANSWER, major=2), {"state": "malformed"}),
        (message(5, 0, ANSWER, size=7), {"state": "malformed"}),
        (message(5, 0, struct.pack("<HHII", 0, 0, 1 << 31, 16) + SVN), {"state": "malformed"}),
        (struct.pack(">I", 3) + b"abc", {"state": "malformed"}),
        (struct.pack(">I", 1 << 31) + b"abc", {"state": "silent"}),
        (b"", {"state": "silent"}),
        (b"\0\0", {"state": "silent"}),
    ],
)
def test_what_qgs_may_answer(root: Path, answer: bytes, state: dict[str, object]) -> None:
    with qgs(root, answer):
        assert seen(root)["quotes"]["answer"] == state


def test_a_qgs_that_says_nothing_is_not_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PATIENCE", 0.2)
    released = threading.Event()

    def wait(client: socket.socket) -> None:
        del client
        released.wait(10)

    with qgs(root, wait):
        start = time.monotonic()
        assert probe.look(str(root))["quotes"]["answer"] == {"state": "silent"}  # type: ignore[index]
        assert time.monotonic() - start < 5
        released.set()


def test_a_socket_that_nobody_listens_at(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "var/run/tdx-qgs/qgs.socket"))
    assert seen(root)["quotes"]["answer"] == {"state": "refused"}


def test_qgs_that_is_told_a_port(root: Path) -> None:
    write(root, "etc/qgs.conf", "port = 4050\n number_threads=999\n")
    found = seen(root)["quotes"]
    assert (found["port"], found["threads"]) == (4050, 999)


@pytest.mark.parametrize(
    ("problem", "state"),
    [(errno.ENXIO, "absent"), (errno.ENOENT, "absent"), (errno.EPERM, "denied"), (errno.EACCES, "denied")],
)
def test_registers_that_cannot_be_opened(root: Path, monkeypatch: pytest.MonkeyPatch, problem: int, state: str) -> None:
    original = os.open

    def opening(path: str, *how: int) -> int:
        if path.endswith("/msr"):
            raise OSError(problem, os.strerror(problem))
        return original(path, *how)

    monkeypatch.setattr(os, "open", opening)
    assert probe.look(str(root))["registers"] == {"state": state, "values": {}}


def test_a_register_that_faults_is_told_from_one_that_may_not_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.pread

    def reading(problem: int) -> Callable[[int, int, int], bytes]:
        def read(file: int, size: int, offset: int) -> bytes:
            if offset == 0x982:
                raise OSError(problem, os.strerror(problem))
            return original(file, size, offset)

        return read

    monkeypatch.setattr(os, "pread", reading(errno.EIO))
    found: Any = probe.look(str(root))["registers"]
    assert found["values"].pop("0x982") is None
    assert None not in found["values"].values()
    monkeypatch.setattr(os, "pread", reading(errno.EPERM))
    assert probe.look(str(root))["registers"] == {"state": "denied", "values": {}}


def test_the_journal_is_asked_where_the_ring_has_forgotten(root: Path) -> None:
    program(root, "dmesg", "[ 90.1] sgx: something late")
    program(root, "journalctl", "\n".join(LOG))
    found = seen(root)["kernel"]
    assert (found["log"], found["logSource"]) == ([*LOG], "journalctl")


def test_a_ring_without_a_word_of_tdx_is_told_from_one_that_cannot_be_read(root: Path) -> None:
    program(root, "dmesg", "[ 1.0] x86/tme: not enabled by BIOS\n[ 1.1] usb: hello")
    found = seen(root)["kernel"]
    assert (found["log"], found["logSource"]) == (["[ 1.0] x86/tme: not enabled by BIOS"], "dmesg")
    write(root, "usr/bin/dmesg", "#!/bin/sh\necho no >&2\nexit 1\n")
    assert seen(root)["kernel"]["log"] is None


def test_the_kernel_log_is_bounded(root: Path) -> None:
    program(root, "dmesg", "\n".join(f"virt/tdx: {number} {'x' * 1000}" for number in range(1000)))
    log = seen(root)["kernel"]["log"]
    assert len(log) == 200
    assert all(len(line) == 300 for line in log)


def test_a_program_that_does_not_end_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PATIENCE", 0.1)
    write(root, "usr/bin/mpa_manage", "#!/bin/sh\nsleep 60 &\nsleep 60\n")
    start = time.monotonic()
    assert probe.look(str(root))["registration"] == ""
    assert time.monotonic() - start < 10


def test_a_program_that_does_not_stop_talking_is_ended(root: Path) -> None:
    write(root, "usr/bin/dmesg", "#!/bin/sh\nexec yes virt/tdx: again\n")
    assert len(seen(root)["kernel"]["log"]) == 200


def test_the_kernels_configuration_is_that_of_the_running_one(root: Path) -> None:
    write(root, "boot/config-6.19.0-3-generic", "CONFIG_KVM_INTEL_TDX=y\n# CONFIG_INTEL_TDX_HOST is not set\n")
    assert seen(root)["kernel"]["config"] == {"KVM_INTEL_TDX": "y"}
    write(root, "proc/sys/kernel/osrelease", "6.19.0-4-generic\n")
    assert seen(root)["kernel"]["config"] is None


def test_a_long_text_is_cut(root: Path) -> None:
    write(root, "sys/class/dmi/id/product_name", "p" * 5000)
    assert seen(root)["system"]["product"] == "p" * 300


@pytest.mark.parametrize(
    ("table", "sizes"),
    [
        (memory_device(0x4000), [16384]),
        (memory_device(0), [0]),
        (memory_device(0xFFFF), [None]),
        (memory_device(0x7FFF, 131072), [131072]),
        (memory_device(0x8000 | 2048), [2]),
        (memory_device(0x4000) + bytes([127, 4, 0, 0, 0, 0]) + memory_device(0x4000), [16384]),
        (memory_device(0x4000)[:20], []),
        (b"\x11\x02\0\0" + memory_device(0x4000), []),
        (b"", []),
        (memory_device(0x4000) * 300, [16384] * 256),
    ],
)
def test_memory_modules(table: bytes, sizes: list[int | None]) -> None:
    """SMBIOS 3.7, 7.18: megabytes, kilobytes with the top bit, the extended field, unknown, empty; any cut of them."""
    assert probe._modules(table) == sizes
    for cut in range(min(len(table), 200)):
        probe._modules(table[:cut])


def test_the_hosts_own_root_is_the_default() -> None:
    done = subprocess.run([sys.executable, "-I", "-"], input=SOURCE.read_bytes(), capture_output=True, check=True)
    assert parse_facts(done.stdout).kernel.release == os.uname().release


def test_it_needs_no_more_than_python_3_10_and_its_library() -> None:
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 10))
    names = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names - {"__future__"} <= sys.stdlib_module_names


def test_it_ends_itself_within_the_time_the_other_side_gives_it() -> None:
    from pluto_deploy.metal.check import collect

    assert probe._SECONDS < collect._SECONDS
