"""`predict` as a command: machines by name and option, builds by files, harvested inputs, what does not go together."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure import describe
from pluto_measure.cli import main
from pluto_measure.digests import Digests
from pluto_measure.formats import pe, tdvf
from pluto_measure.harvest import entry
from pluto_measure.harvest.table import Table
from pluto_measure.launch import Container
from pluto_measure.machine.firmware import Firmware
from pluto_measure.machine.mrtd import mrtd
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, profile_for
from simulators import disks, event_logs, harvests, machines, tdvf_images
from simulators.endorsements import bytes_field, message, number
from simulators.launches import LAUNCH
from simulators.pe_images import KERNEL, image

FIRMWARE = tdvf_images.image()
MAGIC = b"#### LoaderInfo: systemd-stub 257.13-1 ####\0"
UKI = image(
    [
        (".osrel", b"ID=pluto\n"),
        (".cmdline", b"console=ttyS0"),
        (".initrd", b"initrd"),
        (".linux", KERNEL),
        (".sdmagic", MAGIC),
    ],
    headers=0x600,
)
ACPI = machines.acpi().to_json()
PLATFORMS = """
[host]
platform = "qemu-tdx"
edk2Generation = 202502
firmware = { file = "firmware.fd" }
memory = "4G"
devices = ["virtio-net-pci,romfile=", "virtio-blk-pci", "serial"]

[cloud]
platform = "gcp-tdx"
"""


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A folder with everything that a prediction may be given."""
    container = Container("sha256:" + "ab" * 32, "sha256:" + "cd" * 32, (), ())
    (tmp_path / "launch.json").write_text(replace(LAUNCH, container=container).to_text())
    (tmp_path / "firmware.fd").write_bytes(FIRMWARE)
    (tmp_path / "uki.efi").write_bytes(UKI)
    (tmp_path / "kernel").write_bytes(KERNEL)
    (tmp_path / "initrd").write_bytes(b"initrd")
    (tmp_path / "disk").write_bytes(disks.head())
    (tmp_path / "platforms.toml").write_text(PLATFORMS)
    host = {"platform": "qemu-tdx", "edk2Generation": 202502, "memory": "4G", "acpi": ACPI}
    (tmp_path / "host.json").write_text(json.dumps({**host, "firmware": {"file": "firmware.fd"}}))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code = main([*(str(argument) for argument in arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def schema(name: str) -> Any:
    return json.loads((resources.files("pluto_measure") / f"schemas/{name}.json").read_text())


def table(dist: Path, **changes: Any) -> Path:
    """platform-inputs.json beside platforms.toml, with the inputs of the machine `host`."""
    firmware = Firmware.of(FIRMWARE, "interleaved", 202502)
    devices = ("virtio-net-pci,romfile=", "virtio-blk-pci", "serial")
    host = Platform(kind="qemu-tdx", firmware=firmware, memory=4 << 30, devices=devices, **changes)
    made = entry.make(
        host.shape(), harvests.items(tpm=False), memory=host.memory, generation=202502, made_with={"qemu": "11.1.3"}
    )
    (dist / "platform-inputs.json").write_text(Table.of([made]).to_text())
    return dist / "platform-inputs.json"


@pytest.mark.parametrize(
    "machine",
    [
        ["--platform-file", "host.json"],
        ["--platform", "gcp-tdx"],
        ["--platform", "gcp-tdx", "--insecure-unmeasured-acpi"],
        ["--platform", "azure-tdx"],
        ["--platform", "gcp-confidential-space"],
        ["--platform", "qemu-vtpm"],
    ],
)
def test_every_kind_of_machine_is_predicted_in_the_same_document(
    dist: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, machine: list[str]
) -> None:
    monkeypatch.chdir(dist)
    code, document = run(capsys, "predict", "launch.json", *machine, "--measurements", "m.json")
    assert code == 0
    jsonschema.validate(document, schema("predict"))
    written = json.loads(Path("m.json").read_text())
    jsonschema.validate(written, schema("measurements"))
    assert Measurements.parse(Path("m.json").read_bytes()).profiles[0].id == document["profile"]
    jsonschema.validate(json.loads(Path("launch.json").read_text()), schema("launch"))
    if machine[0] == "--platform-file":
        jsonschema.validate(json.loads(Path("host.json").read_text()), schema("platform"))
    assert main(["predict", "launch.json", *machine]) == 0
    out = capsys.readouterr().out
    assert "registers" in out or "claims" in out


def test_a_trust_domains_registers_are_flat(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, document = run(capsys, "predict", dist, "--platform-file", dist / "host.json")
    assert set(document["registers"]) == {"mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"}
    assert document["registers"]["mrtd"] == mrtd(FIRMWARE, tdvf.parse(FIRMWARE)).hex()
    assert document["registers"]["rtmr3"] == "00" * 48
    assert document["inputs"]["firmware"]["edk2Generation"] == 202502
    assert document["inputs"]["pageOrder"] == "interleaved"


def test_without_a_build_firmware_and_machine_give_mrtd_and_rtmr0(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, whole = run(capsys, "predict", dist, "--platform-file", dist / "host.json")
    code, document = run(capsys, "predict", "--platform-file", dist / "host.json")
    assert (code, document["buildId"], document["flavour"]) == (0, None, None)
    jsonschema.validate(document, schema("predict"))
    assert document["registers"] == {name: whole["registers"][name] for name in ("mrtd", "rtmr0")}
    assert {event["register"] for event in document["events"]} == {"rtmr0"}
    assert main(["predict", "--platform-file", str(dist / "host.json")]) == 0
    assert capsys.readouterr().out.startswith("firmware and machine alone, profile qemu-tdx")
    code, tpm = run(capsys, "predict", "--platform", "qemu-vtpm")
    assert (code, set(tpm["registers"]["sha256"])) == (0, {"pcr7"})


def test_options_change_the_machine_of_a_file(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page order follows the version that is given, whatever the file's own would give."""
    file = ["--platform-file", dist / "host.json"]
    _, document = run(capsys, "predict", *file, "--vmm-version", "8.2.2", "--memory", "8G", "--cpus", 3)
    assert document["registers"]["mrtd"] == mrtd(FIRMWARE, tdvf.parse(FIRMWARE), "sectioned").hex()
    assert document["inputs"] | {"memory": 8 << 30, "cpus": 3} == document["inputs"]
    _, other = run(capsys, "predict", *file, "--page-order", "sectioned", "--edk2-generation", "202408")
    assert other["registers"]["mrtd"] == document["registers"]["mrtd"]
    assert other["inputs"]["edk2Generation"] == 202408
    (dist / "other.fd").write_bytes(tdvf_images.image(seed="other"))
    _, third = run(capsys, "predict", *file, "--firmware", dist / "other.fd")
    assert third["registers"]["mrtd"] != other["registers"]["mrtd"]
    _, google = run(capsys, "predict", "--platform", "gcp-tdx", "--machine-type", "c3-standard-8")
    assert (google["inputs"]["cpus"], google["inputs"]["memory"]) == (8, 32 << 30)


def test_what_qemu_makes_comes_from_the_table_beside_platforms_toml(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = ["predict", dist, "--platforms", dist / "platforms.toml", "--profile", "host"]
    code, document = run(capsys, *host)
    assert (code, "acpi is not given" in document["error"]["message"]) == (3, True)
    table(dist)
    code, document = run(capsys, *host)
    assert code == 0
    assert [event["role"] for event in document["events"]].count("acpi:tables") == 1
    code, document = run(capsys, *host, "--cpus", 64)
    assert (code, "64 vCPUs" in document["error"]["message"]) == (3, True)
    assert "acpi harvest" in document["error"]["hint"]
    elsewhere = dist / "elsewhere.json"
    table(dist).rename(elsewhere)
    assert run(capsys, *host)[0] == 3
    assert run(capsys, *host, "--inputs", elsewhere)[0] == 0
    assert run(capsys, *host, "--inputs", dist / "none.json")[0] == 2


def test_several_machines_are_several_profiles(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(dist)
    both = ["predict", dist, "--platforms", dist / "platforms.toml", "--profile", "host", "--profile", "cloud"]
    code, document = run(capsys, *both, "--measurements", dist / "m.json")
    assert (code, [one["profile"] for one in document["profiles"]]) == (0, ["host", "cloud"])
    assert [profile.id for profile in Measurements.parse((dist / "m.json").read_bytes()).profiles] == ["host", "cloud"]
    assert main([*map(str, both), "--registers"]) == 0
    out, err = capsys.readouterr()
    assert "events" not in out
    assert "mrtd   by endorsement, none given yet" in out
    assert "rtmr0  by log, no value accepted yet" in out
    assert "cloud: MRTD and RTMR[0] by endorsement and log" in err
    assert run(capsys, *both, "--id", "one")[0] == 2
    jsonschema.validate(document, schema("predict"))
    (dist / "p.json").write_text(json.dumps(document))
    (dist / "log").write_bytes(
        event_logs.encode([event_logs.measured(1, 4, bytes(4), ("sha384",))], ("sha384",), cc=True)
    )
    for name in ("m.json", "p.json"):
        code, refused = run(capsys, "diff", dist / name, dist / "log")
        assert (code, "several" in refused["error"]["message"]) == (2, True)
        code, compared = run(capsys, "diff", dist / name, dist / "log", "--profile", "host")
        assert (code, compared["profile"]) == (5, "host")
        jsonschema.validate(compared, schema("diff"))


def test_a_uki_and_its_disk_are_predicted_as_their_launch_is(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--uki", dist / "uki.efi", "--disk", dist / "disk"]
    launch = describe.of_uki(UKI, describe.gpt_event_of(disks.head()), stub="257.13-1")
    for machine, platform in (
        (["--platform", "gcp-tdx"], Platform.default("gcp-tdx")),
        (["--platform", "azure-tdx"], Platform.default("azure-tdx")),
        (["--platform", "qemu-vtpm", "--boot", "disk"], Platform(boot="disk")),
    ):
        code, document = run(capsys, "predict", *files, *machine)
        assert code == 0
        assert document["events"] == [event.to_json() for event in profile_for(launch, platform).events]
    assert run(capsys, "predict", "--uki", dist / "uki.efi", "--platform", "qemu-vtpm", "--stub", "99")[0] == 3


def test_a_kernel_is_booted_directly(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--kernel", dist / "kernel", "--initrd", dist / "initrd", "--command-line", "quiet"]
    code, document = run(capsys, "predict", *files, "--platform-file", dist / "host.json")
    assert (code, document["inputs"]["boot"]) == (0, "direct")
    kernel = next(event for event in document["events"] if event["role"] == "image:kernel")
    assert kernel["digest"] == pe.authenticode(KERNEL).sha384.hex()
    options = next(event for event in document["events"] if event["role"] == "load-options")
    assert options["digest"] == Digests.of("quiet initrd=initrd\0".encode("utf-16-le")).sha384.hex()


def endorsement(*mrtds: tuple[int, bytes]) -> bytes:
    measured = [bytes_field(2, message(number(1, gib), bytes_field(3, value))) for gib, value in mrtds]
    golden = message(bytes_field(4, b"certificate"), bytes_field(5, b"f" * 48), bytes_field(8, message(*measured)))
    return message(bytes_field(1, golden), bytes_field(2, b"signature"))


def test_an_endorsement_gives_the_mrtds_of_its_memory(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "e").write_bytes(endorsement((16, b"1" * 48), (32, b"2" * 48)))
    _, document = run(capsys, "predict", dist, "--platform", "gcp-tdx", "--endorsement", dist / "e")
    assert document["registers"]["mrtd"] == (b"1" * 48).hex()
    assert document["rules"]["mrtd"]["source"] == "endorsed"
    code, document = run(
        capsys,
        "predict",
        dist,
        "--platform",
        "gcp-tdx",
        "--machine-type",
        "c3-standard-22",
        "--endorsement",
        dist / "e",
    )
    assert (code, document["error"]["message"]) == (2, "the endorsement has no MRTD for 88 GiB of memory")
    both = ["--platform", "gcp-tdx", "--endorsement", dist / "e", "--firmware", dist / "firmware.fd"]
    code, document = run(capsys, "predict", dist, *both)
    assert (code, "is for another firmware" in document["error"]["message"]) == (3, True)
    (dist / "e").write_bytes(endorsement((0, mrtd(FIRMWARE, tdvf.parse(FIRMWARE)))))
    assert run(capsys, "predict", dist, *both)[1]["rules"]["mrtd"]["source"] == "computed"
    (dist / "e").write_bytes(b"\xff")
    assert run(capsys, "predict", dist, "--platform", "gcp-tdx", "--endorsement", dist / "e")[0] == 3


def test_what_weakens_is_said_on_stderr(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(dist), "--platform", "gcp-tdx", "--insecure-unmeasured-acpi"]) == 0
    assert "warning: gcp-tdx: insecure_unmeasured_acpi" in capsys.readouterr().err


def test_a_kernels_digest_is_said_to_be_of_what_the_firmware_gets(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = ["--platform-file", str(dist / "host.json"), "--boot", "direct", "--vmm-version", "8.2.2"]
    code, document = run(capsys, "predict", dist, *direct)
    assert (code, "is of a UKI" in document["error"]["message"]) == (3, True)
    bare = replace(LAUNCH, stub="", sections=(), uki_authenticode=None, uki_digests=None)
    (dist / "launch.json").write_text(bare.to_text())
    assert main(["predict", str(dist), *direct, "--registers"]) == 0
    assert "rewrites the kernel's header, so its digest must be that of the result" in capsys.readouterr().err


def test_a_uki_says_which_build_it_is_or_is_none(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["predict", "--uki", dist / "uki.efi", "--platform", "qemu-vtpm"]
    code, document = run(capsys, *asked, "--measurements", dist / "m.json")
    assert (code, "needs a build" in document["error"]["message"]) == (2, True)
    assert run(capsys, *asked)[1]["buildId"] is None
    release = f'ID=pluto\nBUILD_ID="{"ab" * 32}"\nVARIANT_ID="debug"\n'.encode()
    parts = [(".osrel", release), (".cmdline", b"x"), (".initrd", b"i"), (".linux", KERNEL), (".sdmagic", MAGIC)]
    (dist / "uki.efi").write_bytes(image(parts, headers=0x600))
    code, document = run(capsys, *asked, "--measurements", dist / "m.json")
    assert (code, document["buildId"], document["flavour"]) == (0, "ab" * 32, "debug")
    assert Measurements.parse((dist / "m.json").read_bytes()).flavour == "debug"


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["{}", "--uki", "{}/uki.efi", "--platform", "qemu-vtpm"], 2, "both launch and uki say what is booted"),
        (["--uki", "{}/uki.efi", "--kernel", "{}/kernel", "--platform", "qemu-vtpm"], 2, "both uki and kernel"),
        (["--platform", "qemu-vtpm", "--disk", "{}/disk"], 2, "--disk goes with --uki"),
        (["{}", "--platform", "qemu-vtpm", "--stub", "999"], 2, "--stub goes with --uki"),
        (["--platform", "qemu-vtpm", "--command-line", "quiet"], 2, "--command-line goes with --kernel"),
        (["--kernel", "{}/uki.efi", "--platform", "qemu-vtpm"], 3, "is a UKI"),
        (["--platform", "qemu-vtpm", "--measurements", "{}/m"], 2, "--measurements needs a build"),
        (["--uki", "{}/kernel", "--platform", "qemu-vtpm"], 3, "does not say which systemd-stub"),
        (["--uki", "{}/uki.efi", "--disk", "{}/kernel", "--platform", "gcp-tdx"], 3, "GPT"),
        (["--uki", "{}/uki.efi", "--platform", "gcp-tdx"], 3, "has no disk"),
        (["{}", "--platform-file", "{}/host.json", "--vmm-version", "new"], 2, "does not begin with a number"),
        (["{}", "--platform", "azure-tdx", "--boot", "direct"], 2, "boots from a disk"),
        (["{}", "--platform", "qemu-tdx", "--endorsement", "{}/initrd"], 3, "launch endorsement"),
        (["{}", "--platform", "qemu-tdx", "--endorsement", "{}/endorsement"], 2, "is for gcp-tdx"),
        (["{}", "--platform", "qemu-vtpm", "--edk2-generation", "2025"], 2, "not a stable tag"),
        (["{}", "--platform", "qemu-tdx", "--firmware", "{}/initrd"], 3, "firmware"),
    ],
)
def test_what_does_not_go_together_is_refused(
    dist: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, problem: str
) -> None:
    (dist / "endorsement").write_bytes(endorsement((0, b"1" * 48)))
    found, document = run(capsys, "predict", *(argument.format(dist) for argument in arguments))
    assert (found, problem in document["error"]["message"]) == (code, True), document
