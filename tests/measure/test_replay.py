"""Replay against real logs: TPM logs with the registers of their machines, CC logs with those of their quotes."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventLog, EventType, LogEvent
from pluto_measure.predict.events import expected
from pluto_measure.replay import covers_banks, ima_boot_aggregate, replay, replay_expected
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
        ("gcp-cos113.ccel.bin", "gcp-cos113.quote.bin", []),
        ("qemu-ubuntu2510-direct.ccel.bin", "qemu-ubuntu2510-direct.quote.bin", []),
        ("qemu-ubuntu2510-direct-NEGATIVE-other-initrd.ccel.bin", "qemu-ubuntu2510-direct.quote.bin", ["rtmr2"]),
        ("qemu-ccapi-NEGATIVE-ima.ccel.bin", "qemu-ccapi.quote.bin", ["rtmr2"]),
    ],
)
def test_a_cc_log_replays_to_the_registers_of_its_quote(
    vectors: Path, log: str, quote: str, differing: list[str]
) -> None:
    folder = vectors / "measure/ccel"
    quoted = (folder / quote).read_bytes()[RTMRS_AT:]
    replayed = replay(eventlog.parse((folder / log).read_bytes()))["sha384"]
    assert [name for i, (name, value) in enumerate(replayed.items()) if quoted[48 * i :][:48] != value] == differing


def test_td_shims_log_is_a_cc_log_although_its_first_index_is_0(vectors: Path) -> None:
    data = lzma.decompress((vectors / "measure/ccel/trustee-CCEL_data-tdshim.xz").read_bytes())
    log = eventlog.parse(data)
    assert (log.kind, len(log.events)) == ("cc", 6)
    assert any(replay(log)["sha384"]["rtmr0"])


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


def test_a_log_that_extends_mrtd_is_refused() -> None:
    log = EventLog("cc", ("sha384",), (LogEvent(0, 4, {"sha384": bytes(48)}, b""),))
    with pytest.raises(FormatError, match="mrtd, which nothing extends"):
        replay(log)


def test_expected_events_replay_like_logged_ones() -> None:
    events = [expected(f"pcr{i}", EventType.EV_IPL, bytes([i, n]), "", "") for n in range(3) for i in (4, 11)]
    logged = log_of(
        [measured(int(e.register[3:]), e.type, bytes([int(e.register[3:]), n // 2])) for n, e in enumerate(events)]
    )
    replayed = replay(logged)
    for bank, values in replay_expected(events).items():
        assert values == {name: replayed[bank][name] for name in ("pcr4", "pcr11")}


def test_only_a_log_with_both_banks_covers_what_is_predicted() -> None:
    assert covers_banks(log_of([]))
    assert not covers_banks(EventLog("tpm", ("sha1", "sha256"), ()))
