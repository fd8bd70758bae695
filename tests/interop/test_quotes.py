"""Quotes of real machines, taken apart by go-tdx-guest and cctrusted-base: they state what we compute."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from interop.peers import Log
from pluto_measure.formats import logs, tdvf
from pluto_measure.machine.mrtd import mrtd
from pluto_measure.registers.replay import replay

pytestmark = pytest.mark.interop

Go = Callable[..., list[dict[str, Any]]]

# Log, quote of the same boot, and the registers that its machine extended on after the log ended.
PAIRS: Final[tuple[tuple[str, str, list[int]], ...]] = (
    ("measure/ccel/gcp-cos113.ccel.bin", "measure/ccel/gcp-cos113.quote.bin", []),
    ("measure/ccel/qemu-ubuntu2510-direct.ccel.bin", "measure/ccel/qemu-ubuntu2510-direct.quote.bin", []),
    ("measure/ccel/qemu-ccapi-NEGATIVE-ima.ccel.bin", "measure/ccel/qemu-ccapi.quote.bin", [2]),
    ("quotes/attestation-rs/tdx_ccel_live2.dat", "quotes/attestation-rs/tdx_quote_live.dat", []),
    ("quotes/cc-trusted-api/ccel_data.bin", "quotes/cc-trusted-api/quote.bin", [2]),
    ("quotes/go-tdx-guest/ccel/ccel_data.dat", "quotes/go-tdx-guest/ccel/cos-113-tdx-quote.dat", []),
)
# A version 5 quote and the firmware it is of.
FIFTH: Final = "quotes/go-tdx-guest/quote_v5_sample.dat"
FIRMWARE: Final = "measure/firmware/ubuntu-25.10-{}.xz"


@pytest.mark.parametrize(("log", "quote", "later"), PAIRS)
def test_go_tdx_guest_finds_our_replayed_registers_in_the_quote(
    vectors: Path, go: Go, log: str, quote: str, later: list[int]
) -> None:
    (said,) = go("quote", [Log(vectors / quote, "cc", "sha384")])
    ours = list(replay(logs.parse((vectors / log).read_bytes()))["sha384"].values())
    assert [i for i, value in enumerate(said["rtmrs"]) if value != ours[i].hex()] == later
    # go-eventlog comes to the same: the registers of the quote verify the log, or it names the ones that fail.
    registers = {number: bytes.fromhex(value) for number, value in enumerate(said["rtmrs"])}
    (verified,) = go("replay", [Log(vectors / log, "cc", "sha384", registers)])
    if later:
        assert verified["error"].endswith(f"registers failed to replay: {[number + 1 for number in later]}")
    else:
        assert "error" not in verified


@pytest.mark.parametrize("quote", [quote for _, quote, _ in PAIRS])
def test_cctrusted_and_go_tdx_guest_read_the_same_quote(
    vectors: Path, go: Go, python: Callable[..., Any], quote: str
) -> None:
    assert go("quote", [Log(vectors / quote, "cc", "sha384")]) == [python("quote", vectors / quote)]


def test_dstacks_quote_states_what_its_log_replays_to(vectors: Path, go: Go, tmp_path: Path) -> None:
    text = (vectors / "measure/ccel/dstack-lite-getquote.json").read_bytes()
    (tmp_path / "quote").write_bytes(bytes.fromhex(json.loads(text)["quote"]))
    (said,) = go("quote", [Log(tmp_path / "quote", "cc", "sha384")])
    assert said["rtmrs"] == [value.hex() for value in replay(logs.parse(text))["sha384"].values()]


def test_a_quote_states_our_mrtd_of_its_firmware(vectors: Path, go: Go) -> None:
    (said,) = go("quote", [Log(vectors / "measure/ccel/qemu-ubuntu2510-direct.quote.bin", "cc", "sha384")])
    assert said["mrtd"] == ours(vectors / FIRMWARE.format("ovmf_2025.02-8ubuntu3-OVMF.fd"))


def test_a_quote_of_version_5_states_our_mrtd_where_go_tdx_guest_reads_none(vectors: Path, go: Go) -> None:
    """Its newest release reads version 4 alone. In version 5 six bytes more stand before the body."""
    (said,) = go("quote", [Log(vectors / FIFTH, "cc", "sha384")])
    assert said == {"error": "quote format not supported"}
    firmware = FIRMWARE.format("ovmf-inteltdx_2025.02-8ubuntu3-OVMF.inteltdx.fd")
    assert (vectors / FIFTH).read_bytes()[48 + 6 + 136 :][:48].hex() == ours(vectors / firmware)


def ours(path: Path) -> str:
    data = lzma.decompress(path.read_bytes())
    return mrtd(data, tdvf.parse(data)).hex()
