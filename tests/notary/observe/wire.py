"""Bytes of TLS put together for tests: vectors, extensions, messages, records. Knows nothing of the code under test."""

from __future__ import annotations

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLOSE_NOTIFY = b"\1\0"


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def vec(size: int, content: bytes) -> bytes:
    """`content` with its length in `size` bytes before it."""
    return len(content).to_bytes(size, "big") + content


def u16s(*values: int, size: int = 2) -> bytes:
    """A vector of 16-bit numbers."""
    return vec(size, b"".join(map(u16, values)))


def extension(kind: int, content: bytes) -> bytes:
    return u16(kind) + vec(2, content)


def extensions(found: dict[int, bytes]) -> bytes:
    return vec(2, b"".join(extension(kind, content) for kind, content in found.items()))


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vec(3, body)


def record(kind: int, body: bytes, version: bytes = b"\3\3") -> bytes:
    return bytes([kind]) + version + vec(2, body)


def server_name(host: str) -> bytes:
    return vec(2, b"\0" + vec(2, host.encode()))


def protocols(*names: bytes) -> bytes:
    return vec(2, b"".join(vec(1, name) for name in names))


def hello(kind: int, random: bytes, session: bytes, choice: bytes, extra: bytes) -> bytes:
    """A ClientHello or ServerHello; `choice` is all that stands between session_id and extensions."""
    return message(kind, b"\3\3" + random + vec(1, session) + choice + extra)


def split(data: bytes) -> list[bytes]:
    """The records of a direction, heads included."""
    found, at = [], 0
    while at < len(data):
        end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
        found.append(data[at:end])
        at = end
    return found
