"""The door to a host: OpenSSH, as the operator has set it up. Host keys are always checked, passwords never asked for.

One master connection carries everything. Commands run through one shell word list that is quoted here, with `sudo -n`
where the login is not root.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pluto_deploy.metal.exchange import ERRORS, Bounds, Said, TooMuchError, TooSlowError, exchange
from pluto_deploy.metal.login import CONNECT_SECONDS, Login
from pluto_measure.errors import SourceError, UsageError

_POLL: Final = 0.02
_END_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 120.0  # while something is sent
_LOCK_SECONDS: Final = 30.0
_HELD: Final = b"held\n"
_TAKEN: Final = 75
ANSWER: Final = 16 << 20  # bytes that a command may say, unless it is asked for more
LOST: Final = 255  # what ssh itself ends with
NO_SUDO: Final = "sudo: "


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

    def run(
        self, argv: Sequence[str], *, data: bytes = b"", root: bool = True, timeout: float = 120.0, most: int = ANSWER
    ) -> Answer:
        """Run `argv` on the host; it may say `most` bytes within `timeout` seconds.

        SourceError where the connection is lost, time runs out or more is said, not for its exit code.
        """
        answer = self._exchange(argv, [data], Bounds(most, timeout, timeout), root=root)
        refused = [line for line in answer.errors.splitlines() if line.startswith(NO_SUDO)]
        if root and self.sudo and answer.code == 1 and refused:
            raise UsageError(f"{self.login} may not become root without a password: {refused[0]}")
        return answer

    def _exchange(self, argv: Sequence[str], pieces: Iterable[bytes], bounds: Bounds, *, root: bool) -> Answer:
        try:
            said = exchange([*self.through(), self.command(argv, root=root)], pieces, bounds)
        except TooSlowError as error:
            slow = (
                f"did not end within {bounds.total:.0f} s" if bounds.total else f"says nothing for {bounds.idle:.0f} s"
            )
            raise SourceError(f"{self.login}: {argv[0]} {slow}") from error
        except TooMuchError as error:
            raise SourceError(f"{self.login}: {argv[0]} says more than {bounds.output >> 10} KiB") from error
        errors = _said(said.errors)
        if said.code == LOST:
            raise SourceError(f"{self.login}: {_reason(errors)}")
        return Answer(said.code, said.output, errors)

    def check(self, argv: Sequence[str], *, data: bytes = b"", timeout: float = 120.0, most: int = ANSWER) -> bytes:
        """Like `run`, as root; SourceError for an exit code that is not 0. Returns what it wrote."""
        answer = self.run(argv, data=data, timeout=timeout, most=most)
        if answer.code:
            said = answer.errors.splitlines()[-1] if answer.errors else f"exit code {answer.code}"
            raise SourceError(f"{self.login}: {shlex.join(argv)[:200]}: {said}")
        return answer.output

    def send(self, argv: Sequence[str], pieces: Iterable[bytes]) -> Answer:
        """Run `argv` as root with `pieces` as its input, one at a time: memory stays that of one piece. SourceError."""
        return self._exchange(argv, pieces, Bounds(ANSWER, None, _IDLE_SECONDS), root=True)

    @contextlib.contextmanager
    def forward(self, address: str, port: int) -> Iterator[Path]:
        """A local socket (its path) that leads to `address`:`port` as seen from the host. SourceError."""
        self._forwards += 1
        path = self.folder / f"forward{self._forwards}"
        spec = f"{path}:{f'[{address}]' if ':' in address else address}:{port}"
        said = self.ask("forward", "-L", spec)
        if said.code:
            raise SourceError(f"{self.login}: cannot forward to {address}:{port}: {_words(said.errors)}")
        try:
            yield path
        finally:
            self.ask("cancel", "-L", spec)
            path.unlink(missing_ok=True)

    def ask(self, *words: str) -> Said:
        """Ask our own master connection for something; one that does not answer is as one that is gone."""
        try:
            return exchange(self.argv("-O", *words), [], Bounds(ANSWER, _LOCK_SECONDS, _LOCK_SECONDS))
        except TooSlowError:
            return Said(LOST, b"", b"the connection does not answer")

    @contextlib.contextmanager
    def held(self, lock: str, *, wait: int = 0) -> Iterator[None]:
        """Hold the lock file `lock` of the host while the block runs; it is free again if we die or are cut off.

        UsageError if somebody else holds it, and still does after `wait` seconds.
        """
        script = 'install -d -m 0700 "$1" && exec flock -w "$3" -E 75 "$2" sh -c "echo held; exec cat"'
        argv = ["sh", "-c", script, "sh", str(Path(lock).parent), lock, str(wait)]
        with subprocess.Popen(
            [*self.through(), self.command(argv)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us: what was begun is undone under this lock
        ) as process:
            assert process.stdin is not None
            try:
                self._wait_held(process, wait + _LOCK_SECONDS)
                yield
            finally:
                process.stdin.close()
                _ended(process)

    def _wait_held(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            process.kill()
            raise SourceError(f"{self.login}: no lock within {seconds:.0f} s")
        if os.read(process.stdout.fileno(), len(_HELD)) == _HELD:
            return
        if _ended(process) == _TAKEN:
            raise UsageError(f"{self.login}: another command is at work on this deployment")
        raise SourceError(f"{self.login}: no lock: {_words(os.read(process.stderr.fileno(), ERRORS))}")


@contextlib.contextmanager
def opened(login: Login) -> Iterator[Connection]:
    """Connect, and find out whether sudo is needed. SourceError with OpenSSH's reason; UsageError without ssh."""
    for path in (login.key, login.known_hosts):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        if path is not None and "${" in str(path.absolute()):
            raise UsageError(f"{path}: OpenSSH takes what follows ${{ for a variable; give the file another name")
    with tempfile.TemporaryDirectory(prefix="pluto-", dir=_runtime()) as name:
        connection = Connection(login, Path(name))
        master = _master(connection)
        try:
            connection.sudo = connection.run(["id", "-u"], root=False).output.strip() != b"0"
            yield connection
        finally:
            connection.ask("exit")
            master.terminate()
            with master:  # closes its input
                _ended(master)


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
    limit = time.monotonic() + 2 * CONNECT_SECONDS
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


def _said(errors: bytes) -> str:
    """What the command said, without sshd's own complaint of a user that has no home."""
    lines = errors.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith("Could not chdir to home directory")).strip()


def _words(errors: bytes) -> str:
    text = errors.decode(errors="replace").strip()
    return text.splitlines()[-1] if text else "it did not say why"


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of what has nothing left to do; what does not see that is killed."""
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _reason(errors: str) -> str:
    """Why a connection failed, in one sentence, of the many lines that ssh has for it."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if any("IDENTIFICATION HAS CHANGED" in line for line in lines):
        known = next((line.partition(" key in ")[2] for line in lines if line.startswith("Offending")), "")
        return "the host's key is not the one that is known for it" + (f" ({known})" if known else "")
    if any("No" in line and "host key is known" in line for line in lines):
        return "no key of this host is known, so it is not connected to"
    key = next((line for line in lines if line.startswith("Load key ")), None)
    last = lines[-1] if lines else "the connection was lost"
    return last if key is None or key == last else f"{last} ({key})"
