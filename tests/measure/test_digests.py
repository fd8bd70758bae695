"""Digests of one content in both algorithms, or in the one that is known."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.digests import ALGORITHMS, NAME_OF, Digests, digest
from pluto_measure.errors import FormatError

# FIPS 180-4, the examples for "abc".
ABC = Digests(
    bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    bytes.fromhex("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
)


def test_both_digests_of_a_content() -> None:
    assert Digests.of(b"abc") == ABC
    assert (ABC["sha256"], ABC["sha384"]) == (ABC.sha256, ABC.sha384)


@given(st.lists(st.binary(max_size=40)))
def test_chunks_are_one_content(chunks: list[bytes]) -> None:
    joined = Digests.of(b"".join(chunks))
    assert Digests.of(chunks) == Digests.of(iter(chunks)) == joined
    assert Digests.of(bytearray(b"".join(chunks))) == Digests.of(memoryview(b"".join(chunks))) == joined  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "missing"),
    [(Digests(b"", ABC.sha384), "sha256"), (Digests(ABC.sha256, b""), "sha384")],
)
def test_one_algorithm_may_be_missing_and_is_named_when_asked_for(known: Digests, missing: str) -> None:
    (other,) = {"sha256", "sha384"} - {missing}
    assert known[other] == ABC[other]
    assert known.to_json() == {other: ABC[other].hex()}
    with pytest.raises(FormatError, match=f"the {missing} digest is not known of the input .* {ABC[other].hex()}"):
        known[missing]


@pytest.mark.parametrize("sizes", [(0, 0), (31, 48), (32, 47), (48, 32), (0, 32), (48, 0), (20, 48), (33, 0)])
def test_digests_of_other_sizes_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(FormatError, match=f"sizes are {sizes[0]} and {sizes[1]} bytes"):
        Digests(bytes(sizes[0]), bytes(sizes[1]))


@pytest.mark.parametrize("digests", [ABC, Digests(b"", ABC.sha384), Digests(ABC.sha256, b"")])
def test_json_there_and_back(digests: Digests) -> None:
    assert Digests.from_json(digests.to_json(), what="kernel") == digests


def test_a_text_is_a_sha384() -> None:
    assert Digests.from_json(ABC.sha384.hex(), what="kernel") == Digests(b"", ABC.sha384)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "kernel: has neither sha256 nor sha384"),
        ({"sha256": "", "sha384": ""}, "kernel: has neither sha256 nor sha384"),
        ({"sha256": "00" * 31}, "kernel.sha256: must be 64 lower-case hex digits"),
        ({"sha384": "00" * 32}, "kernel.sha384: must be 96 lower-case hex digits"),
        ({"sha384": ABC.sha384.hex().upper()}, "kernel.sha384: must be 96 lower-case hex digits"),
        ({"sha384": ABC.sha384.hex(), "sha512": ""}, "kernel: unknown member sha512"),
        ({"sha256": None}, "kernel: sha256 must be str, not NoneType"),
        ("ba", "kernel: must be 96 lower-case hex digits"),
        ("zz" * 48, "kernel: not hex"),
        ([], "kernel: must be an object, not list"),
    ],
)
def test_what_are_no_digests_is_refused(value: object, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Digests.from_json(value, what="kernel")


def test_the_algorithms_are_those_of_the_registry() -> None:
    for name, (number, size) in ALGORITHMS.items():
        assert digest(name, b"abc") == hashlib.new(name, b"abc").digest()
        assert (len(digest(name, b"")), NAME_OF[number]) == (size, name)
    assert {number: name for name, (number, _) in ALGORITHMS.items()} == {
        0x4: "sha1",
        0xB: "sha256",
        0xC: "sha384",
        0xD: "sha512",
    }
