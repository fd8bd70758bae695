"""How a host is reached: [USER@]HOST[:PORT], a key, the known host keys; and OpenSSH's options for it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pluto_measure.errors import UsageError

CONNECT_SECONDS: Final = 15
_ALIVE_SECONDS: Final = 5  # between questions whether the other side is there; three without an answer end it
# What ssh and the shells behind it could take for something else has no place in a name.
_HOST: Final = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:%-]*")
_USER: Final = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+@-]*")


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
        if not _HOST.fullmatch(host) or (at and not _USER.fullmatch(user)):
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
            f"ConnectTimeout={CONNECT_SECONDS}",
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


def _literal(path: Path) -> str:
    """A path for OpenSSH, which takes what follows a "%" for a token (ssh_config(5), TOKENS)."""
    return str(path).replace("%", "%%")
