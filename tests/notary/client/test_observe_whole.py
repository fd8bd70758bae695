"""`prove --mode observe` with a whole notary and sites that OpenSSL serves, to the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from notary.calls import BODY, HOST, Call
from pluto_measure.errors import FormatError, UsageError
from pluto_notary.client.observe import observe
from pluto_notary.client.tls.errors import TlsError
from pluto_notary.commands import prove_site
from pluto_notary.commands.prove_site import site_judge
from pluto_notary.manifest import Manifest
from pluto_notary.statement.proof import Proof
from simulators.notary import sites, today, whole
from simulators.notary.certificates import Authority
from simulators.notary.manifests import PRICE
from simulators.notary.relay import Relay
from simulators.notary.today import Folder

JSON = ("content-type", "application/json")


def manifest(**request: Any) -> Manifest:
    document = {
        "manifestVersion": "2",
        "request": {"method": "GET", "url": f"https://{HOST}/item/7", "headers": {}, **request},
        "response": PRICE,
    }
    return Manifest.parse(json.dumps(document).encode())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def observed(notary: whole.Running, authority: Authority, wanted: Manifest, folder: Path, **how: Any) -> Proof:
    roots = folder / "roots.pem"
    roots.write_text(authority.pem)
    with notary.wire(how.pop("protocol", "websocket")) as (wire, outer):
        return observe(
            wire,
            outer,
            whole.order(wanted, **how),
            wanted.request({}),
            manifest_digest=wanted.digest(),
            nonce=os.urandom(32),
            fresh=False,
            appraise=notary.appraise,
            judge=site_judge(roots, wanted.host),
            random=os.urandom,
            told=lambda _: None,
        )


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY
ACTS: dict[str, Callable[[sites.Visit], None]] = {
    "page": sites.page(BODY, JSON),
    "no goodbye": sites.raw(sites.whole(BODY, JSON), goodbye=False),
    "stays": sites.raw(sites.whole(BODY, JSON), hang=True),
    "chunks": sites.raw(CHUNKED + sites.chunked(BODY[:5], BODY[5:])),
    "ends with the connection": sites.raw(TO_THE_END),
    "large": sites.page(BODY[:-1] + b" " * 3_000_000 + b"}", JSON),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_proof_of_what_a_site_says(
    authority: Authority, tmp_path: Path, act: Callable[[sites.Visit], None], version: ssl.TLSVersion
) -> None:
    identity = authority.issue(HOST)
    with (
        sites.Site(identity, act, versions=(version, version)) as site,
        whole.running(authority, {HOST: site}) as notary,
    ):
        proof = observed(notary, authority, manifest(), tmp_path)
        assert len(site.requests) == 1
    assert (proof.statement.mode, proof.statement.host) == ("observe", HOST)
    assert proof.statement.certificate == hashlib.sha256(identity.der).digest()
    assert [(one.id, one.text) for one in proof.openings] == [("price", '"12.50"')]


def test_a_site_that_asks_for_another_hello(authority: Authority, tmp_path: Path) -> None:
    with sites.Site(authority.issue(HOST), sites.page(BODY, JSON)) as site:
        assert site._tls is not None
        site._tls.set_ecdh_curve("prime256v1")
        with whole.running(authority, {HOST: site}) as notary:
            assert observed(notary, authority, manifest(), tmp_path).statement.mode == "observe"


@pytest.mark.parametrize("protocol", ["websocket", "tcp"])
def test_a_request_with_a_body(authority: Authority, tmp_path: Path, protocol: str) -> None:
    wanted = manifest(method="POST", headers={"content-type": "application/json"}, body={"item": "x" * 100_000})
    with (
        sites.Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}) as notary,
    ):
        proof = observed(notary, authority, wanted, tmp_path, protocol=protocol, reveal="commitments")
        assert json.loads(site.requests[0].split(b"\r\n\r\n", 1)[1]) == {"item": "x" * 100_000}
    assert not proof.openings[0].is_revealed


def test_a_site_of_another_authority_is_refused_here_before_it_hears_anything(
    authority: Authority, tmp_path: Path
) -> None:
    """The notary would refuse it, too, but it sees nothing before the secret."""
    with (
        sites.Site(Authority().issue(HOST), sites.page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}) as notary,
    ):
        with pytest.raises(TlsError, match="leads to no known root"):
            observed(notary, authority, manifest(), tmp_path)
        assert site.requests == []
        notary.soon(lambda: bool(notary.codes) or "pluto: proof\n" not in notary.lines)


# The command.


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[sites.Site]:
    with sites.Site(authority.issue(HOST), sites.page(BODY, JSON)) as site:
        yield site


@pytest.fixture(scope="module")
def notary(authority: Authority, site: sites.Site) -> Iterator[whole.Running]:
    with today.running(authority, {HOST: site}) as notary:
        yield notary


@pytest.fixture
def call(notary: whole.Running, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    folder = Folder(tmp_path, notary)
    folder.write("roots.pem", authority.pem)
    return Call(folder, capsys)


def observing(call: Call, *more: str, port: int | None = None) -> tuple[int, str, str]:
    return call.accepted("--mode", "observe", "--roots", str(call.folder.folder / "roots.pem"), *more, port=port)


@pytest.mark.parametrize("more", [[], ["--fresh"], ["--protocol", "tcp"], ["--reveal", "commitments"]])
def test_a_proof_is_written_and_only_who_asks_for_its_mode_accepts_it(
    call: Call, site: sites.Site, more: list[str]
) -> None:
    before = len(site.requests)
    code, out, err = observing(call, *more)
    assert code == 0, err
    assert len(site.requests) == before + 1
    lines = out.splitlines()
    assert lines[0].startswith(f"statement of mode observe about {HOST}, ")
    assert '  price = "12.50"' in lines
    shown = shlex.split(lines[-1].removeprefix("to verify it: "))
    assert shown[:2] == ["pluto-notary", "verify-proof"]
    code, out, err = call(*shown[1:], "--json")
    assert (code, json.loads(out)["accepted"]) == (0, True), err
    at = shown.index("--mode")
    assert shown[at + 1] == "observe"
    code, out, err = call(*shown[1:at], *shown[at + 2 :], "--json")
    assert (code, json.loads(out)["accepted"]) == (5, False)
    refused = {one["id"] for one in json.loads(out)["findings"] if one["verdict"] == "fail"}
    assert refused == {"statement.mode"}


def test_a_connection_that_is_cut_anywhere_gives_no_proof(call: Call) -> None:
    with Relay(call.folder.notary.port) as whole_way:
        assert observing(call, port=whole_way.port)[0] == 0
    call.out.unlink()
    for share in range(1, 20):
        # The last bytes are those that say goodbye, and nothing waits for them.
        with Relay(call.folder.notary.port, cut_after=(whole_way.passed - 200) * share // 20) as relay:
            assert observing(call, port=relay.port)[0] == 6, share
        assert relay.connections == 1


@pytest.mark.parametrize("after", [6000, 13000, 14500])
def test_a_notary_that_falls_silent_is_left_in_time(call: Call, after: int) -> None:
    with Relay(call.folder.notary.port, stall_after=after) as relay:
        code, _, err = observing(call, "--timeout", "1.5", port=relay.port)
    assert (code, "took too long" in err) == (6, True)


def test_a_site_that_the_roots_do_not_know(call: Call, site: sites.Site) -> None:
    before = len(site.requests)
    call.folder.write("roots.pem", Authority().pem)
    code, out, err = observing(call)
    assert (code, out) == (6, "")
    assert "TLS with the web site: the certificate is for another name, or leads to no known root" in err
    assert len(site.requests) == before


def test_roots_that_are_none(call: Call) -> None:
    call.folder.write("roots.pem", "nothing")
    code, _, err = observing(call)
    assert (code, "roots" in err) == (3, True)


def test_the_systems_roots_are_those_without_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(Authority().pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    judge = site_judge(None, HOST)
    with pytest.raises(TlsError, match="no known root"):
        judge((Authority().issue(HOST).der,))
    bundle.write_text("nothing")
    with pytest.raises(FormatError, match="roots"):
        site_judge(None, HOST)
    monkeypatch.setattr(prove_site, "_BUNDLES", ())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(UsageError, match="no bundle of roots"):
        site_judge(None, HOST)
