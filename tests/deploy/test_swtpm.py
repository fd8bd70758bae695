from __future__ import annotations

import pytest

from pluto_deploy.local.swtpm import ALLOCATE, check_answer, pcr_allocate, shutdown
from pluto_measure.errors import SourceError


def test_the_allocation_is_the_command_of_the_specification() -> None:
    # TPM 2.0 Part 3, 22.5.2: header, platform handle, password session, then four selections of three bytes each.
    assert pcr_allocate(("sha256", "sha384")).hex() == (
        "8002" "00000037" "0000012b" "4000000c"
        "00000009" "40000009" "0000" "00" "0000"
        "00000004" "0004" "03" "000000" "000b" "03" "ffffff" "000c" "03" "ffffff" "000d" "03" "000000"
    )  # fmt: skip


def test_the_shutdown_is_the_command_of_the_specification() -> None:
    assert shutdown().hex() == "80010000000c000001450000"


SUCCESS = bytes.fromhex("8002" "00000014" "00000000" "00000001" "01" "0000010000")  # fmt: skip


def test_success_passes() -> None:
    check_answer(SUCCESS, ALLOCATE)
    check_answer(bytes.fromhex("80010000000a00000000"), "Shutdown")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "cut off"),
        (SUCCESS[:-1], "cut off"),
        (bytes.fromhex("80010000000a00000101"), "code 0x101"),
        (SUCCESS[:14] + b"\0" + SUCCESS[15:], "no such PCR banks"),
        (bytes.fromhex("80010000000a00000000"), "no such PCR banks"),
    ],
)
def test_an_answer_that_is_no_success_is_an_error(answer: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        check_answer(answer, ALLOCATE)
