"""`pluto-deploy host check` and `host test` as a user calls them, on namespaced hosts with pretended hardware."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.commands import host as host_command
from pluto_deploy.metal.check import collect
from pluto_deploy.metal.connection import Answer, Connection
from pluto_deploy.metal.login import Login
from pluto_measure import command
from pluto_measure.errors import FormatError, SourceError
from simulators.host_trees import GOOD
from simulators.metal import releases, tdx
from simulators.metal.host import Host
from simulators.metal.tdx import Tdx

LOCKED, ALGORITHM, SEAM = 1 << 10, 1 << 48, 1 << 15
REGISTERS = {
    **(Tdx().registers or {}), tdx.SEAMRR: 1 << 11 | LOCKED, tdx.TME_ACTIVATE: 0b11 | ALGORITHM, 0xFE: SEAM,
}  # fmt: skip
GOOD_HARDWARE = Tdx(registers=REGISTERS)
# What a bare system lacks until it is prepared.
UNPREPARED = {
    "sgx.provision", "quotes.service", "quotes.listener", "quotes.folder", "quotes.answer",
    "provisioning.configuration",
}  # fmt: skip


def called(*argv: str) -> int:
    """The command alone, in the frame of all commands."""
    top = command.parser("pluto-deploy", "")
    host_command.add(top.add_subparsers(required=True))
    return command.run(top, ["host", *argv])


@dataclass
class Pretended(Connection):
    """A connection to a host that answers one thing."""

    login: Login = field(default_factory=lambda: Login("metal"))
    folder: Path = Path("/")
    answer: Answer = field(default_factory=lambda: Answer(0, b"", ""))
    asked: list[tuple[Sequence[str], bytes]] = field(default_factory=list)

    def run(
        self, argv: Sequence[str], *, data: bytes = b"", root: bool = True, timeout: float = 120.0, most: int = 1
    ) -> Answer:
        del timeout, most
        assert root
        self.asked.append((argv, data))
        return self.answer


def test_the_probe_is_sent_as_it_is_and_run_isolated() -> None:
    connection = Pretended(answer=Answer(0, b"Welcome!\n" + json.dumps(GOOD).encode() + b"\n", ""))
    assert collect.look(connection).kernel.kvm_tdx
    ((argv, data),) = connection.asked
    assert argv == ["python3", "-I", "-"]
    assert data == Path(collect.__file__).with_name("probe.py").read_bytes()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(127, b"", "sh: python3: not found"), SourceError, "no python3"),
        (Answer(1, b"", "Traceback\nValueError: x"), SourceError, "ValueError: x"),
        (Answer(142, b"", ""), SourceError, "exit code 142"),
        (Answer(0, b"", ""), SourceError, "exit code 0"),
        (Answer(0, b"Welcome!\n", ""), FormatError, "not JSON"),
    ],
)
def test_a_host_that_does_not_answer_is_told_so(answer: Answer, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        collect.look(Pretended(answer=answer))


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["check"], 2),
        (["check", "-oProxyCommand=x"], 2),
        (["check", "a@b:0"], 2),
        (["check", "metal", "--profile", "ovh"], 2),
        (["test", "metal", "--profile", "hetzner"], 2),
        (["look", "metal"], 2),
    ],
)
def test_wrong_calls_are_told_so(argv: list[str], code: int) -> None:
    assert called(*argv) == code


@pytest.mark.interop
def test_a_host_that_is_not_there_is_somebody_elses_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("no peer: there is no OpenSSH here")
    known = tmp_path / "known_hosts"
    known.touch()
    for action in ("check", "test"):
        assert called(action, "nobody@127.0.0.1:9", "--known-hosts", str(known), "--json") == 6
        assert json.loads(capsys.readouterr().out)["error"]["kind"] == "SourceError"


# On namespaced hosts


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs `host check --json` on a host: exit code and document."""

    def run(host: Host, *words: str, user: str = "root", known_hosts: Path | None = None) -> tuple[int, dict[str, Any]]:
        known = str(known_hosts or host.known_hosts)
        login = [f"{user}@{host.address}", "--key", str(host.key), "--known-hosts", known]
        capsys.readouterr()
        code = called("check", *login, *words, "--json")
        return code, json.loads(capsys.readouterr().out)

    return run


Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def host(metal_rootfs: Path, metal_login: Any) -> Any:
    with Host(metal_rootfs, metal_login, tdx=GOOD_HARDWARE, release=releases.UBUNTU_26_04) as started:
        yield started


def failed(document: dict[str, Any]) -> set[str]:
    return {one["id"] for one in document["findings"] if one["verdict"] == "fail"}


@pytest.mark.root
@pytest.mark.parametrize("user", ["root", "operator"])
def test_a_capable_host_that_is_not_prepared(host: Host, check: Check, user: str) -> None:
    host.pretend(GOOD_HARDWARE)
    code, document = check(host, user=user)
    assert (code, document["readiness"], document["refusedBy"]) == (5, "preparable", [])
    assert failed(document) == UNPREPARED
    assert {one["fixedBy"] for one in document["findings"] if one["verdict"] == "fail"} == {"prepare"}
    assert document["host"] == f"{user}@{host.address}"


HARDWARE: list[tuple[str, str, str, dict[Any, Any]]] = [
    ("processor.model", "hardware", "another machine", {"model": 85, "flags": ("vmx",), "kernel_log": tdx.BIOS_OFF}),
    ("firmware.tdx", "bios", "in this order", {"flags": ("vmx", "sgx", "sgx_lc"), "kernel_log": tdx.BIOS_OFF}),
    ("firmware.tme", "bios", "TME on", {tdx.TME_ACTIVATE: 0}),
    ("firmware.keys", "bios", "key split", {tdx.KEY_PARTITIONING: 1 << 32 | 63}),
    ("firmware.seam", "bios", "SEAM loader", {tdx.SEAMRR: 0}),
    ("processor.production", "hardware", "another machine", {tdx.PLATFORM_INFO: 1 << 27}),
    ("kernel.release", "operator", "Ubuntu 26.04", {"kernel": "6.8.0-60-generic"}),
    ("kernel.options", "operator", "Ubuntu 26.04", {"kernel_config": ("# CONFIG_INTEL_TDX_HOST is not set",)}),
    ("tdx.module", "bios", "key split", {"parameters": {"tdx": "N"}, "kernel_log": tdx.FEW_KEYS}),
    ("sgx.enclave", "bios", "SGX on", {"devices": ("kvm", "vhost-net", "sgx_provision")}),
]


@pytest.mark.root
@pytest.mark.parametrize(("reason", "fixed_by", "action", "change"), HARDWARE, ids=[case[0] for case in HARDWARE])
def test_a_host_that_cannot_is_refused_with_the_reason(
    host: Host, check: Check, reason: str, fixed_by: str, action: str, change: dict[Any, Any]
) -> None:
    registers = {number: value for number, value in change.items() if isinstance(number, int)}
    fields = {name: value for name, value in change.items() if isinstance(name, str)}
    if "kernel_log" in fields and "parameters" not in fields:
        fields["parameters"] = {"tdx": "N", "sgx": "Y"}
        registers |= {tdx.KEY_PARTITIONING: 0, tdx.SEAMRR: 0, 0xFE: 0}
    host.pretend(replace(GOOD_HARDWARE, registers={**REGISTERS, **registers}, **fields))
    code, document = check(host)
    assert (code, document["readiness"]) == (5, "refused")
    assert reason in document["refusedBy"]
    (finding,) = [one for one in document["findings"] if one["id"] == reason]
    assert finding["fixedBy"] == fixed_by
    assert action in finding["action"]


@pytest.mark.root
def test_hibernation_and_a_missing_parameter_are_prepares_work(host: Host, check: Check) -> None:
    line = "BOOT_IMAGE=/vmlinuz root=/dev/md2 ro"
    host.pretend(
        replace(
            GOOD_HARDWARE,
            command_line=line,
            parameters={"tdx": "N"},
            kernel_log=tdx.HIBERNATION,
            flags=("vmx", "sgx", "sgx_lc"),
        )
    )
    code, document = check(host)
    assert (code, document["readiness"]) == (5, "preparable")
    assert failed(document) == UNPREPARED | {"kernel.hibernation", "kernel.parameter", "tdx.module", "tdx.kvm"}


@pytest.mark.root
def test_a_reported_server_of_hetzners_is_refused_with_its_source(host: Host, check: Check) -> None:
    host.pretend(
        replace(
            GOOD_HARDWARE, model=143, model_name="Intel(R) Xeon(R) Gold 6438Y+", flags=("vmx", "sgx", "sgx_lc"),
            registers={tdx.PLATFORM_INFO: 0}, kernel_log=tdx.BIOS_OFF, parameters={"tdx": "N"},
        )
    )  # fmt: skip
    code, document = check(host, "--profile", "hetzner")
    assert (code, document["profile"]) == (5, "hetzner")
    assert "profile.model" in document["refusedBy"]
    (finding,) = [one for one in document["findings"] if one["id"] == "profile.model"]
    assert "issue 398" in finding["text"]
    assert "confirmed: no" in finding["text"]


@pytest.mark.root
def test_an_older_server_is_refused_by_its_processor(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.pretend(Tdx.absent())
    words = [f"root@{host.address}", "--key", str(host.key), "--known-hosts", str(host.known_hosts)]
    assert called("check", *words) == 5
    first = capsys.readouterr().out.splitlines()[0]
    assert "refused" in first
    assert "of no generation with TDX" in first


@pytest.mark.root
def test_a_changed_host_key_is_not_connected_to(host: Host, check: Check) -> None:
    code, document = check(host, known_hosts=host.wrong_known_hosts())
    assert code == 6
    assert "key is not the one" in document["error"]["message"]


@pytest.mark.root
def test_a_host_that_was_never_prepared_fails_the_suite(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.pretend(GOOD_HARDWARE)
    words = ["--key", str(host.key), "--known-hosts", str(host.known_hosts), "--json"]
    for user in ("root", "operator"):
        capsys.readouterr()
        assert called("test", f"{user}@{host.address}", *words) == 5
        document = json.loads(capsys.readouterr().out)
        assert document["error"]["kind"] == "RefusedError"
        assert "was not prepared" in document["error"]["message"]
