"""The keeper of one machine, as a process of its own, with a QEMU that pretends."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.metal import keeper
from pluto_deploy.metal.keeper import BURST, RATE, Bucket, Log, Monitor
from simulators import pretend_qemu

ENOUGH = 20.0  # seconds, on a computer that is busy
STARTED = b"pluto: pretends"


class Kept:
    """A keeper that runs, and what it tells systemd."""

    def __init__(self, folder: Path, notified: socket.socket, process: subprocess.Popen[str]) -> None:
        self.folder, self.process = folder, process
        self.told: list[str] = []
        self.deaf = False
        threading.Thread(target=self._hear, args=(notified,), daemon=True).start()

    def _hear(self, notified: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while not self.deaf and (text := notified.recv(4096)):
                self.told.append(text.decode())

    @property
    def log(self) -> bytes:
        return (self.folder / "serial.log").read_bytes()

    def listen(self, text: str, times: int = 1) -> None:
        """Wait until systemd was told `text` as often."""
        limit = time.monotonic() + ENOUGH
        while self.told.count(text) < times:
            assert time.monotonic() < limit, self.told
            time.sleep(0.01)

    def seen(self) -> dict[str, Any]:
        """What the pretended QEMU sees."""
        limit = time.monotonic() + ENOUGH
        while time.monotonic() < limit:
            for line in self.log.splitlines():
                if line.startswith(b"{") and line.endswith(b"}"):
                    return dict(json.loads(line))
            time.sleep(0.02)
        raise AssertionError(self.log[-500:])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(ENOUGH)

    def said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextlib.contextmanager
def kept(
    mode: str,
    *,
    limit: int = 1 << 20,
    grace: float = 5.0,
    watchdog: float = 0.3,
    words: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
    output: Path | None = None,
) -> Iterator[Kept]:
    with tempfile.TemporaryDirectory(prefix="pluto-") as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        folder = Path(name)
        (folder / "config.disk").write_text(mode)
        told.bind(str(folder / "notify"))
        argv = [sys.executable, "-I", "-B", keeper.__file__, "--log-limit", str(limit), "--grace", str(grace), *words]
        qemu = [sys.executable, pretend_qemu.__file__, "-blockdev", f"file.filename={folder / 'config.disk'}"]
        environment = {
            **os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(int(watchdog * 1e6)),
            "WATCHDOG_PID": "1", "KEPT": "yes",
        }  # fmt: skip
        with (
            (output or folder / "serial.log").open("ab") as log,
            subprocess.Popen(
                [*argv, "--", *before, *qemu], env=environment, stdout=log, stderr=subprocess.PIPE, text=True
            ) as process,
        ):
            try:
                yield Kept(folder, told, process)
            finally:
                if process.poll() is None:
                    for pid in (*children(process.pid), process.pid):
                        os.kill(pid, signal.SIGKILL)
                told.shutdown(socket.SHUT_RDWR)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_machine_is_ready_once_its_monitor_answers_and_ends_when_it_is_asked_to() -> None:
    with kept("honest") as one:
        one.listen("READY=1")
        one.listen("WATCHDOG=1", 2)
        assert "STATUS=QEMU: running" in one.told
        one.seen()
        begun = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - begun < 4
        one.listen("STOPPING=1")
        assert 'SHUTDOWN {"guest": true, "reason": "guest-shutdown"}' in one.said()
    assert one.told.index("READY=1") < one.told.index("WATCHDOG=1")


def test_qemu_inherits_three_descriptors_and_nothing_that_systemd_told() -> None:
    with kept("honest") as one:
        environment = one.seen()["environment"]
    assert environment["KEPT"] == "yes"
    assert not environment.keys() & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"}


def test_a_guest_that_does_not_mind_the_button_is_ended_after_the_grace() -> None:
    with kept("deaf", grace=0.6) as one:
        one.listen("READY=1")
        begun = time.monotonic()
        assert one.stop() == 0
        assert 0.5 < time.monotonic() - begun < 5


@pytest.mark.slow
def test_a_qemu_that_does_not_mind_sigterm_is_killed() -> None:
    with kept("stubborn", grace=0.1) as one:
        one.listen("READY=1")
        begun = time.monotonic()
        assert one.stop() == 0
        assert keeper.ENDING - 0.5 < time.monotonic() - begun < keeper.ENDING + 5
        assert "QEMU ended with -9" in one.said()


@pytest.mark.parametrize(("mode", "code"), [("reset", 0), ("fails", 3)])
def test_a_machine_that_ends_by_itself_ends_its_keeper_with_its_own_code(mode: str, code: int) -> None:
    with kept(mode) as one:
        assert one.process.wait(ENOUGH) == code
        assert f"QEMU ended with {code}" in one.said()
        assert STARTED in one.log


def test_a_qemu_that_is_killed_is_told_apart() -> None:
    with kept("honest") as one:
        one.listen("READY=1")
        os.kill(children(one.process.pid)[0], signal.SIGKILL)
        assert one.process.wait(ENOUGH) == 128 + 9


@pytest.mark.parametrize("mode", ["hangs", "stopped"])
def test_the_watchdog_starves_when_the_machine_does_not_run(mode: str) -> None:
    """So systemd ends it; the keeper itself goes on and ends when it is told to."""
    with kept(mode, grace=0.1) as one:
        one.listen("READY=1")
        time.sleep(1.2)  # four of systemd's periods
        assert one.told.count("WATCHDOG=1") == (1 if mode == "hangs" else 0)
        assert one.stop() == 0


def test_a_chatty_guest_fills_nothing_and_its_newest_words_stay() -> None:
    limit = 64 << 10
    with kept("chatty", limit=limit) as one:
        one.listen("READY=1")
        sizes = []
        for _ in range(40):
            sizes.append(len(one.log))
            time.sleep(0.02)
        assert one.stop() == 0
        last = one.log.splitlines()
    assert max(*sizes, len(one_log := b"\n".join(last))) <= limit
    assert len(one_log) >= limit // 4 - 400
    numbers = [int(line[1:13]) for line in last[1:-1]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] > 0


@pytest.mark.slow
def test_a_chatty_guest_is_slowed() -> None:
    with kept("chatty", limit=1 << 30) as one:
        one.listen("READY=1")
        begun, before = time.monotonic(), len(one.log)
        time.sleep(3)
        after, seconds = len(one.log), time.monotonic() - begun
    assert after > before
    assert after < BURST + RATE * (seconds + 5)


def test_a_systemd_that_does_not_listen_does_not_make_it_wait() -> None:
    with kept("deaf", watchdog=0.01, grace=0.1) as one:
        one.deaf = True
        time.sleep(1)
        assert one.stop() == 0


def test_a_full_disk_costs_words_and_no_machine() -> None:
    with kept("chatty", output=Path("/dev/full")) as one:
        one.listen("WATCHDOG=1", 3)
        assert one.process.poll() is None
        assert one.stop() == 0


def test_what_an_earlier_run_said_stays_until_there_is_no_room() -> None:
    with tempfile.TemporaryDirectory() as name:
        log = Path(name, "serial.log")
        log.write_bytes(b"earlier\n")
        with kept("reset", output=log) as one:
            one.process.wait(ENOUGH)
        assert log.read_bytes().startswith(b"earlier\n")
        assert STARTED in log.read_bytes()


TPM = """
import pathlib, socket, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "used").write_text((folder / "state").read_text())
server = socket.socket(socket.AF_UNIX)
server.bind(str(folder.with_suffix(".sock")))
time.sleep(600)
"""


def test_a_software_tpm_is_new_for_every_start_and_ends_with_the_machine(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/state").write_text("as it was made")
    with tempfile.TemporaryDirectory(prefix="pluto-") as name:
        used = Path(name, "tpm")
        used.mkdir()
        (used / "old").write_text("of an earlier boot")
        words = ("--tpm", str(tmp_path / "given"), str(used))
        with kept("honest", words=words, before=(sys.executable, "-c", TPM, str(used), "--")) as one:
            one.listen("READY=1")
            assert (used / "used").read_text() == "as it was made"
            assert not (used / "old").exists()
            running = children(one.process.pid)
            assert len(running) == 2
            assert one.stop() == 0
        assert not [pid for pid in running if Path(f"/proc/{pid}").exists()]
    assert list((tmp_path / "given").iterdir()) == [tmp_path / "given/state"]


def test_without_a_tpm_there_is_no_machine(tmp_path: Path) -> None:
    words = ("--tpm", str(tmp_path), str(tmp_path.parent / "tpm-used"))
    with kept("honest", words=words, before=(sys.executable, "-c", "0", "--")) as one:
        assert one.process.wait(ENOUGH) == 1
        assert "the software TPM does not start" in one.said()
        assert one.log == b""


@given(st.integers(16, 4096), st.lists(st.binary(max_size=600), max_size=30))
def test_a_log_is_the_end_of_what_was_said_and_never_too_long(limit: int, parts: list[bytes]) -> None:
    parts = [part[: limit // 4] for part in parts]
    with tempfile.TemporaryDirectory() as name, Path(name, "log").open("a+b") as file:  # as systemd opens it
        log = Log(file.fileno(), limit)
        for part in parts:
            log.write(part)
        file.seek(0)
        content = file.read()
    everything = b"".join(parts)
    assert len(content) <= limit
    assert everything.endswith(content)
    assert len(content) >= min(len(everything), limit // 4)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=50))
def test_a_bucket_gives_no_more_than_its_rate(waits: list[tuple[float, float]]) -> None:
    now, taken = 0.0, 0
    bucket = Bucket(now)
    for wait, part in waits:
        now += wait
        count = int(bucket.left(now) * part)
        bucket.level -= count
        taken += count
        assert taken <= BURST + RATE * now + 1


@given(st.binary())
def test_whatever_a_monitor_says_is_an_answer_or_an_end(data: bytes) -> None:
    ours, its = socket.socketpair()
    with ours:
        with its:
            its.sendall(data)
        with contextlib.suppress(OSError, ValueError, TypeError):
            assert all("return" in answer for answer in Monitor(ours).read())


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(keeper.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
