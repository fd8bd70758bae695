"""The container's two processes, for real: who may ask whom, what the notary has given up, and how both end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pluto_notary.evidence import space
from pluto_notary.evidence.confidential_space import nonce_of
from pluto_notary.evidence.requests import KeyRequest
from simulators.notary.evidence import STATEMENT_KEY
from simulators.notary.teeserver import TeeServer

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
PROGRAM = """
import asyncio, json, os, signal, socket, sys, time
sys.path[:0] = {paths!r}
from datetime import UTC, datetime
from pluto_notary.errors import EvidenceError
from pluto_notary.evidence import space
from pluto_notary.evidence.client import HelperProvider
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import KeyRequest, NodeRequest

def status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)

def reaches(path):
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(path)
        return True
    except OSError:
        return False

async def asked(address):
    provider = HelperProvider(address, seconds=10)
    issue = Issue(0, datetime(2026, 11, 20, tzinfo=UTC), bytes(32))
    try:
        envelope = await provider.evidence(KeyRequest({key!r}), issue)
    except EvidenceError as error:
        return error.code, None
    return envelope, await provider.legacy(b"\\xe3" * 32)

def notary(address):
    {before}
    found = status()
    envelope, legacy = asyncio.run(asked(address))
    with open(1, "w", closefd=False) as file:
        json.dump({{
            "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
            "capabilities": [found[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
            "launcher": reaches({launcher!r}), "envelope": envelope, "legacy": legacy, "parent": os.getppid(),
        }}, file)
    {after}
    return 7

sys.exit(space.run(notary, user={user}, group={user}, launcher_socket={launcher!r}))
"""


def started(launcher: str, *, before: str = "pass", after: str = "pass") -> subprocess.Popen[bytes]:
    paths = [str(ROOT / "notary"), str(ROOT / "measure")]
    code = PROGRAM.format(paths=paths, key=STATEMENT_KEY, launcher=launcher, user=NOBODY, before=before, after=after)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome(process: subprocess.Popen[bytes]) -> tuple[int, Any, str]:
    out, error = process.communicate(timeout=60)
    return process.returncode, json.loads(out) if out else None, error.decode()


def check_evidence(said: Any) -> None:
    envelope = said["envelope"]
    assert (envelope["type"], envelope["platform"]) == ("confidential-space", "gcp-confidential-space")
    text = envelope["evidence"]["token"].split(".")[1]
    payload = json.loads(base64.urlsafe_b64decode(text + "=="))
    bound = KeyRequest(STATEMENT_KEY).claims(space.EMPTY_DIGEST, bytes(32)).binding()
    assert payload["eat_nonce"] == nonce_of(bound)
    assert said["legacy"].count(".") == 2


@pytest.mark.skipif(os.getuid() == 0, reason="as root there is something to give up: the next test")
def test_the_notary_asks_the_helper_and_its_exit_code_is_the_containers(tmp_path: Path) -> None:
    with TeeServer(tmp_path / "t.sock") as server:
        code, said, error = outcome(started(server.path))
        assert (code, error) == (7, "")
        check_evidence(said)


@pytest.mark.root
def test_weakness_05_the_notary_has_no_privilege_left_and_cannot_reach_the_launcher(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.owner() == "root" and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    with TeeServer(tmp_path / "t.sock") as server:
        code, said, error = outcome(started(server.path))
        assert (code, error) == (7, "")
        check_evidence(said)
        assert (said["uids"], said["gids"], said["groups"]) == ([NOBODY] * 3, [NOBODY] * 3, [])
        assert {int(mask, 16) for mask in said["capabilities"]} == {0}
        assert said["launcher"] is False


def test_without_a_launcher_the_notary_runs_and_there_is_no_evidence(tmp_path: Path) -> None:
    code, said, _ = outcome(started(str(tmp_path / "nobody.sock")))
    assert (code, said["envelope"]) == (7, "device")


def test_an_exception_of_the_notary_ends_both_without_its_text(tmp_path: Path) -> None:
    code, said, error = outcome(started(str(tmp_path / "x"), before="raise ValueError('client text')"))
    assert (code, said, error) == (1, None, "pluto-notary: error: ValueError\n")


def test_a_notary_that_is_killed_ends_the_container(tmp_path: Path) -> None:
    code, _, _ = outcome(started(str(tmp_path / "x"), before="os.kill(os.getpid(), signal.SIGKILL)"))
    assert code == 128 + signal.SIGKILL


def test_a_signal_to_process_1_reaches_the_notary(tmp_path: Path) -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); print('{}', flush=True); time.sleep(50)"
    process = started(str(tmp_path / "x"), before=before)
    assert process.stdout is not None
    assert process.stdout.readline() == b"{}\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.communicate()


def test_only_the_notarys_user_is_answered() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert space.admitted(ours, os.getuid())
        assert not space.admitted(ours, os.getuid() + 1)


def test_the_configuration_of_a_container_is_nothing() -> None:
    assert hashlib.sha256(b"").digest() == space.EMPTY_DIGEST
