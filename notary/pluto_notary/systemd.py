"""What systemd hands a service: named file descriptors, the notification socket, the image's os-release. Thin IO."""

from __future__ import annotations

import socket

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import unhex

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_FIRST_FD: Final = 3  # sd_listen_fds(3)
OS_RELEASE: Final = "/usr/lib/os-release"


def handed_descriptors(environment: Mapping[str, str], pid: int) -> dict[str, int]:
    """Names and numbers of the descriptors that were handed to process `pid`, the first of each name."""
    found: dict[str, int] = {}
    for number, name in enumerate(_names(environment, pid), _FIRST_FD):
        found.setdefault(name, number)
    return found


def descriptors_named(environment: Mapping[str, str], pid: int, name: str) -> tuple[int, ...]:
    """All numbers of that name, in the order of the unit: a socket unit with two addresses hands over two."""
    return tuple(number for number, known in enumerate(_names(environment, pid), _FIRST_FD) if known == name)


def _names(environment: Mapping[str, str], pid: int) -> list[str]:
    """The names, in the order of the numbers; see sd_listen_fds_with_names(3)."""
    if environment.get("LISTEN_PID") != str(pid):
        return []
    try:
        count = int(environment.get("LISTEN_FDS", "0"))
    except ValueError as error:
        raise FormatError("LISTEN_FDS", "not a number") from error
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    if not 0 <= count <= 16 or (count and len(names) != count):
        raise FormatError("LISTEN_FDNAMES", f"{len(names)} names for {count} descriptors")
    return names[:count]


def notify(environment: Mapping[str, str], message: str) -> None:
    """Tell the service manager, for example "READY=1". Nothing happens without a manager. See sd_notify(3)."""
    if not (address := environment.get("NOTIFY_SOCKET")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(message.encode())


def build_id(os_release: str) -> str:
    """BUILD_ID of os-release(5): SHA-256 in hex. FormatError if it is not there."""
    for line in os_release.splitlines():
        name, _, value = line.partition("=")
        if name == "BUILD_ID":
            return unhex(value.strip("\"'"), 32, what="os-release.BUILD_ID").hex()
    raise FormatError("os-release", "BUILD_ID is missing")
