"""Clients of other people's making against the whole notary: outer TLS, upgrade, appraisal by a command, a proof."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notary.protocol.strangers import BROWSER, node, run, stranger
from pluto_notary.cli import main
from pluto_notary.manifest import Manifest
from simulators.notary import sites, today, whole
from simulators.notary.certificates import Authority
from simulators.notary.manifests import PRICE
from simulators.notary.today import Folder
from simulators.trust_domains import other

pytestmark = pytest.mark.interop

HOST = "shop.example"
NONCE = "a0" * 32
RECIPIENT = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
MANIFEST: dict[str, Any] = {
    "manifestVersion": "2",
    "request": {
        "method": "GET",
        "url": f"https://{HOST}/item/7",
        "headers": {"authorization": "<% token %>"},
        "vars": {"token": {"description": "", "pattern": "^[a-z]{4}$"}},
    },
    "response": PRICE,
}
DIGEST = Manifest.parse(json.dumps(MANIFEST).encode()).digest().hex()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[sites.Site]:
    page = sites.page(b'{"price":"12.50"}', ("content-type", "application/json"))
    with sites.Site(authority.issue(HOST), page) as site:
        yield site


@pytest.fixture(scope="module")
def notary(authority: Authority, site: sites.Site) -> Iterator[whole.Running]:
    with today.running(authority, {HOST: site}) as notary:
        yield notary


def job(port: int, **more: Any) -> dict[str, Any]:
    fetch = {
        "manifest": MANIFEST,
        "variables": {"token": "abcd"},
        "recipient": RECIPIENT,
        "chainId": 8453,
        "contract": RECIPIENT,
        "nonce": NONCE,
        "reveal": "values",
        "legacy": False,
    }
    return {
        "host": "127.0.0.1",
        "port": port,
        "outer": "tls",
        "upgrade": "websocket",
        "query": f"target_host={HOST}&target_port=443",
        "nonce": secrets.token_hex(32),
        "manifestDigest": DIGEST,
        "fresh": False,
        "appraise": None,
        "insecure_accept_any": False,
        "fetch": fetch,
        "cut": 0,
        **more,
    }


def appraising(folder: Folder) -> list[str]:
    """The command of docs/protocol.md, section 7."""
    return [sys.executable, "-m", "pluto_notary.cli", "appraise", "/dev/stdin", *folder.accepting]


def accepted(proof: Any, folder: Folder, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `verify-proof` shows of a stranger's proof, which it must accept."""
    (folder.folder / "manifest.json").write_text(json.dumps(MANIFEST))
    path = folder.write("proof.json", json.dumps(proof))
    asked = ["--manifest", str(folder.folder / "manifest.json"), "--nonce", NONCE, "--recipient", RECIPIENT]
    asked += ["--chain-id", "8453", "--contract", RECIPIENT, "--max-age", "600"]
    code = main(["verify-proof", str(path), *folder.accepting, *asked, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    return json.loads(out)


@pytest.mark.parametrize("upgrade", ["websocket", "tcp"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_stranger_appraises_the_notary_and_gets_a_proof(
    notary: whole.Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], upgrade: str, fresh: bool
) -> None:
    folder = Folder(tmp_path, notary)
    done = stranger(job(notary.port, upgrade=upgrade, fresh=fresh, appraise=appraising(folder)))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["closed"], result["steps"][-1]) == (True, "signing")
    verdict = accepted(result["proof"], folder, capsys)
    assert verdict["values"] == [{"id": "price", "json": '"12.50"'}]
    assert verdict["statement"]["session"] == f"0x{result['sessionId']}"


@pytest.mark.parametrize("fresh", [False, True])
def test_a_stranger_asks_nothing_of_a_notary_that_the_command_refuses(
    authority: Authority, site: sites.Site, tmp_path: Path, fresh: bool
) -> None:
    asked, lie = len(site.requests), today.domain(edits=(other("initrd"),))
    with today.running(authority, {HOST: site}, provider=whole.TdProvider(lie)) as notary:
        done = stranger(job(notary.port, fresh=fresh, appraise=appraising(Folder(tmp_path, notary))))
    assert done.returncode == 1
    assert "REFUSED" in done.stderr
    assert len(site.requests) == asked


def test_a_stranger_reads_why_there_is_no_proof(notary: whole.Running, tmp_path: Path) -> None:
    asked = job(notary.port, appraise=appraising(Folder(tmp_path, notary)), query="target_host=other.example")
    done = stranger(asked)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "target"


def test_a_browser_shaped_client_gets_a_proof(
    notary: whole.Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [node(), "--experimental-websocket", "--no-warnings", str(BROWSER)]
    # A browser would know the certificate; whose key it is says the evidence, which this client does not appraise.
    done = run(argv, job(notary.port), {**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["closed"], result["steps"][-1]) == (True, "signing")
    accepted(result["proof"], Folder(tmp_path, notary), capsys)


@pytest.mark.parametrize("change", ["ekm", "nonce", "manifest-digest", "key-digest", "fresh"])
def test_the_command_refuses_a_message_about_another_session(
    notary: whole.Running, tmp_path: Path, change: str
) -> None:
    """What the client says of its own session must be what the notary signed and was quoted for."""
    seen, folder = tmp_path / "seen.json", Folder(tmp_path, notary)
    keep = "import json, sys; json.dump([sys.argv[2:], sys.stdin.read()], open(sys.argv[1], 'w'))"
    assert stranger(job(notary.port, fetch=None, appraise=[sys.executable, "-c", keep, str(seen)])).returncode == 0
    options, message = json.loads(seen.read_text())

    def appraised(options: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*appraising(folder), *options], input=message, capture_output=True, text=True, check=False
        )

    honest = appraised(options)
    assert honest.returncode == 0, honest.stderr
    if change == "fresh":
        assert appraised([*options, "--fresh"]).returncode == 4
        return
    options[options.index(f"--{change}") + 1] = "11" * 32
    assert appraised(options).returncode == (5 if change == "key-digest" else 4)
