"""Calls as bytes: the examples of the ABI's specification, and what does not fit a type. A machine reads them, too."""

from __future__ import annotations

from typing import Any

import pytest

from pluto_notary.registry import abi


def words(*texts: str) -> str:
    """Words of 32 bytes: numbers in hex stand at the right, texts in quotes at the left."""
    return "".join(t[1:].encode().hex().ljust(64, "0") if t.startswith("'") else t.rjust(64, "0") for t in texts)


@pytest.mark.parametrize(
    ("signature", "values", "data"),
    [
        ("f(uint256)", [69], "b3de648b" + words("45")),
        (
            "sam(bytes,uint256,uint256[])",
            [b"dave", 1, [1, 2, 3]],
            "cdb8d2a5" + words("60", "1", "a0", "4", "'dave", "3", "1", "2", "3"),
        ),
        (
            "g(uint256[][],string[])",
            [[[1, 2], [3]], ["one", "two", "three"]],
            "2289b18c"
            + words("40", "140", "2", "40", "a0", "2", "1", "2", "1", "3")
            + words("3", "60", "a0", "e0", "3", "'one", "3", "'two", "5", "'three"),
        ),
    ],
)
def test_the_examples_of_the_specification(signature: str, values: list[Any], data: str) -> None:
    found = abi.call(signature, *values).hex()
    assert found[8:] == data[8:]
    if signature.startswith("g("):
        assert found[:8] == data[:8]


def test_a_static_tuple_stands_in_place_and_a_dynamic_one_behind() -> None:
    static = abi.encode("((address,uint8),uint64)", ((b"\1" * 20, 2), 3)).hex()
    assert static == words("01" * 20, "2", "3")
    dynamic = abi.encode("((string,uint8),uint64)", (("a", 2), 3)).hex()
    assert dynamic == words("40", "3", "40", "2", "1", "'a")
    assert abi.encode("()", ()) == b""
    assert abi.encode("uint8[]", []).hex() == words("0")
    assert abi.encode("bytes", b"x" * 32).hex() == words("20", "'" + "x" * 32)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256), ("uint64", 1 << 64), ("uint64", -1), ("address", bytes(32)), ("bytes32", bytes(20)),
        ("int", 1), ("(uint8,uint8)", (1,)), ("(uint8)", (1, 2)), ("bytes4", bytes(4)),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_not_encoded(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"is no|no value|are not of"):
        abi.encode(kind, value)
