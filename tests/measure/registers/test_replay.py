"""Replay against real logs: TPM logs with the registers of their machines, CC logs with those of their quotes."""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from pluto_measure.digests import ALGORITHMS
from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog, logs
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict.events import ExpectedEvent
from pluto_measure.registers.replay import (
    extend,
    ima_boot_aggregate,
    initial,
    registers_json,
    replay,
    replay_expected,
)
from simulators import recorded_boots
from simulators.event_logs import log_of, measured
from simulators.recorded_boots import FOLDERS

# The first four bytes of RTMR0 to RTMR3, from vectors/INDEX.md.
CC_LOGS = {
    "gcp-cos113.ccel.bin": "3fa2f61f f62dbc07 4969684d 00000000",
    "trustee-CCEL_data_ovmf": "8566f998 775b9f6b 94eaf7a7 00000000",
    "trustee-CCEL_data_gcp": "33009807 204d49f7 00000000 00000000",
    "trustee-CCEL_data_grub": "cec0a104 6c289e0c 08919d01 00000000",
    "trustee-CCEL_data_grub_gke": "bc994513 c17cb288 334aeba2 00000000",
    "trustee-CCEL_AAEL_alibabacloud": "b796e1c1 3b0b9061 35f28013 5e4ecd49",
    "goeventlog-cos113-dupe-separator-unpadded.bin": "a4de2df2 0ee9366c 4969684d 00000000",
}
# With Secure Boot on, IMA measures more; without a SHA-256 bank, it aggregates otherwise.
WITHOUT_AGGREGATE = ("tx-crb-secureboot-on", "tx-crb-sha384-only")
# Where the four RTMRs lie in a TDX quote of version 4: header 48 bytes, then the TD report body.
RTMRS_AT = 48 + 328


def quoted_registers(quote: bytes) -> dict[str, bytes]:
    return {f"rtmr{i}": quote[RTMRS_AT + 48 * i :][:48] for i in range(4)}


def one_by_one(log: EventLog) -> dict[str, bytes]:
    """RTMRs by the rule alone: 48 zeros, then R = SHA-384(R ‖ digest); index 1 is RTMR[0]; EV_NO_ACTION is skipped."""
    values = [bytes(48)] * 4
    for event in log.events:
        if event.type != EventType.EV_NO_ACTION:
            values[event.index - 1] = hashlib.sha384(values[event.index - 1] + event.digests["sha384"]).digest()
    return {f"rtmr{i}": value for i, value in enumerate(values)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_recorded_log_replays_to_the_registers_read_in_the_guest(vectors: Path, folder: str) -> None:
    replayed = replay(recorded_boots.log(vectors, folder))
    for bank, values in recorded_boots.registers(vectors, folder).items():
        assert {name for name, value in values.items() if replayed[bank][name] != value} == {"pcr10"}


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f not in WITHOUT_AGGREGATE])
def test_pcr_10_is_the_boot_aggregate_that_linux_makes_of_pcr_0_to_9(vectors: Path, folder: str) -> None:
    read = recorded_boots.registers(vectors, folder)
    assert {bank: ima_boot_aggregate(read["sha256"], bank) for bank in read} == {
        bank: values["pcr10"] for bank, values in read.items()
    }


def test_real_tpm_logs_replay_to_their_published_registers_in_every_bank(vectors: Path) -> None:
    published = json.loads((vectors / "measure/tpm/go-tpm-tools-expected.json").read_text())["logs"]
    assert len(published) == 7
    for name, entry in published.items():
        replayed = replay(eventlog.parse((vectors / "measure/tpm" / name).read_bytes()))
        for bank, values in entry["pcrs"].items():
            assert {index: replayed[bank][f"pcr{index}"].hex() for index in values} == values


@pytest.mark.parametrize("name", CC_LOGS)
def test_real_cc_logs_replay_to_their_published_registers(vectors: Path, name: str) -> None:
    log = eventlog.parse((vectors / "measure/ccel" / name).read_bytes())
    assert log.kind == "cc"
    assert " ".join(value.hex()[:8] for value in replay(log)["sha384"].values()) == CC_LOGS[name]


@pytest.mark.parametrize(
    ("log", "quote", "differing"),
    [
        ("measure/ccel/gcp-cos113.ccel.bin", "measure/ccel/gcp-cos113.quote.bin", []),
        ("measure/ccel/qemu-ubuntu2510-direct.ccel.bin", "measure/ccel/qemu-ubuntu2510-direct.quote.bin", []),
        (
            "measure/ccel/qemu-ubuntu2510-direct-NEGATIVE-other-initrd.ccel.bin",
            "measure/ccel/qemu-ubuntu2510-direct.quote.bin",
            ["rtmr2"],
        ),
        ("measure/ccel/qemu-ccapi-NEGATIVE-ima.ccel.bin", "measure/ccel/qemu-ccapi.quote.bin", ["rtmr2"]),
        ("quotes/attestation-rs/tdx_ccel_live.bin", "quotes/attestation-rs/tdx_quote_live.dat", ["rtmr2"]),
        ("quotes/attestation-rs/tdx_ccel_live2.dat", "quotes/attestation-rs/tdx_quote_live.dat", []),
        ("quotes/cc-trusted-api/ccel_data.bin", "quotes/cc-trusted-api/quote.bin", ["rtmr2"]),
        ("quotes/go-tdx-guest/ccel/ccel_data.dat", "quotes/go-tdx-guest/ccel/cos-113-tdx-quote.dat", []),
        ("quotes/go-eventlog/cos-113-intel-tdx.bin", "quotes/go-tdx-guest/ccel/cos-113-tdx-quote.dat", []),
        (
            "quotes/go-eventlog/cos-113-intel-tdx-dupe-separator-unpadded.bin",
            "quotes/go-tdx-guest/ccel/cos-113-tdx-quote.dat",
            ["rtmr0", "rtmr1"],
        ),
    ],
)
def test_a_cc_log_replays_to_the_registers_of_its_quote(
    vectors: Path, log: str, quote: str, differing: list[str]
) -> None:
    quoted = quoted_registers((vectors / quote).read_bytes())
    replayed = replay(eventlog.parse((vectors / log).read_bytes()))["sha384"]
    assert [name for name, value in replayed.items() if quoted[name] != value] == differing


def test_dstacks_log_replays_to_the_registers_of_the_quote_beside_it(vectors: Path) -> None:
    text = (vectors / "measure/ccel/dstack-lite-getquote.json").read_bytes()
    log = logs.parse(text)
    assert replay(log)["sha384"] == quoted_registers(bytes.fromhex(json.loads(text)["quote"]))
    assert [event.data_is_measured for event in log.events if event.index == 4] == [True] * 9


def test_oaks_events_replay_to_the_registers_of_the_quote_beside_them(vectors: Path) -> None:
    evidence = (vectors / "quotes/oak/tdx_oc_evidence.binarypb").read_bytes()
    quote = evidence[evidence.index(bytes.fromhex("0400020081000000")) :]
    assert replay(logs.parse(evidence))["sha384"] == quoted_registers(quote)


@pytest.mark.parametrize(
    ("name", "separators"),
    [
        ("goeventlog-CCEL_unpadded.data.bin", {"rtmr0": 2}),
        ("goeventlog-event_log.bin", {"rtmr0": 3, "rtmr1": 5}),  # TDVF of 2022: those of PCR 0 to 7, mapped
        ("goeventlog-cos113-dupe-separator-unpadded.bin", {"rtmr0": 2}),
        ("gcp-cos113.ccel.bin", {"rtmr0": 1, "rtmr1": 1}),
    ],
)
def test_separators_are_taken_where_the_log_has_them(vectors: Path, name: str, separators: dict[str, int]) -> None:
    log = eventlog.parse((vectors / "measure/ccel" / name).read_bytes())
    counted = Counter(log.register(event) for event in log.events if event.type == EventType.EV_SEPARATOR)
    assert counted == separators
    assert replay(log)["sha384"] == one_by_one(log)


def test_td_shims_log_is_a_cc_log_although_its_first_index_is_0(vectors: Path) -> None:
    data = lzma.decompress((vectors / "measure/ccel/trustee-CCEL_data-tdshim.xz").read_bytes())
    log = eventlog.parse(data)
    assert (len(data), log.kind, len(log.events)) == (1024 * 1024, "cc", 6)
    assert [event.index for event in log.events] == [0, 1, 1, 2, 2, 2]
    assert replay(log)["sha384"] == one_by_one(log)


def test_registers_begin_as_the_tpm_profile_says_and_no_action_extends_nothing() -> None:
    log = log_of([LogEvent(4, EventType.EV_NO_ACTION, {"sha256": bytes(32), "sha384": bytes(48)}, b"said")])
    registers = replay(log)["sha256"]
    assert len(registers) == 24
    assert {name for name, value in registers.items() if any(value)} == {f"pcr{i}" for i in range(17, 23)}


def test_the_startup_locality_is_the_last_byte_of_pcr_0() -> None:
    digests = {"sha256": bytes(32), "sha384": bytes(48)}
    start = LogEvent(0, EventType.EV_NO_ACTION, digests, b"StartupLocality\0\3")
    assert replay(log_of([start]))["sha256"]["pcr0"] == bytes(31) + b"\3"
    with pytest.raises(FormatError, match="after PCR 0 was extended"):
        replay(log_of([measured(0, 8, b"version"), start]))
    with pytest.raises(FormatError, match="StartupLocality of 16 bytes"):
        replay(log_of([LogEvent(0, EventType.EV_NO_ACTION, digests, b"StartupLocality\0")]))


def test_a_locality_of_0_is_no_start_that_forbids_another() -> None:
    digests = {"sha256": bytes(32), "sha384": bytes(48)}
    zero, four = (LogEvent(0, EventType.EV_NO_ACTION, digests, b"StartupLocality\0" + n) for n in (b"\0", b"\4"))
    assert replay(log_of([zero, four, measured(4, 4, b"x")]))["sha384"]["pcr0"] == bytes(47) + b"\4"
    with pytest.raises(FormatError, match="event 1 sets the locality after"):
        replay(log_of([four, zero]))


@pytest.mark.parametrize(("kind", "index", "register"), [("cc", 0, "mrtd"), ("cc", 5, "rtmr4"), ("tpm", 24, "pcr24")])
def test_a_log_that_extends_what_nothing_extends_is_refused(
    kind: Literal["cc", "tpm"], index: int, register: str
) -> None:
    log = EventLog(kind, ("sha384",), (LogEvent(index, 4, {"sha384": bytes(48)}, b""),))
    with pytest.raises(FormatError, match=f"event 0 extends {register}, which nothing extends"):
        replay(log)
    assert replay(EventLog(kind, ("0x0012",), log.events)) == {}


def test_an_event_without_a_register_extends_none() -> None:
    log = EventLog("tpm", ("sha256",), (LogEvent(-1, 4, {"sha256": b"\1" * 32}, b""),))
    assert replay(log) == {"sha256": initial("tpm", "sha256")}


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_extending_is_the_hash_of_the_value_and_the_digest(bank: str) -> None:
    size = ALGORITHMS[bank][1]
    wanted = hashlib.new(bank, b"\1" * size + b"\2" * size, usedforsecurity=False).digest()
    assert extend(bank, b"\1" * size, b"\2" * size) == wanted


def test_expected_events_replay_like_logged_ones() -> None:
    contents = [(i, bytes([i, n])) for n in range(3) for i in (4, 11)]
    replayed = replay(log_of([measured(i, EventType.EV_IPL, content) for i, content in contents]))
    events = [foreseen(f"pcr{i}", measured(i, EventType.EV_IPL, content).digests) for i, content in contents]
    assert replay_expected(events) == {
        bank: {name: values[name] for name in ("pcr4", "pcr11")} for bank, values in replayed.items()
    }


def test_a_register_with_an_event_of_unknown_digest_is_not_replayed() -> None:
    both, one = {"sha256": bytes(32), "sha384": bytes(48)}, {"sha384": bytes(48)}
    events = [foreseen("rtmr0", both), foreseen("rtmr1", both), foreseen("rtmr0", {}), foreseen("rtmr1", one)]
    assert replay_expected(events) == {
        "sha384": {"rtmr1": extend("sha384", extend("sha384", bytes(48), bytes(48)), bytes(48))}
    }
    assert replay_expected(reversed(events)) == {"sha384": {"rtmr1": replay_expected(events)["sha384"]["rtmr1"]}}
    assert replay_expected([]) == {}


def foreseen(register: str, digests: Mapping[str, bytes]) -> ExpectedEvent:
    return ExpectedEvent(register, EventType.EV_IPL, digests, "", "", "role")


def test_the_boot_aggregate_is_one_ima_event_over_pcr_0_to_9() -> None:
    registers = {f"pcr{i}": bytes([i]) * 32 for i in range(24)}
    aggregate = hashlib.sha256(b"".join(bytes([i]) * 32 for i in range(10))).digest()
    template = struct.pack("<I8s32sI15sI", 40, b"sha256:", aggregate, 15, b"boot_aggregate", 0)
    event = hashlib.sha384(template).digest()
    assert ima_boot_aggregate(registers, "sha384") == hashlib.sha384(bytes(48) + event).digest()


def test_registers_in_json_are_hex_by_bank() -> None:
    assert registers_json({"sha384": {"rtmr3": b"\1\xff"}}) == {"sha384": {"rtmr3": "01ff"}}
