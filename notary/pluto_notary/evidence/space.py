"""A container of Confidential Space in two processes: one that may ask the launcher, and the notary that may not.

    root, process 1 --fork--> the notary: its own user, no group, no privilege; whatever the network sends ends there
         |                        |
         |  <-- typed claims -----+    an abstract socket with a random name; only that user's process is answered
         +--> the launcher's socket, which admits root alone

No service manager starts a helper in a container, and the launcher gives its socket to root. So process 1 stays what it
is and imports nothing of the server; when either process ends, the container ends, and the launcher's restart policy
decides. Started as another user than root there is nothing to give up: the notary runs, and evidence is `device`.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time

from pluto_notary.evidence.confidential_space import SOCKET, TokenSources, launcher
from pluto_notary.evidence.helper import Helper
from pluto_notary.evidence.serving import serve
from pluto_notary.limits import TokenBucket

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

# SHA-256 of nothing: a container has no run-time configuration.
EMPTY_DIGEST: Final = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
_RATE, _BURST = 1.0, 6  # tokens a second, and at once: a fifth of what a whole project may ask
_BACKLOG: Final = 16
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: process, user, group


def run(notary: Callable[[str], int], *, user: int, group: int, launcher_socket: str = SOCKET) -> int:
    """Both processes, until one ends; the notary's exit code. `notary` is called with the helper's address.

    OSError if the split cannot be made.
    """
    # Process 1 of a container is not ended by a signal that nobody handles yet: it would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    address = "\0pluto-evidence-" + os.urandom(16).hex()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(_BACKLOG)
        if (child := os.fork()) == 0:
            listener.close()
            _be_the_notary(notary, address, user, group)
        return _be_the_helper(listener, child, launcher_socket, user if os.getuid() == 0 else os.getuid())


def give_up(user: int, group: int) -> None:
    """Become `user` for good: no supplementary group, no saved identity, and so no capability. OSError."""
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if os.getresuid() != (user,) * 3 or os.getresgid() != (group,) * 3 or os.getgroups():
        raise OSError("privileges were not given up")


def admitted(connection: socket.socket, user: int) -> bool:
    """Whether a process of `user` is at the other end."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(data)[1] == user)


def _be_the_notary(notary: Callable[[str], int], address: str, user: int, group: int) -> None:
    code = 1
    try:
        if os.getuid() == 0:
            give_up(user, group)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        code = notary(address)
    except BaseException as error:  # noqa: BLE001  nothing of this process may run into what process 1 does next
        sys.stderr.write(f"pluto-notary: error: {type(error).__name__}\n")
    finally:
        os._exit(code)


def _be_the_helper(listener: socket.socket, child: int, launcher_socket: str, user: int) -> int:
    tokens = launcher(launcher_socket)
    bucket = TokenBucket(rate=_RATE, burst=_BURST, now=time.monotonic())
    sources = TokenSources(tokens.token, lambda: EMPTY_DIGEST)
    helper = Helper(sources, bucket=bucket, clock=time.monotonic, legacy=tokens.legacy)

    def ended(*_: object) -> None:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            code = os.waitstatus_to_exitcode(status)
            raise SystemExit(code if code >= 0 else 128 - code)

    signal.signal(signal.SIGCHLD, ended)
    for number in _ENDING:
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        ended()  # it may have been faster than the handler
        serve(listener, helper, admit=lambda connection: admitted(connection, user))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.kill(child, signal.SIGTERM)  # the listening socket failed: nobody would ever answer again
    return 1
