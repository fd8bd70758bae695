"""The ssh_config(5) by which testinfra reaches a host: options as `Login` has them, and the open connection. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pluto_deploy.metal.login import Login
from pluto_measure.errors import UsageError

ALIAS: Final = "target"
_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:%@+-]*")


def render(login: Login, master: Path) -> str:
    """The file. `master`: the socket of the open connection, which carries everything. UsageError."""
    lines = [
        f"Host {ALIAS}",
        f"HostName {_word(login.host)}",
        "BatchMode yes",
        "StrictHostKeyChecking yes",
        "UpdateHostKeys no",
        "ForwardAgent no",
        "ForwardX11 no",
        "ConnectTimeout 15",
        "ServerAliveInterval 5",
        "ServerAliveCountMax 3",
        "ControlMaster no",
        f"ControlPath {_quoted(master)}",
    ]
    if login.user is not None:
        lines.append(f"User {_word(login.user)}")
    if login.port is not None:
        lines.append(f"Port {login.port}")
    if login.key is not None:
        lines += [f"IdentityFile {_quoted(login.key.absolute())}", "IdentitiesOnly yes"]
    if login.known_hosts is not None:
        lines += [f"UserKnownHostsFile {_quoted(login.known_hosts.absolute())}", "GlobalKnownHostsFile none"]
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """A name that the file can hold. OpenSSH reads % as the begin of a token."""
    if not _WORD.fullmatch(text):
        raise UsageError(f"{text!r} is no name of a host or a user")
    return text.replace("%", "%%")


def _quoted(path: Path) -> str:
    text = str(path)
    if not text.isprintable():
        raise UsageError(f"{text!r} is no name of a file that OpenSSH could be told")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'
