"""Calls of contracts as bytes: Solidity's ABI, for the types that our contracts take. Pure.

Contract ABI Specification, "Formal Specification of the Encoding":

    call   = keccak256(name ‖ "(" ‖ types ‖ ")"), its first 4 bytes ‖ encoding of the arguments as one tuple
    tuple  = heads ‖ tails: a static member stands in the heads, a dynamic one in the tails and its offset in the heads
    T[]    = number of items ‖ the items as one tuple
    bytes  = number of bytes ‖ the bytes, filled with zeros to 32      string = its UTF-8 as bytes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pluto_notary.statement.keccak import keccak256

_WORD: Final = 32
_SELECTOR: Final = 4
_ADDRESS: Final = 20


def call(signature: str, *values: Any) -> bytes:
    """The data of a call of `signature`, such as `revokeKey(address,(bytes32,bytes32,uint8)[])`. ValueError.

    Numbers are int, addresses and bytes32 are bytes, tuples and arrays are sequences.
    """
    _, _, types = signature.partition("(")
    return keccak256(signature.encode())[:_SELECTOR] + encode(f"({types}", values)


def encode(kind: str, value: Any) -> bytes:
    """One value of one type. ValueError for what does not fit it."""
    if kind.endswith("[]"):
        return _word(len(value)) + _tuple([kind[:-2]] * len(value), value)
    if kind.startswith("("):
        return _tuple([*members(kind)], value)
    if kind in ("bytes", "string"):
        data = value.encode() if kind == "string" else bytes(value)
        return _word(len(data)) + data + bytes(-len(data) % _WORD)
    return _static(kind, value)


def members(kind: str) -> Iterator[str]:
    """The types of a tuple's members."""
    depth, start = 0, 1
    for place, letter in enumerate(kind):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if (letter == "," and depth == 1) or depth == 0:
            if place > start:
                yield kind[start:place]
            start = place + 1


def _tuple(kinds: Sequence[str], values: Sequence[Any]) -> bytes:
    if len(kinds) != len(values):
        raise ValueError(f"{len(values)} values are not of {len(kinds)} types")
    parts = [(_is_dynamic(kind), encode(kind, value)) for kind, value in zip(kinds, values, strict=True)]
    offset = sum(_WORD if dynamic else len(data) for dynamic, data in parts)
    heads, tails = b"", b""
    for dynamic, data in parts:
        heads += _word(offset + len(tails)) if dynamic else data
        tails += data if dynamic else b""
    return heads + tails


def _is_dynamic(kind: str) -> bool:
    if kind.endswith("[]") or kind in ("bytes", "string"):
        return True
    return kind.startswith("(") and any(_is_dynamic(one) for one in members(kind))


def _static(kind: str, value: Any) -> bytes:
    if kind.startswith("uint"):
        if not 0 <= value < 1 << int(kind.removeprefix("uint")):
            raise ValueError(f"{value} is no {kind}")
        return _word(value)
    size = {"bytes32": _WORD, "address": _ADDRESS}.get(kind)
    if size is None or len(value) != size:
        raise ValueError(f"no value of the type {kind}")
    return bytes(value).rjust(_WORD, b"\0")


def _word(number: int) -> bytes:
    return number.to_bytes(_WORD, "big")
