"""The door to a host: OpenSSH, as the operator has set it up. Host keys are always checked, passwords never asked for.

One master connection carries everything. Commands run through one shell word list that is quoted here, with `sudo -n`
where the login is not root.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_measure.errors import SourceError, UsageError

_CONNECT_SECONDS: Final = 15
_ALIVE_SECONDS: Final = 5  # between questions whether the other side is there; three without an answer end it
_POLL: Final = 0.02
LOST: Final = 255  # what ssh itself ends with
NO_SUDO: Final = "sudo: "


@dataclass(frozen=True, slots=True)
class Login:
    """How a host is reached. `known_hosts` None: OpenSSH's own files; `key` None: the operator's agent and defaults."""

    host: str
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    known_hosts: Path | None = None

    @classmethod
    def parse(cls, text: str, *, key: Path | None = None, known_hosts: Path | None = None) -> Self:
        """[USER@]HOST[:PORT]; an IPv6 address with a port stands in brackets. UsageError."""
        user, at, rest = text.rpartition("@")
        host, port = rest, None
        if rest.startswith("["):
            host, bracket, tail = rest[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                raise UsageError(f"{text!r} is not [USER@]HOST[:PORT]")
            port = tail[1:] or None
        elif rest.count(":") == 1:
            host, _, port = rest.partition(":")
        if not host or host.startswith("-") or (at and (not user or user.startswith("-"))):
            raise UsageError(f"{text!r} is not [USER@]HOST[:PORT]")
        if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise UsageError(f"port {port!r} does not exist")
        return cls(host, user or None, None if port is None else int(port), key, known_hosts)

    def options(self) -> list[str]:
        """OpenSSH's options: strict, never interactive."""
        words = [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            f"ConnectTimeout={_CONNECT_SECONDS}",
            f"ServerAliveInterval={_ALIVE_SECONDS}",
            "ServerAliveCountMax=3",
            "ForwardAgent=no",
            "ForwardX11=no",
        ]
        if self.known_hosts is not None:
            quoted = _literal(self.known_hosts.absolute()).replace("\\", "\\\\").replace('"', '\\"')
            words += [f'UserKnownHostsFile="{quoted}"', "GlobalKnownHostsFile=none"]
        options = [word for option in words for word in ("-o", option)]
        if self.key is not None:
            options += ["-o", "IdentitiesOnly=yes", "-i", _literal(self.key.absolute())]
        if self.port is not None:
            options += ["-p", str(self.port)]
        if self.user is not None:
            options += ["-l", self.user]
        return options

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user + '@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on the host said."""

    code: int
    output: bytes
    errors: str


@dataclass(slots=True)
class Connection:
    """An open master connection. Use `opened`."""

    login: Login
    folder: Path  # of the sockets; this user's alone
    sudo: bool = False
    _forwards: int = 0

    def argv(self, *words: str) -> list[str]:
        """ssh with the master's socket, and `words` before the host's name."""
        return ["ssh", "-S", str(self.folder / "master"), *self.login.options(), *words, "--", self.login.host]

    def through(self) -> list[str]:
        """ssh through the master connection and no other: where it was lost, so was the lock that it holds."""
        return self.argv("-o", "ControlMaster=no", "-o", "ProxyCommand=false")

    def command(self, argv: Sequence[str], *, root: bool = True) -> str:
        """The one string that the host's shell gets."""
        return shlex.join([*(("sudo", "-n", "--") if root and self.sudo else ()), *argv])

    def run(self, argv: Sequence[str], *, data: bytes = b"", root: bool = True, timeout: float = 120.0) -> Answer:
        """Run `argv` on the host. SourceError where the connection is lost or time runs out, not for its exit code."""
        try:
            done = subprocess.run(
                [*self.through(), self.command(argv, root=root)], input=data, capture_output=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"{self.login}: {argv[0]} did not end within {timeout:.0f} s") from error
        errors = _said(done.stderr)
        if done.returncode == LOST:
            raise SourceError(f"{self.login}: {_reason(errors)}")
        refused = [line for line in errors.splitlines() if line.startswith(NO_SUDO)]
        if root and self.sudo and done.returncode == 1 and refused:
            raise UsageError(f"{self.login} may not become root without a password: {refused[0]}")
        return Answer(done.returncode, done.stdout, errors)

    def check(self, argv: Sequence[str], *, data: bytes = b"", timeout: float = 120.0) -> bytes:
        """Like `run`, as root; SourceError for an exit code that is not 0. Returns what it wrote."""
        answer = self.run(argv, data=data, timeout=timeout)
        if answer.code:
            said = answer.errors.splitlines()[-1] if answer.errors else f"exit code {answer.code}"
            raise SourceError(f"{self.login}: {shlex.join(argv)[:200]}: {said}")
        return answer.output

    def send(self, argv: Sequence[str], pieces: Iterable[bytes]) -> Answer:
        """Run `argv` as root with `pieces` as its input, one at a time: memory stays that of one piece. SourceError."""
        with subprocess.Popen(
            [*self.through(), self.command(argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # what ended it is in its words and code
                for piece in pieces:
                    process.stdin.write(piece)
            output, errors = process.communicate()
        text = _said(errors)
        if process.returncode == LOST:
            raise SourceError(f"{self.login}: {_reason(text)}")
        return Answer(process.returncode, output, text)

    @contextlib.contextmanager
    def forward(self, address: str, port: int) -> Iterator[Path]:
        """A local socket (its path) that leads to `address`:`port` as seen from the host. SourceError."""
        self._forwards += 1
        path = self.folder / f"forward{self._forwards}"
        spec = f"{path}:{f'[{address}]' if ':' in address else address}:{port}"
        done = subprocess.run(self.argv("-O", "forward", "-L", spec), capture_output=True)
        if done.returncode:
            raise SourceError(f"{self.login}: cannot forward to {address}:{port}: {_words(done.stderr)}")
        try:
            yield path
        finally:
            subprocess.run(self.argv("-O", "cancel", "-L", spec), capture_output=True)
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self, lock: str) -> Iterator[None]:
        """Hold the lock file `lock` of the host while the block runs; it is free again if we die or are cut off.

        UsageError if somebody else holds it.
        """
        script = 'mkdir -p "$1" && exec flock -n -E 75 "$2" sh -c "echo held; exec cat"'
        argv = ["sh", "-c", script, "sh", str(Path(lock).parent), lock]
        with subprocess.Popen(
            [*self.through(), self.command(argv)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us: what was begun is undone under this lock
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                if process.stdout.readline() != b"held\n":
                    _, errors = process.communicate()
                    if process.returncode == 75:
                        raise UsageError(f"{self.login}: another command is at work on this deployment")
                    raise SourceError(f"{self.login}: no lock: {_words(errors)}")
                yield
            finally:
                if not process.stdin.closed:
                    process.stdin.close()
                process.wait()


@contextlib.contextmanager
def opened(login: Login) -> Iterator[Connection]:
    """Connect, and find out whether sudo is needed. SourceError with OpenSSH's reason; UsageError without ssh."""
    for path in (login.key, login.known_hosts):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}: there is no such file")
    with tempfile.TemporaryDirectory(prefix="pluto-", dir=_runtime()) as name:
        connection = Connection(login, Path(name))
        master = _master(connection)
        try:
            connection.sudo = connection.run(["id", "-u"], root=False).output.strip() != b"0"
            yield connection
        finally:
            subprocess.run(connection.argv("-O", "exit"), capture_output=True)
            master.terminate()
            with master:  # closes its input
                pass


def _master(connection: Connection) -> subprocess.Popen[bytes]:
    """The connection that all others go through. It ends with us, however we end: `cat` waits for our end of a pipe."""
    log = connection.folder / "log"
    argv = [*connection.argv("-M", "-o", "ControlPersist=no", "-E", str(log)), "exec cat"]
    try:
        master = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for us, who may have something to undo on the host
        )
    except FileNotFoundError as error:
        raise UsageError("there is no ssh on this computer", hint="install OpenSSH's client") from error
    limit = time.monotonic() + 2 * _CONNECT_SECONDS
    while not (connection.folder / "master").exists():
        if master.poll() is not None or time.monotonic() > limit:
            with master:
                master.kill()
            raise SourceError(f"{connection.login}: {_reason(log.read_text(errors='replace') if log.exists() else '')}")
        time.sleep(_POLL)
    return master


def _runtime() -> str | None:
    """A short path: a socket's name has about 100 bytes, and OpenSSH adds some while it makes one."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder if folder and len(folder) < 40 and os.access(folder, os.W_OK) else None


def _literal(path: Path) -> str:
    """A path for OpenSSH, which takes what follows a "%" for a token (ssh_config(5), TOKENS)."""
    return str(path).replace("%", "%%")


def _said(errors: bytes) -> str:
    """What the command said, without sshd's own complaint of a user that has no home."""
    lines = errors.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith("Could not chdir to home directory")).strip()


def _words(errors: bytes) -> str:
    text = errors.decode(errors="replace").strip()
    return text.splitlines()[-1] if text else "it did not say why"


def _reason(errors: str) -> str:
    """Why a connection failed, in one sentence, of the many lines that ssh has for a changed host key."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if any("IDENTIFICATION HAS CHANGED" in line for line in lines):
        return "the host's key is not the one that is known for it"
    if any("No" in line and "host key is known" in line for line in lines):
        return "no key of this host is known, so it is not connected to"
    return lines[-1] if lines else "the connection was lost"
