"""A reader of kmod's binary indexes that shares nothing with the writer."""

from __future__ import annotations


def contents(index: bytes) -> dict[str, list[tuple[int, str]]]:
    """Everything in an index: key to (priority, value), read from the root reference down."""
    assert index[:8] == bytes.fromhex("b007f45700020001")

    def number(at: int) -> int:
        return int.from_bytes(index[at : at + 4], "big")

    def text(at: int) -> tuple[str, int]:
        end = index.index(b"\0", at)
        return index[at:end].decode(), end + 1

    def walk(reference: int, key: str) -> dict[str, list[tuple[int, str]]]:
        found: dict[str, list[tuple[int, str]]] = {}
        at = reference & 0x0FFF_FFFF
        if reference & 0x8000_0000:
            prefix, at = text(at)
            key += prefix
        if reference & 0x2000_0000:
            first, last, at = index[at], index[at + 1], at + 2
            for code in range(first, last + 1):
                if number(at):
                    found |= walk(number(at), key + chr(code))
                at += 4
        if reference & 0x4000_0000:
            count, at = number(at), at + 4
            for _ in range(count):
                priority = number(at)
                value, at = text(at + 4)
                found.setdefault(key, []).append((priority, value))
        return found

    return walk(number(8), "")
