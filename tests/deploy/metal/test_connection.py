"""The door to a host, against OpenSSH's own server."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pluto_deploy.metal.connection import Connection, opened
from pluto_deploy.metal.login import Login
from pluto_measure.errors import SourceError, UsageError
from simulators.ssh_server import SshServer


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("host", Login("host")),
        ("me@host:2222", Login("host", "me", 2222)),
        ("me@[2001:db8::1]:22", Login("2001:db8::1", "me", 22)),
        ("2001:db8::1", Login("2001:db8::1")),
        ("[2001:db8::1]", Login("2001:db8::1")),
    ],
)
def test_a_login_is_read_as_it_is_written(text: str, login: Login) -> None:
    assert Login.parse(text) == login
    assert Login.parse(str(login)) == login


@pytest.mark.parametrize("text", ["", "@host", "-oProxyCommand=x", "me@-host", "-me@host", "host:0", "host:x", "[::1"])
def test_what_is_no_login_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Login.parse(text)


def test_words_reach_the_host_as_they_are(connection: Connection) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "it's", "`id`", 'q"q', "new\nline", "*"]
    assert connection.check(words) == b"a b|$HOME|it's|`id`|q\"q|new\nline|*|"


def test_input_output_and_exit_code_come_through(connection: Connection) -> None:
    answer = connection.run(["sh", "-c", "cat; echo no >&2; exit 3"], data=b"\0\xff" * 1000)
    assert (answer.code, answer.output) == (3, b"\0\xff" * 1000)
    assert answer.errors.splitlines()[-1] == "no"  # OpenSSH may complain of a user without a home before it
    with pytest.raises(SourceError, match=r"sh -c 'exit 4': exit code 4"):
        connection.check(["sh", "-c", "exit 4"])


def test_a_command_that_takes_too_long_is_an_error(connection: Connection) -> None:
    with pytest.raises(SourceError, match="did not end within 0 s"):
        connection.run(["sleep", "5"], timeout=0.3)


def test_a_host_with_another_key_is_not_connected_to(server: SshServer, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    public = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}\n")
    login = replace(server.login, known_hosts=tmp_path / "known_hosts")
    with pytest.raises(SourceError, match="the host's key is not the one that is known for it"), opened(login):
        raise AssertionError("connected")


def test_a_host_of_which_no_key_is_known_is_not_connected_to(server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    login = replace(server.login, known_hosts=tmp_path / "known_hosts")
    with pytest.raises(SourceError, match="no key of this host is known"), opened(login):
        raise AssertionError("connected")


def test_a_user_without_a_key_there_is_refused(server: SshServer, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    login = replace(server.login, key=tmp_path / "other")
    with pytest.raises(SourceError, match="Permission denied"), opened(login):
        raise AssertionError("connected")


def test_a_lock_keeps_another_out_and_is_free_after_it(
    connection: Connection, server: SshServer, tmp_path: Path
) -> None:
    lock = str(tmp_path / "locks" / "one")
    with connection.held(lock), opened(server.login) as other:
        other.sudo = False
        with pytest.raises(UsageError, match="another command is at work"), other.held(lock):
            raise AssertionError("held twice")
    with connection.held(lock):
        pass


def test_a_lock_goes_with_its_holder(connection: Connection, server: SshServer, tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom pluto_deploy.metal.connection import opened\n"
        "from pluto_deploy.metal.login import Login\n"
        "host, user, port, key, known, lock = sys.argv[1:]\n"
        "with opened(Login(host, user, int(port), Path(key), Path(known))) as connection:\n"
        "    connection.sudo = False\n"
        "    with connection.held(lock):\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    login = server.login
    words = [login.host, login.user, login.port, login.key, login.known_hosts, lock]
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)])
    assert done.returncode == -9
    limit = time.monotonic() + 10
    while True:
        try:
            with connection.held(lock):
                return
        except UsageError:
            assert time.monotonic() < limit, "the lock outlives its holder"
            time.sleep(0.1)


def test_a_forwarded_socket_leads_to_what_the_host_sees(connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: _greet(listener))
        thread.start()
        with connection.forward("127.0.0.1", listener.getsockname()[1]) as path, socket.socket(socket.AF_UNIX) as end:
            end.connect(str(path))
            assert end.recv(10) == b"hello"
        thread.join()
        assert not path.exists()


def _greet(listener: socket.socket) -> None:
    end, _ = listener.accept()
    with end:
        end.sendall(b"hello")


def test_what_comes_after_a_lost_connection_goes_over_no_new_one(server: SshServer, tmp_path: Path) -> None:
    """The lock went with the connection: whoever goes on would do so beside another command."""
    with opened(server.login) as connection:
        connection.sudo = False
        with connection.held(str(tmp_path / "lock")):
            server.cut()
            time.sleep(0.5)
            with pytest.raises(SourceError):
                connection.run(["touch", str(tmp_path / "file")])
    assert not (tmp_path / "file").exists()


def test_a_lost_connection_is_an_error_of_somebody_else(server: SshServer) -> None:
    with opened(server.login) as connection:
        connection.sudo = False
        threading.Timer(0.5, server.cut).start()
        with pytest.raises(SourceError):
            connection.run(["sleep", "10"], timeout=20)


def test_what_a_host_says_is_bounded(connection: Connection) -> None:
    assert len(connection.check(["head", "-c", "100000", "/dev/zero"], most=100_000)) == 100_000
    with pytest.raises(SourceError, match="head says more than 97 KiB"):
        connection.check(["head", "-c", "100001", "/dev/zero"], most=100_000)
    with pytest.raises(SourceError, match="cat says more than 16384 KiB"):
        connection.run(["cat", "/dev/zero"])
    loud = connection.run(["sh", "-c", "head -c 3000000 /dev/zero >&2; echo out"])
    assert loud.output == b"out\n"
    assert (1 << 20) - 1000 < len(loud.errors) <= 1 << 20  # less where sshd complains of a user without a home
    with pytest.raises(SourceError, match="cat says more than 16384 KiB"):  # while it is given something
        connection.send(["cat"], (bytes(1 << 20) for _ in range(20)))


def test_what_is_sent_may_fail_on_this_side(connection: Connection) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        connection.send(["cat"], pieces())
    assert connection.check(["echo", "still here"]) == b"still here\n"


def test_a_host_that_takes_nothing_and_says_nothing_is_given_up(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pluto_deploy.metal.connection._IDLE_SECONDS", 0.5)
    with pytest.raises(SourceError, match="sleep says nothing for 0 s"):
        connection.send(["sleep", "20"], (bytes(1 << 20) for _ in range(100)))
    monkeypatch.setattr("pluto_deploy.metal.connection._LOCK_SECONDS", 0.5)
    monkeypatch.setattr(Connection, "command", lambda self, argv: "exec sleep 20")
    with pytest.raises(SourceError, match="no lock within 0 s"), connection.held("/none/lock"):
        pytest.fail("nobody held it")


def test_a_path_that_openssh_would_take_for_a_variable_is_refused(server: SshServer, tmp_path: Path) -> None:
    key = tmp_path / "${HOME}"
    key.write_bytes(b"")
    with pytest.raises(UsageError, match="takes what follows"), opened(replace(server.login, key=key)):
        pytest.fail("it was connected to")


def test_a_key_that_everybody_reads_is_named(server: SshServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes((server.folder / "key").read_bytes())
    key.chmod(0o644)
    with (
        pytest.raises(SourceError, match=r"Permission denied.*Load key.*bad permissions"),
        opened(replace(server.login, key=key)),
    ):
        pytest.fail("it was connected to")
