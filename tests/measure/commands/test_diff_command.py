"""`pluto-measure diff` as a command: what may be expected, what the document and the text say, how long it takes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from measure.compare.worlds import diff, edited, predicted, written
from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.formats import eventlog
from pluto_measure.formats.eventlog import EventType, LogEvent
from pluto_measure.launch import Container
from pluto_measure.machine.platform import Platform, SecureBoot
from pluto_measure.measurements import Measurements, profile_for
from pluto_measure.predict import predict
from simulators import boot_logs
from simulators.boot_logs import GOOGLE, MACHINES, TABLES, TDX
from simulators.edited_logs import change, insert
from simulators.event_logs import encode, measured
from simulators.launches import LAUNCH


@pytest.mark.parametrize("name", MACHINES)
def test_an_honest_log_equals_its_prediction(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "log", boot_logs.machine(name)[1])
    code, document = diff(capsys, predicted(tmp_path / "p.json", name), log)
    assert (code, document["equal"], document["first"], document["cause"]) == (0, True, None, None)
    assert {entry["equal"] for entry in document["registers"].values()} <= {True, None}
    compared = {register for register, entry in document["registers"].items() if entry["differences"] is not None}
    assert compared == set(document["explainable"])
    assert diff(capsys, log, log)[1]["equal"] is True


def test_another_initrd_in_a_prediction_of_tdx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "log", edited("tdx", change("tdx", "initrd", b"other")))
    code, document = diff(capsys, predicted(tmp_path / "p.json", "tdx"), log)
    first = document["first"]
    assert (code, document["equal"], first["register"], first["role"], first["kind"]) == (
        5,
        False,
        "rtmr2",
        "initrd",
        "changed",
    )
    assert first["meaning"].startswith("the initrd is not the one of this release")
    assert document["cause"] == {"text": "the initrd is not the one of this release", "hint": None}
    assert document["explainable"] == ["rtmr0", "rtmr1", "rtmr3"]
    assert [document["registers"][f"rtmr{n}"]["equal"] for n in range(4)] == [True, True, False, True]
    assert document["registers"]["rtmr2"]["differences"] == 1
    assert document["registers"]["mrtd"]["equal"] is None


def test_the_negative_log_differs_in_its_initrd_alone(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = vectors / "measure/ccel"
    name = "qemu-ubuntu2510-direct"
    code, document = diff(capsys, folder / f"{name}.ccel.bin", folder / f"{name}-NEGATIVE-other-initrd.ccel.bin")
    assert code == 5
    (only,) = document["differences"]
    assert document["first"] == only
    assert (only["register"], only["index"], only["role"]) == ("rtmr2", 18, "initrd")
    assert only["expected"]["digest"].startswith("b88ab090")
    assert only["actual"]["digests"]["sha384"].startswith("47f68b63")
    assert document["cause"]["text"] == "the initrd is not the one of the expected log"
    assert {register: entry["equal"] for register, entry in document["registers"].items()} == {
        "rtmr0": True,
        "rtmr1": True,
        "rtmr2": False,
    }
    assert document["explainable"] == ["rtmr0", "rtmr1"]


def test_real_logs_of_other_machines_have_their_causes(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = vectors / "measure/ccel"
    ours = folder / "qemu-ubuntu2510-direct.ccel.bin"
    google = diff(capsys, ours, folder / "gcp-cos113.ccel.bin")[1]
    assert google["cause"]["text"].startswith(
        "the machine is one of Google's, with 16 GiB of memory; another boot chain"
    )
    older = diff(capsys, ours, folder / "trustee-CCEL_data_ovmf")[1]
    said = {entry["role"]: entry["meaning"] for entry in older["differences"]}
    assert "the TD HOB is that of 2 GiB, as expected, but of firmware with another layout" in said["td-hob"]
    assert "older than edk2 202411" in said["separator:ready"]
    ancient = diff(capsys, ours, folder / "goeventlog-event_log.bin")[1]
    assert "the firmware is of 2022 or older" in ancient["cause"]["text"]
    doubled = diff(capsys, folder / "gcp-cos113.ccel.bin", folder / "goeventlog-cos113-dupe-separator-unpadded.bin")[1]
    assert [entry["role"] for entry in doubled["differences"]] == ["cfv", "separator:ready", "separator:ready"]
    dstack = diff(capsys, folder / "dstack-lite-getquote.json", folder / "trustee-CCEL_data_ovmf")[1]
    assert {entry["role"] for entry in dstack["differences"]} >= {"acpi:tables", "load-options", "initrd"}


def test_memory_is_named_in_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(TDX, memory=4 << 30)
    log = written(tmp_path / "log", boot_logs.honest(predict(LAUNCH, other), other))
    assert main(["diff", str(predicted(tmp_path / "p.json", "tdx")), str(log)]) == 5
    out = capsys.readouterr().out
    assert out.startswith("different:\n  event 1, rtmr0: memory is 4 GiB, not 2 GiB")
    assert "\nlikely cause: memory is 4 GiB, not 2 GiB\nhint: predict with --memory 4G\n" in out
    assert "\nregisters that stay explainable: rtmr0, rtmr1, rtmr2\n" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("columns", [70, 160])
def test_a_terminal_gives_the_width(
    columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 25)))
    log = written(tmp_path / "log", edited("tdx", change("tdx", "image:uki", b"other")))
    main(["diff", str(predicted(tmp_path / "p.json", "tdx")), str(log)])
    widest = max(map(len, capsys.readouterr().out.splitlines()))
    assert widest <= columns
    assert widest > 100 or columns == 70


def test_an_equal_log_says_so_and_shows_what_was_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = written(tmp_path / "log", boot_logs.machine("google open")[1])
    assert main(["diff", str(predicted(tmp_path / "p.json", "google open")), str(log)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "equal: every compared register has the expected events\n"
        "compared with profile gcp-tdx-disk-secureboot-off\n\nrtmr0   equal, 14 events, 9 of any digest\n"
    )
    assert "~  ACPI tables" in out


def test_without_a_build_only_what_the_machine_decides_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = written(tmp_path / "log", boot_logs.machine("tdx direct")[1])
    code, document = diff(capsys, predicted(tmp_path / "p.json", "tdx alone"), log)
    assert (code, document["explainable"]) == (0, ["rtmr0"])


def test_allowed_events_that_do_not_belong_together_are_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blobs = [{**TABLES.blobs, "rsdp": Digests.of(b"r"), "tables": Digests.of(b"t")}, TABLES.blobs]
    machine = replace(GOOGLE, secure_boot=SecureBoot("off"))
    both = replace(machine, acpi=tuple(replace(TABLES, blobs=one) for one in blobs))
    mixed = replace(machine, acpi=(replace(TABLES, blobs={**blobs[0], "rsdp": TABLES.blobs["rsdp"]}),))
    profile = profile_for(LAUNCH, both)
    (tmp_path / "m.json").write_text(Measurements(LAUNCH.build_id, "release", (profile,)).to_text())
    for platform, equal in ((mixed, False), (replace(machine, acpi=both.acpi[:1]), True)):
        log = written(tmp_path / "log", boot_logs.honest(predict(LAUNCH, platform), platform))
        code, document = diff(capsys, tmp_path / "m.json", log)
        assert (code == 0, document["equal"], document["first"]) == (equal, equal, None)
    log = written(tmp_path / "log", boot_logs.honest(predict(LAUNCH, mixed), mixed))
    main(["diff", str(tmp_path / "m.json"), str(log)])
    assert "rtmr0: every event is allowed, but not all of them together" in capsys.readouterr().out


def old_prediction(path: Path, name: str) -> Path:
    """As it was printed before events had roles and predictions rules."""
    document = json.loads(predicted(path, name).read_text())
    del document["rules"], document["platform"]
    renamed = {"boot option starts": "boot option is started"}
    for event in document["events"]:
        del event["role"]
        event["description"] = renamed.get(event["description"], event["description"])
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", ["tpm", "tpm kernel"])
def test_an_old_prediction_is_still_read(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = old_prediction(tmp_path / "p.json", name)
    assert diff(capsys, old, written(tmp_path / "log", boot_logs.machine(name)[1]))[1]["equal"] is True
    log = written(
        tmp_path / "log", edited(name, change(name, "section:.osrel", b"other"), change(name, "initrd", b"x"))
    )
    code, document = diff(capsys, old, log)
    assert code == 5
    assert [entry["role"] for entry in document["differences"]] == ["section:.osrel", "initrd"]
    roles = {"image:uki", "image:kernel", "calling", "separator:ready", "separator:secure-boot", "variable:SecureBoot"}
    roles |= {"section-name:.osrel", "load-options", "exit-invoked", "exit-done"}
    for role in sorted(roles):
        log = written(
            tmp_path / "log", edited(name, change(name, role, b"other", b"?" if role != "image:uki" else None))
        )
        first = diff(capsys, old, log)[1]["differences"]
        assert role in {entry["role"] for entry in first}


def test_the_nearest_profile_is_taken_without_looking_at_other_banks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    azure = replace(profile_for(*MACHINES["azure"]), id="azure")
    tpm, kernel = (replace(profile_for(*MACHINES[name]), id=name) for name in ("tpm", "tpm kernel"))
    (tmp_path / "m.json").write_text(Measurements(LAUNCH.build_id, "release", (azure, kernel, tpm)).to_text())
    log = written(tmp_path / "log", boot_logs.machine("tpm")[1])
    # A kind that leaves more to the log would always be nearest.
    code, document = diff(capsys, tmp_path / "m.json", log)
    assert (code, "machines of several kinds: azure, tpm kernel, tpm" in document["error"]["message"]) == (2, True)
    (tmp_path / "m.json").write_text(Measurements(LAUNCH.build_id, "release", (kernel, tpm)).to_text())
    code, document = diff(capsys, tmp_path / "m.json", log)
    assert (code, document["profile"], document["notCompared"]) == (0, "tpm", [])
    sha384 = [
        LogEvent(e.index, e.type, {"sha384": e.digests["sha384"]}, e.data)
        for e in boot_logs.machine("tpm")[1].events[1:]
    ]
    (tmp_path / "log").write_bytes(encode(sha384, ("sha384",)))
    assert diff(capsys, tmp_path / "m.json", tmp_path / "log")[1]["profile"] == "tpm"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{}", 3),
        ('{"events": 1}', 3),
        ('{"events": [1]}', 3),
        ('{"events": [], "rules": {"pcr4": 1}}', 3),
        ("[]", 3),
        ("", 3),
    ],
)
def test_what_is_no_expectation_is_refused(
    content: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e").write_text(content)
    log = written(tmp_path / "log", boot_logs.machine("tpm")[1])
    assert diff(capsys, tmp_path / "e", log)[0] == code
    assert diff(capsys, log, tmp_path / "e")[0] == code


def test_profile_is_for_measurements_that_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "log", boot_logs.machine("tpm")[1])
    assert diff(capsys, predicted(tmp_path / "p.json", "tpm"), log, "--profile", "x")[0] == 2
    (tmp_path / "m.json").write_text(Measurements(LAUNCH.build_id, "release", ()).to_text())
    assert "has no profile" in diff(capsys, tmp_path / "m.json", log)[1]["error"]["message"]
    assert "has no profile x" in diff(capsys, tmp_path / "m.json", log, "--profile", "x")[1]["error"]["message"]


def test_an_empty_expectation_finds_every_event_unexpected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e").write_text('{"events": [], "inputs": null}')
    code, document = diff(capsys, tmp_path / "e", written(tmp_path / "log", boot_logs.machine("tdx")[1]))
    assert code == 5
    assert {entry["kind"] for entry in document["differences"]} == {"unexpected"}


def test_two_logs_of_five_thousand_events_are_compared_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [measured(8, EventType.EV_IPL, b"grub_cmd: %d" % n) for n in range(5000)]
    other = [event if n % 50 else measured(8, EventType.EV_IPL, b"other %d" % n) for n, event in enumerate(many)]
    (tmp_path / "a").write_bytes(encode(many))
    (tmp_path / "b").write_bytes(encode(other))
    assert len(eventlog.parse((tmp_path / "a").read_bytes()).events) == 5001
    started = time.perf_counter()
    code, document = diff(capsys, tmp_path / "a", tmp_path / "b")
    assert time.perf_counter() - started < 10  # a quarter of a second where nothing else runs
    assert (code, document["registers"]["pcr8"]["differences"], len(document["differences"])) == (5, 100, 32)


def test_a_retried_exit_leaves_everything_explainable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    actions = (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Failure")
    retry = [measured(5, EventType.EV_EFI_ACTION, text) for text in actions]
    log = written(tmp_path / "log", edited("tdx disk", insert("tdx disk", "exit-invoked", *retry)))
    code, document = diff(capsys, predicted(tmp_path / "p.json", "tdx disk"), log)
    assert code == 5
    assert all(entry["harmless"] and entry["understood"] for entry in document["differences"])
    assert "rtmr1" in document["explainable"]
    assert document["registers"]["rtmr1"]["equal"] is False


def test_the_page_shows_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/formats/differences.md").read_text()
    other = replace(TDX, memory=4 << 30)
    log = written(tmp_path / "log", boot_logs.honest(predict(LAUNCH, other), other))
    main(["diff", str(predicted(tmp_path / "p.json", "tdx")), str(log)])
    assert f"```text\n{capsys.readouterr().out}```" in page


def test_an_expectation_of_nothing_is_no_expectation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch = replace(LAUNCH, container=Container("sha256:" + "ab" * 32, "sha256:" + "cd" * 32, (), ()))
    claims = profile_for(launch, Platform.default("gcp-confidential-space"))
    (tmp_path / "m.json").write_text(Measurements(LAUNCH.build_id, "release", (claims,)).to_text())
    code, document = diff(capsys, tmp_path / "m.json", written(tmp_path / "log", boot_logs.machine("tdx")[1]))
    assert (code, "says nothing of any register" in document["error"]["message"]) == (3, True)
