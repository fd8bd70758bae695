"""predict, replay, diff and inspect as commands: documents that follow their schemas, texts, exit codes."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.formats import gpt, pe
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from simulators import disks, recorded_boots, tdvf_images
from simulators.event_logs import encode, measured, of_expected
from simulators.launches import LAUNCH
from simulators.pe_images import image

A = Digests.of(b"a")
PLATFORMS = Path(__file__).resolve().parents[3] / "image/notary/platforms.toml"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "launch.json").write_text(LAUNCH.to_text())
    logged = of_expected(measure(LAUNCH, Platform()).profiles[0].events)
    (tmp_path / "log").write_bytes(encode(logged))
    digests = measured(12, EventType.EV_IPL, b"archive").digests
    credential = LogEvent(12, EventType.EV_IPL, digests, "Credentials initrd\0".encode("utf-16-le"))
    (tmp_path / "attacked").write_bytes(encode([*logged, credential]))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Exit code and document of a command with --json."""
    code = main([*(str(argument) for argument in arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def follows(document: Any, name: str) -> Any:
    schema = json.loads((resources.files("pluto_measure") / f"schemas/{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    return document


@pytest.mark.parametrize("profile", ["local-uki-kernel", "local-disk"])
def test_predict_takes_a_machine_of_platforms_toml_by_its_name(
    dist: Path, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    (dist / "firmware.fd").write_bytes(b"firmware")
    code, document = run(capsys, "predict", dist, "--profile", profile, "--platforms", PLATFORMS)
    assert code == 0
    assert document["profile"] == profile
    assert document["inputs"]["firmware"] == Digests.of(b"firmware").to_json()
    assert f"local-{document['inputs']['boot']}" == profile


def test_a_profile_that_is_not_there_or_malformed_is_refused(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run(capsys, "predict", dist, "--profile", "nowhere", "--platforms", PLATFORMS)
    assert (code, "only azure, bare-metal, " in document["error"]["message"]) == (3, True)
    other = dist / "platforms.toml"
    for text in ("x = [", 'x = "text"', '[x]\nplatform = "qemu-vtpm"\ncolour = 1\n', "[x]\nplatform = 1979-05-27\n"):
        other.write_text(text)
        assert run(capsys, "predict", dist, "--profile", "x", "--platforms", other)[0] == 3
    other.write_bytes(b"\xff")
    assert run(capsys, "predict", dist, "--profile", "x", "--platforms", other)[0] == 3
    assert run(capsys, "predict", dist, "--profile", "x", "--platforms", dist / "absent")[0] == 2


def test_predict_gives_events_registers_and_inputs(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run(capsys, "predict", dist / "launch.json", "--platform", "qemu-vtpm")
    assert code == 0
    follows(document, "predict")
    assert document["buildId"] == LAUNCH.build_id
    assert document["inputs"]["boot"] == "uki-kernel"
    known = {f"pcr{i}" for i in range(24)} - {"pcr0", "pcr1", "pcr10"}
    assert set(document["registers"]["sha256"]) == set(document["registers"]["sha384"]) == known
    assert document["registers"]["sha256"]["pcr12"] == "00" * 32
    assert [event["register"] for event in document["events"]].count("pcr11") == 8


def test_predict_takes_the_machine_from_its_options(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "OVMF.fd").write_bytes(b"firmware")
    options = ["--boot", "disk", "--cpus", 4, "--memory", "4G", "--firmware", dist / "OVMF.fd", "--secure-boot", "off"]
    _, document = run(capsys, "predict", dist, "--platform", "qemu-vtpm", *options)
    assert document["inputs"] | {"cpus": 4, "memory": 4 << 30, "boot": "disk"} == document["inputs"]
    assert document["inputs"]["firmware"] == Digests.of(b"firmware").to_json()
    assert document["inputs"]["secureBoot"] == {"state": "off"}
    assert "EV_EFI_GPT_EVENT" in [event["type"] for event in document["events"]]


def test_predict_takes_the_machine_from_a_platform_file(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "OVMF.fd").write_bytes(b"firmware")
    (dist / "platform.json").write_text('{"platform": "qemu-vtpm", "boot": "disk", "firmware": {"file": "OVMF.fd"}}')
    code, document = run(capsys, "predict", dist, "--platform-file", dist / "platform.json")
    assert (code, document["profile"]) == (0, "qemu-vtpm-disk-secureboot-absent")
    assert document["inputs"]["firmware"] == Digests.of(b"firmware").to_json()


def test_predict_writes_measurements_that_can_be_read(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = dist / "measurements.json"
    code = main(["predict", str(dist), "--platform", "qemu-vtpm", "--measurements", str(target), "--id", "laptop"])
    out, err = capsys.readouterr()
    assert code == 0
    assert "kernel inside the UKI  [launch.kernel.authenticode]" in out
    assert "pcr0   replay" in out
    assert f"wrote {target}" in err
    assert Measurements.parse(target.read_bytes()) == measure(LAUNCH, Platform(), "laptop")
    assert sorted(path.name for path in dist.iterdir()) == ["attacked", "launch.json", "log", "measurements.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["predict", "{}/launch.json"], 2, "one of the arguments --platform --profile --platform-file is required"),
        (["predict", "{}/none.json", "--platform", "qemu-vtpm"], 2, "none.json cannot be read: No such file"),
        (["predict", "{}", "--platform", "sev-snp"], 2, "invalid choice: 'sev-snp'"),
        (["predict", "{}", "--platform", "qemu-vtpm", "--memory", "1X"], 2, "'1X' is not digits"),
        (["predict", "{}", "--platform", "qemu-vtpm", "--cpus", "0"], 2, "0 vCPUs"),
        (["predict", "{}/log", "--platform", "qemu-vtpm"], 3, "launch.json: not JSON"),
        (["predict", "{}", "--platform", "qemu-vtpm", "--measurements", "{}/none/m"], 2, "cannot be written"),
        (["replay", "{}/launch.json"], 3, "event log"),
        (["diff", "{}/launch.json", "{}/log"], 3, "neither measurements.json nor"),
        (["diff", "{}/log", "{}/log", "--profile", "x"], 2, "--profile needs measurements.json"),
        (["inspect", "{}/none"], 2, "cannot be read"),
    ],
)
def test_a_mistake_has_its_exit_code_and_one_json_document(
    dist: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, problem: str
) -> None:
    assert main([*(argument.format(dist) for argument in arguments), "--json"]) == code
    out, err = capsys.readouterr()
    assert problem in err
    assert problem in json.loads(out)["error"]["message"]


def test_replay_of_a_tpm_log_is_per_bank(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, predicted = run(capsys, "predict", dist, "--platform", "qemu-vtpm")
    code, document = run(capsys, "replay", dist / "log")
    assert code == 0
    follows(document, "replay")
    for bank, values in predicted["registers"].items():
        assert {name: document["registers"][bank][name] for name in values} == values
    assert main(["replay", str(dist / "log")]) == 0
    assert "pcr11  EV_IPL" in capsys.readouterr().out


def test_replay_of_a_cc_log_is_flat(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run(capsys, "replay", vectors / "measure/ccel/gcp-cos113.ccel.bin")
    assert code == 0
    follows(document, "replay")
    assert document["registers"]["rtmr0"].startswith("3fa2f61f")


def test_diff_of_an_honest_log_is_equal(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", str(dist), "--platform", "qemu-vtpm", "--measurements", str(dist / "m.json"), "--json"])
    (dist / "p.json").write_text(capsys.readouterr().out)
    for expected in ("m.json", "p.json", "log"):
        code, document = run(capsys, "diff", dist / expected, dist / "log")
        follows(document, "diff")
        assert (code, document["equal"], document["first"]) == (0, True, None)
        assert {entry["equal"] for entry in document["registers"].values()} <= {True, None}


def test_diff_names_the_attack_and_ends_with_5(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", str(dist), "--platform", "qemu-vtpm", "--measurements", str(dist / "m.json")])
    capsys.readouterr()
    code, document = run(capsys, "diff", dist / "m.json", dist / "attacked")
    follows(document, "diff")
    assert (code, document["equal"]) == (5, False)
    assert document["registers"]["pcr12"]["equal"] is False
    assert document["registers"]["pcr4"]["equal"] is True
    assert (document["first"]["register"], document["first"]["attack"]) == ("pcr12", "esp-credential")
    assert main(["diff", str(dist / "m.json"), str(dist / "attacked")]) == 5
    assert capsys.readouterr().out.startswith("different:\n  event ")


def test_diff_of_a_recorded_attack_says_what_the_host_did(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "launch.json").write_text(recorded_boots.launch(vectors).to_text())
    options = ["--platform", "qemu-vtpm", "--boot", "disk", "--measurements", str(tmp_path / "m.json")]
    assert main(["predict", str(tmp_path), *options]) == 0
    capsys.readouterr()
    log = vectors / "qemu-swtpm/neg-esp-credential-sidecar/binary_bios_measurements"
    code, document = run(capsys, "diff", tmp_path / "m.json", log)
    follows(document, "diff")
    assert code == 5
    assert [entry["attack"] for entry in document["differences"]] == [None, "esp-credential", "esp-credential"]


def test_diff_takes_the_nearest_profile_or_the_one_that_is_named(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles = tuple(measure(LAUNCH, Platform(boot=boot)).profiles[0] for boot in ("disk", "uki-kernel"))
    (dist / "m.json").write_text(Measurements(LAUNCH.build_id, "release", profiles).to_text())
    assert run(capsys, "diff", dist / "m.json", dist / "log")[1]["profile"] == profiles[1].id
    code, document = run(capsys, "diff", dist / "m.json", dist / "log", "--profile", profiles[0].id)
    assert (code, document["profile"], document["first"]["register"]) == (5, profiles[0].id, "pcr4")
    assert main(["diff", str(dist / "m.json"), str(dist / "log"), "--profile", "none"]) == 2


def test_inspect_tells_files_by_their_content(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "m.json").write_text(measure(LAUNCH, Platform()).to_text())
    (dist / "uki").write_bytes(image())
    (dist / "disk").write_bytes(disks.head())
    documents = {
        name: run(capsys, "inspect", dist / name)[1] for name in ("launch.json", "log", "m.json", "uki", "disk")
    }
    assert [document["format"] for document in documents.values()] == [
        "launch.json",
        "event log",
        "measurements.json",
        "PE image",
        "disk",
    ]
    assert documents["uki"]["authenticode"] == pe.authenticode(image()).to_json()
    assert documents["disk"]["gptEvent"] == Digests.of(gpt.event_data(disks.head())).to_json()
    for name in documents:
        assert main(["inspect", str(dist / name)]) == 0
        assert capsys.readouterr().out


def test_inspect_tells_what_trust_domains_are_made_of(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    laid = b"".join((64, 0x1000)[i].to_bytes(8, "little") for i in range(2))
    table = bytearray(b"CCEL" + (56).to_bytes(4, "little") + b"\1" + bytes(27) + bytes([2, 0, 0, 0]) + laid)
    table[9] = -sum(table) % 256
    (dist / "ccel").write_bytes(table)
    (dist / "firmware").write_bytes(tdvf_images.image())
    (dist / "shim").write_bytes(tdvf_images.td_shim())
    inputs = PLATFORMS.with_name("platform-inputs.json")
    files = (dist / "ccel", dist / "firmware", dist / "shim", inputs)
    found = [run(capsys, "inspect", path)[1] for path in files]
    assert [document["format"] for document in found] == ["CCEL table", *["TDVF firmware"] * 2, "platform-inputs.json"]
    assert (found[0]["type"], found[0]["logSize"]) == ("TDX", 64)
    assert main(["inspect", str(dist / "firmware")]) == 0
    assert found[1]["mrtd"] in capsys.readouterr().out
    log = json.dumps(
        {"event_log": json.dumps([{"imr": 0, "event_type": 4, "digest": "00" * 48, "event": "", "event_payload": ""}])}
    )
    (dist / "dstack").write_text(log)
    assert run(capsys, "inspect", dist / "dstack")[1]["format"] == "event log"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"a": 1}', b"[]", b"hello", b"\x7fELF" + bytes(100)])
def test_inspect_refuses_what_it_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    code, document = run(capsys, "inspect", tmp_path / "file")
    assert (code, document["error"]["kind"]) == (3, "FormatError")


def test_the_commands_that_the_page_shows_work(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[3] / "docs/formats/measurements.md"
    shown = re.findall(r"^\$ pluto-measure (.+)$", page.read_text(), re.MULTILINE)
    assert len(shown) == 3
    (dist / "log").rename(dist / "binary_bios_measurements")
    (dist / "DIST").mkdir()
    (dist / "launch.json").rename(dist / "DIST/launch.json")
    monkeypatch.chdir(dist)
    assert [main(line.split()) for line in shown] == [0, 0, 0]
