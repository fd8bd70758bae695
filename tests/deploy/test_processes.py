from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from pluto_deploy.local import processes
from pluto_deploy.local.processes import Process
from pluto_measure.errors import FormatError, SourceError


def start(code: str, tmp_path: Path, inherit: tuple[int, ...] = ()) -> Process:
    argv = [sys.executable, "-c", code]
    return processes.start(argv, environment=dict(os.environ), output=tmp_path / "out", inherit=inherit)


def wait(process: Process) -> None:
    limit = time.monotonic() + 10
    while processes.alive(process):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_process_is_alive_until_it_ends_and_leaves_no_zombie(tmp_path: Path) -> None:
    process = start("input()", tmp_path)  # its standard input is empty, so it ends with an error
    wait(process)
    assert not Path(f"/proc/{process.pid}").exists()
    assert "EOFError" in (tmp_path / "out").read_text()


def test_another_process_with_the_same_id_is_not_taken_for_it() -> None:
    me = Process.of(os.getpid())
    assert processes.alive(me)
    assert not processes.alive(Process(me.pid, me.started + 1))
    processes.end(Process(me.pid, me.started + 1))


def test_a_port_is_told_to_be_the_process_that_listens_on_it() -> None:
    me, parent = Process.of(os.getpid()), Process.of(os.getppid())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert processes.listens(me, port)
        assert not processes.listens(parent, port)
        assert not processes.listens(Process(me.pid, me.started + 1), port)
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert not processes.listens(me, client.getsockname()[1]), "that end of a connection listens to nobody"
    assert not processes.listens(me, port)


def test_a_process_gets_its_own_session_and_only_the_descriptors_it_shall_have(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = "import os; print(os.getsid(0) == os.getpid(), sorted(map(int, os.listdir('/proc/self/fd')))[3:])"
    with os.fdopen(reading), os.fdopen(writing):
        os.set_inheritable(reading, True)  # as somebody who started us could have left it
        wait(start(code, tmp_path, (writing,)))
    # Descriptor 3 is that of the listing itself.
    assert (tmp_path / "out").read_text() == f"True [3, {writing}]\n"


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"import signal, time; {ignore}; print('ready', flush=True); time.sleep(60)"
    process = start(code, tmp_path)
    limit = time.monotonic() + 10
    while not (tmp_path / "out").read_text():
        assert time.monotonic() < limit
    processes.end(process, grace=0.1)
    assert not processes.alive(process)


def test_ending_what_has_ended_does_nothing(tmp_path: Path) -> None:
    process = start("pass", tmp_path)
    wait(process)
    processes.end(process)


def test_a_process_cannot_fill_the_disk(tmp_path: Path) -> None:
    code = "import time; f = open('/dev/stdout', 'wb'); f.seek(1 << 30); time.sleep(1); f.write(b'x'); f.flush()"
    wait(start(code, tmp_path))
    assert (tmp_path / "out").stat().st_size < 1 << 29


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot start nothing"):
        processes.start([str(tmp_path / "nothing")], environment={}, output=tmp_path / "out", inherit=())


def test_an_id_that_nobody_has_is_an_error(tmp_path: Path) -> None:
    process = start("pass", tmp_path)
    wait(process)
    with pytest.raises(SourceError, match="is gone"):
        Process.of(process.pid)


def test_a_program_that_ends_at_once_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a zombie before anything is asked about it: seen on a busy machine."""

    def limited(pid: int, *_: object) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(resource, "prlimit", limited)
    process = start("pass", tmp_path)
    assert not processes.alive(process)
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_process_survives_a_record() -> None:
    me = Process.of(os.getpid())
    assert Process.from_json(me.to_json()) == me
    with pytest.raises(FormatError):
        Process.from_json({"pid": 1})


def test_a_stopped_process_still_counts_as_alive(tmp_path: Path) -> None:
    process = start("import time; time.sleep(60)", tmp_path)
    os.kill(process.pid, signal.SIGSTOP)
    assert processes.alive(process)
    processes.end(process, grace=0.1)
