"""The image boots, is attested, and serves. Every test is one boot."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import ssl
import time
from pathlib import Path

import pytest

from end_to_end import hostile
from pluto_deploy import cli
from pluto_deploy.engine import evidence
from pluto_deploy.engine.target import Address
from pluto_deploy.local import power, processes
from pluto_deploy.local.machine import Machine
from pluto_deploy.local.power import Order
from pluto_deploy.local.state import Record, StateFolder
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.claims import Claims
from pluto_measure.errors import SourceError
from pluto_measure.evidence import Envelope
from pluto_notary.events import Event
from simulators import local_runs
from simulators.tpm_quotes import tpm_evidence


def get(port: int, path: str) -> tuple[int, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(power.HOST, port, timeout=60, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.boot
def test_the_image_is_booted_by_the_command_attested_and_serves(
    dist: Dist, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--state", str(tmp_path), "--json"]
    start = ["local", str(dist.root), "--port", "0", "--timeout", str(hostile.TIMEOUT), "--offline", *words]
    try:
        assert cli.main(start) == 0
        started = json.loads(capsys.readouterr().out)
        folder, port = StateFolder(tmp_path / "local/local/a"), started["port"]
        record = folder.record()
        assert record is not None
        assert (started["appraisal"]["accepted"], started["appraisal"]["profile"]) == (True, "local-uki-kernel")
        assert port != record.port, "clients have a port that was led to the machine after it was attested"

        _it_serves_and_says_which_build_it_is(port, dist)
        _evidence_is_made_for_each_nonce_by_the_same_keys(port, started["keyDigest"])
        _what_it_says_on_the_serial_line_is_of_the_closed_schema(folder)

        # Called again it appraises again, and starts no second machine.
        assert cli.main(start) == 0
        again = json.loads(capsys.readouterr().out)
        assert (again["qemu"], again["keyDigest"]) == (started["qemu"], started["keyDigest"])
        assert not (tmp_path / "local/local/b").exists()

        _without_its_tpm_there_is_no_evidence(record, port, ["local", "--status", *words])
    finally:
        assert cli.main(["local", "--stop", *words]) == 0
    assert hostile.pids_of(tmp_path) == [], "stopping leaves nothing behind"


def _it_serves_and_says_which_build_it_is(port: int, dist: Dist) -> None:
    status, body = get(port, "/health")
    assert (status, json.loads(body)["status"], json.loads(body)["buildId"]) == (200, "ok", dist.launch.build_id)
    assert get(port, "/no/such/path")[0] == 404
    assert get(port, "/v1/evidence?nonce=xyz")[0] == 400


def _evidence_is_made_for_each_nonce_by_the_same_keys(port: int, key: str) -> None:
    nonces = [secrets.token_bytes(16) for _ in range(2)]
    seen = [evidence.fetch(Address(power.HOST, port), nonce, timeout=60) for nonce in nonces]
    assert {one.key_digest.hex() for one in seen} == {key}
    first, second = (Envelope.parse(one.evidence) for one in seen)
    assert [one.claims.nonce for one in (first, second) if isinstance(one.claims, Claims)] == nonces
    assert tpm_evidence(first).ak_public == tpm_evidence(second).ak_public
    assert tpm_evidence(first).quote.registers == tpm_evidence(second).quote.registers


def _what_it_says_on_the_serial_line_is_of_the_closed_schema(folder: StateFolder) -> None:
    said = power.logs(folder)
    assert not [one for one in said if not isinstance(one, Event | str)]
    assert {"started", "config-accepted", "ready", "evidence"} <= {one.name for one in said if isinstance(one, Event)}


def _without_its_tpm_there_is_no_evidence(record: Record, port: int, status: list[str]) -> None:
    """A TPM that is gone is noticed, and the notary says so."""
    os.kill(record.swtpm.pid, signal.SIGKILL)
    while processes.alive(record.swtpm):
        time.sleep(0.05)
    assert cli.main(status) == 6
    with pytest.raises(SourceError):
        evidence.fetch(Address(power.HOST, port), bytes(16), timeout=10)


@pytest.mark.boot
def test_the_image_boots_from_its_disk_and_is_attested(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    started = local_runs.start(hostile.order(dist, boot="disk"), tools, folder)
    assert started.appraisal.accepted


@pytest.mark.more_boots
@pytest.mark.parametrize(
    "machine",
    [Machine(cpus=1, memory=320 << 20), Machine(cpus=4, memory=2 << 30), Machine(boot="disk", cpus=1)],
    ids=["1 vCPU 320 MiB", "4 vCPUs 2 GiB", "disk 1 vCPU"],
)
def test_another_shape_of_machine_is_attested_too(
    machine: Machine, dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    started = local_runs.start(Order(dist, machine, 0, timeout=hostile.TIMEOUT), tools, folder)
    assert started.appraisal.accepted


@pytest.mark.more_boots
def test_the_run_time_configuration_is_in_the_evidence(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    payload = b'{"deployment":"test","version":1}'
    started = local_runs.start(Order(dist, Machine(), 0, payload=payload, timeout=hostile.TIMEOUT), tools, folder)
    assert started.appraisal.accepted
