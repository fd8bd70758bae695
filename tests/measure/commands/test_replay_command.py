"""replay as a command: every form of log, the CCEL table beside it, and files that are too large."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.cli import main
from pluto_measure.formats import dstack, logs
from pluto_measure.formats.eventlog import EventType
from simulators.event_logs import aael, canonical_record, ccel_table, cos, encode, measured, oak_evidence

BOOT = [measured(1, EventType.EV_SEPARATOR, bytes(4), ("sha384",)), aael("example.com", "Pull", "image")]
CCEL = encode(BOOT, ("sha384",), cc=True)
RUNTIME = {"imr": 3, "event_type": dstack.RUNTIME_EVENT, "event": "app-id", "event_payload": "0102"}
SEPARATOR = BOOT[0].digests["sha384"].hex()
STARTED = {"imr": 0, "event_type": 4, "digest": SEPARATOR, "event": "", "event_payload": ""}
# The log, its form, and the conventions of its events.
LOGS: dict[str, tuple[bytes, str, list[str | None]]] = {
    "ccel": (CCEL + b"\xff" * 100, "binary", [None, None, "coco-aael"]),
    "canonical": (canonical_record(0, 4, cos(0, b"app")), "binary", ["google-cel"]),
    "both": (CCEL + b"\xff" * 9 + canonical_record(0, 4, cos(0, b"app")), "binary",
             [None, None, "coco-aael", "google-cel"]),
    "dstack": (json.dumps({"event_log": json.dumps([STARTED, RUNTIME])}).encode(), "dstack", [None, "dstack"]),
    "oak": (oak_evidence([("Stage0", b"")]), "oak", ["oak"]),
}  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = main(["replay", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


@pytest.fixture
def ccel(tmp_path: Path) -> Path:
    path = tmp_path / "CCEL"
    path.write_bytes(CCEL + b"\xff" * (4096 - len(CCEL)))
    return path


@pytest.mark.parametrize("name", LOGS)
def test_a_log_of_every_form_is_told_by_its_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data, form, conventions = LOGS[name]
    (tmp_path / "log").write_bytes(data)
    assert logs.form(data) == form
    code, document, _ = run(capsys, tmp_path / "log")
    assert (code, document["kind"]) == (0, "cc")
    assert list(document["registers"]) == ["rtmr0", "rtmr1", "rtmr2", "rtmr3"]
    moved = {register for register, value in document["registers"].items() if int(value, 16)}
    # Events that extend nothing are those without a digest of an RTMR's bank.
    assert moved == {event["register"] for event in document["events"] if "sha384" in event["digests"]}
    assert [event.get("convention") for event in document["events"]] == conventions
    assert all(event["dataIsMeasured"] for event in document["events"] if "convention" in event)


def test_the_text_names_conventions_and_what_they_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_bytes(CCEL)
    assert main(["replay", str(tmp_path / "log")]) == 0
    out = capsys.readouterr().out
    assert "  2 rtmr3  EV_EVENT_TAG                       coco-aael: example.com Pull = image\n" in out
    assert "  1 rtmr0  EV_SEPARATOR                       separator\n" in out


def test_a_table_confirms_the_size_of_its_log(ccel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table").write_bytes(ccel_table(4096))
    code, _, err = run(capsys, ccel, "--table", tmp_path / "table")
    assert code == 0
    assert "CCEL table: TDX, log area of 4096 bytes at 0xbedbf000" in err


@pytest.mark.parametrize(
    ("table", "log", "problem"),
    [
        (ccel_table(4095), None, "4096 bytes are more than the 4095 of the log area"),
        (ccel_table(4096)[:-1], None, "CCEL table at offset 0x8: 55 bytes"),
        (bytes(57), None, "is larger than 56 bytes"),
        (ccel_table(4096), encode([measured(1, 4, b"")]), "the log is no such one"),
        (ccel_table(4096), LOGS["dstack"][0], "the log is no such one"),
    ],
)
def test_a_table_that_is_not_of_the_log_is_refused(
    ccel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: bytes, log: bytes | None, problem: str
) -> None:
    (tmp_path / "table").write_bytes(table)
    if log is not None:
        ccel.write_bytes(log)
    code, document, _ = run(capsys, ccel, "--table", tmp_path / "table")
    assert code == 3
    assert problem in document["error"]["message"]


def test_a_real_table_and_its_log(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = vectors / "measure/ccel"
    code, document, err = run(capsys, folder / "gcp-cos113.ccel.bin", "--table", folder / "gcp-cos113.ccel-table.bin")
    assert (code, document["registers"]["rtmr1"][:8]) == (0, "f62dbc07")
    assert "log area of 262144 bytes" in err
    code, document, _ = run(capsys, folder / "dstack-lite-getquote.json")
    assert (code, [event.get("convention") for event in document["events"]].count("dstack")) == (0, 9)


@pytest.mark.parametrize("size", [0, 1, 4096, 1024 * 1024 * 1024])
def test_a_file_of_zeros_is_refused_at_once_whatever_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    path = tmp_path / "log"
    path.touch()
    os.truncate(path, size)  # sparse: a file of 1 GiB takes no room
    start = time.process_time()
    code, document, _ = run(capsys, path)
    assert (code, document["error"]["kind"]) == (3, "FormatError")
    assert time.process_time() - start < 2
    if size > 16 * 1024 * 1024:
        assert "larger than 16777216 bytes" in document["error"]["message"]
