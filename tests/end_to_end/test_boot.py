"""The image boots, is attested, and serves. Every test is one boot."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import ssl
import time

import pytest

from end_to_end import hostile
from pluto_deploy.local import engine, evidence, processes
from pluto_deploy.local.engine import Order
from pluto_deploy.local.machine import Machine
from pluto_deploy.local.state import StateFolder
from pluto_deploy.progress import Silent
from pluto_image.artifact import Dist
from pluto_image.tools import ToolsTree
from pluto_measure.errors import SourceError, UsageError
from pluto_measure.evidence import Envelope
from pluto_notary.events import Event
from simulators.tpm_quotes import tpm_evidence


def get(port: int, path: str) -> tuple[int, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(engine.HOST, port, timeout=60, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.boot
def test_the_image_boots_from_the_kernel_option_is_attested_and_serves(
    dist: Dist, tools: ToolsTree, folder: StateFolder
) -> None:
    started = engine.start(hostile.order(dist), tools, folder, Silent())
    port = started.record.port
    assert started.appraisal.accepted
    assert started.appraisal.profile == engine.PROFILE

    # It serves, and says which build it is.
    status, body = get(port, "/health")
    assert (status, json.loads(body)["status"], json.loads(body)["buildId"]) == (200, "ok", dist.launch.build_id)
    assert get(port, "/no/such/path")[0] == 404
    assert get(port, "/v1/evidence?nonce=xyz")[0] == 400

    # Evidence is made for each nonce, by the same key, and a nonce of another asker does not pass.
    nonce = secrets.token_bytes(16)
    seen = evidence.fetch(engine.HOST, port, nonce, timeout=60)
    assert seen.key_digest == started.seen.key_digest
    again, first = Envelope.parse(seen.evidence), Envelope.parse(started.seen.evidence)
    assert again.claims.nonce == nonce
    assert tpm_evidence(again).ak_public == tpm_evidence(first).ak_public
    assert tpm_evidence(again).quote.registers == tpm_evidence(first).quote.registers

    # What it says on the serial line is of the closed schema.
    said = engine.logs(folder)
    names = [one.name for one in said if isinstance(one, Event)]
    assert not [one for one in said if not isinstance(one, Event | str)]
    assert {"started", "config-accepted", "ready", "evidence"} <= set(names)

    # No second machine beside it.
    with pytest.raises(UsageError, match="already"):
        engine.start(hostile.order(dist), tools, folder, Silent())

    # A TPM that is gone is noticed, the notary says so, and stopping leaves nothing behind.
    os.kill(started.record.swtpm.pid, signal.SIGKILL)
    while processes.alive(started.record.swtpm):
        time.sleep(0.05)
    assert engine.status(folder).state == "broken"
    with pytest.raises(SourceError):
        evidence.fetch(engine.HOST, port, nonce, timeout=10)
    assert engine.stop(folder) is not None
    assert hostile.pids_of(folder.root) == []


@pytest.mark.boot
def test_the_image_boots_from_its_disk_and_is_attested(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    started = engine.start(hostile.order(dist, boot="disk"), tools, folder, Silent())
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
    started = engine.start(Order(dist, machine, 0, timeout=hostile.TIMEOUT), tools, folder, Silent())
    assert started.appraisal.accepted


@pytest.mark.more_boots
def test_the_run_time_configuration_is_in_the_evidence(dist: Dist, tools: ToolsTree, folder: StateFolder) -> None:
    payload = b'{"deployment":"test","version":1}'
    started = engine.start(Order(dist, Machine(), 0, payload=payload, timeout=hostile.TIMEOUT), tools, folder, Silent())
    assert started.appraisal.accepted
