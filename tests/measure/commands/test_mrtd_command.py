"""pluto-measure mrtd: document and text, exit codes, and files that are none."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.formats import tdvf
from pluto_measure.machine.mrtd import ORDERS, mrtd
from simulators import tdvf_images
from simulators.tdvf_images import BFV, CFV_SIZE, PAYLOAD, PERM_MEM, Entry

IMAGE = tdvf_images.image()
VALUES = {order: mrtd(IMAGE, tdvf.parse(IMAGE), order).hex() for order in ORDERS}


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(IMAGE)
    return path


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code = main(["mrtd", *(str(argument) for argument in arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("options", "order"), [((), "interleaved"), *((("--order", name), name) for name in ORDERS)])
def test_the_document(firmware: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], order: str) -> None:
    code, document = as_json(capsys, firmware, *options)
    schema = json.loads((resources.files("pluto_measure") / "schemas/mrtd.json").read_text())
    jsonschema.validate(document, schema)
    assert code == 0
    assert document == {
        "mrtd": VALUES[order],
        "order": order,
        "orders": VALUES,
        "firmware": {"size": len(IMAGE), **Digests.of(IMAGE).to_json()},
        "cfv": [Digests.of(IMAGE[:CFV_SIZE]).sha384.hex()],
        "sections": [section.to_json() for section in tdvf.parse(IMAGE)],
    }


def test_an_image_of_td_shim_may_have_no_variable_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, *rest = tdvf_images.ovmf()
    (tmp_path / "shim").write_bytes(tdvf_images.td_shim([code, *rest]))
    exit_code, document = as_json(capsys, tmp_path / "shim")
    assert (exit_code, document["cfv"]) == (0, [])


def test_the_text(firmware: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mrtd", str(firmware)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"mrtd  {VALUES['interleaved']}"
    assert lines[1].startswith("      interleaved: ")
    assert f"      {VALUES['sectioned']}" in lines[2:]
    assert lines[lines.index("") :] == [
        "",
        "sections             file                 memory",
        "  BFV              0x8000+  0x38000  0xfffc8000+  0x38000  added, content measured",
        "  CFV                 0x0+   0x8000  0xfffc0000+   0x8000  added",
        "  TEMP_MEM            0x0+      0x0    0x811000+   0xf000  added",
        "  TEMP_MEM            0x0+      0x0    0x80b000+   0x2000  added",
        "  TD_HOB              0x0+      0x0    0x809000+   0x2000  added",
        "  TEMP_MEM            0x0+      0x0    0x800000+   0x6000  added",
    ]


def test_the_text_says_what_becomes_of_each_section(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [
        *tdvf_images.ovmf(),
        Entry(0, 0, 0x2000000, 0x200000, PERM_MEM, 2),
        Entry(0, 0x1000, 0x1000000, 0x1000, BFV, 3),
        Entry(0, 0x1000, 0x1200000, 0x1000, PAYLOAD, 1),
    ]
    (tmp_path / "shim").write_bytes(tdvf_images.image(entries))
    assert main(["mrtd", str(tmp_path / "shim")]) == 0
    told = [line.rsplit("  ", 1)[1] for line in capsys.readouterr().out.splitlines()[-3:]]
    assert told == ["not measured", "content measured", "added, content measured"]


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "firmware at offset 0x0: 0 bytes are not between 65536 and 67108864", None),
        (bytes(len(IMAGE)), "firmware at offset 0x3ffd0: has neither OVMF's table of GUIDs nor td-shim's", None),
        (
            tdvf_images.code_alone(IMAGE),
            "firmware at offset 0x37810: BFV ends at 0x40000, beyond the file",
            "give the combined image (OVMF.fd), not OVMF_CODE.fd",
        ),
        (IMAGE[: len(IMAGE) // 2], "firmware at offset 0x1ffd0: has neither", None),
    ],
)
def test_a_file_that_is_no_firmware(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str, hint: str | None
) -> None:
    (tmp_path / "file").write_bytes(content)
    code, document = as_json(capsys, tmp_path / "file")
    assert code == 3
    error = document["error"]
    assert (error["kind"], error["hint"], error["what"]) == ("FormatError", hint, "firmware")
    assert error["message"].startswith(message)
    assert f"offset {error['offset']:#x}" in message
    assert main(["mrtd", str(tmp_path / "file")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pluto-measure: error: {message}")
    assert ("hint: " in captured.err) == (hint is not None)


def test_a_file_of_1_gib_is_refused_without_reading_it_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 30)
    began = time.process_time()
    tracemalloc.start()
    try:
        code, document = as_json(capsys, path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert code == 3
    assert document["error"]["message"] == f"firmware: {path} is larger than 67108864 bytes"
    assert peak < 160 << 20
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_cannot_be_read_is_a_mistake_of_the_caller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "folder").mkdir()
    code, document = as_json(capsys, tmp_path / name)
    assert (code, document["error"]["kind"]) == (2, "UsageError")
    assert "cannot be read" in document["error"]["message"]


@pytest.mark.parametrize("arguments", [(), ("--order", "global", "x"), ("x", "y"), ("x", "--ord", "sectioned")])
def test_a_call_that_cannot_work(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, document = as_json(capsys, *arguments)
    assert (code, document["error"]["kind"]) == (2, "UsageError")


def test_the_help_says_who_uses_which_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["mrtd", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for order in ORDERS:
        assert order in text
    assert "QEMU 10.1" in text
    assert "OVMF_CODE.fd" in text
