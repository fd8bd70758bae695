"""Weaknesses of an earlier notary that only a whole one can have, by the numbers of docs/weaknesses.md."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.appraise import ChannelExpected, verify_expected
from pluto_measure.errors import PlutoError, RefusedError, SourceError
from pluto_measure.policy.strict import STRICT
from pluto_measure.record import replace
from pluto_notary.client.prove import RefusedByNotaryError, Shown, prove
from pluto_notary.client.wire import Notary, connected
from pluto_notary.limits import Limits
from pluto_notary.manifest import Manifest
from pluto_notary.protocol.upgrade import Upgrading
from pluto_notary.statement.keys import Signature, SigningKey
from pluto_notary.statement.proof import Proof
from simulators.intel import NOW
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.manifests import PRICE
from simulators.notary.relay import Relay
from simulators.trust_domains import REFERENCE

ROOT = Path(__file__).resolve().parents[2]
HOST, OTHER_HOST = "shop.example", "elsewhere.example"
SECRET = "abcd-secret-1234"
ITEMS = {f"/item/{number}": json.dumps({"price": str(number)}).encode() for number in range(4)}


def answer(visit: sites.Visit) -> None:
    """Each item has its own price; the answer to all else lies."""
    path = visit.read_request().split(b" ")[1].decode()
    body = ITEMS.get(path, b'{"price":7}')
    visit.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    visit.goodbye()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def site(authority: Authority) -> Iterator[sites.Site]:
    with sites.Site(authority.issue(HOST), answer) as site:
        yield site


@pytest.fixture(scope="module")
def notary(authority: Authority, site: sites.Site) -> Iterator[whole.Running]:
    # Whoever answers for the other name has this site's certificate, as a prover's own server would.
    with whole.running(authority, {HOST: site, OTHER_HOST: site}) as notary:
        yield notary


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the notary's keys sign from now on."""
    digests: list[bytes] = []
    sign = SigningKey.sign

    def noted(key: SigningKey, digest: bytes) -> Signature:
        digests.append(digest)
        return sign(key, digest)

    monkeypatch.setattr(SigningKey, "sign", noted)
    return digests


def manifest(path: str = "/item/1", host: str = HOST, **response: Any) -> Manifest:
    return Manifest.parse(json.dumps(document(path, host, **response)).encode())


def document(path: str = "/item/1", host: str = HOST, **response: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"method": "GET", "url": f"https://{host}{path}", "headers": {"x-token": "<% token %>"}}
    request["vars"] = {"token": {"description": "", "pattern": "^[a-z0-9-]{16}$"}}
    return {"manifestVersion": "2", "request": request, "response": {**PRICE, **response}}


def ask(notary: whole.Running, wanted: Manifest, **changes: Any) -> Proof:
    return notary.prove(wanted, **{"variables": (("token", SECRET),), **changes})


def refusal(notary: whole.Running, wanted: Manifest, **changes: Any) -> str:
    with pytest.raises(RefusedByNotaryError) as caught:
        ask(notary, wanted, **changes)
    return caught.value.code


def proxied(notary: whole.Running, order: dict[str, Any]) -> tuple[int, Any]:
    """The answer of /v1/proxy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with closing(http.client.HTTPSConnection("127.0.0.1", notary.port, timeout=30, context=context)) as connection:
        connection.request("POST", "/v1/proxy", json.dumps(order), {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def order(wanted: dict[str, Any]) -> dict[str, Any]:
    nobody = "0x" + "00" * 20
    fixed = {"version": 2, "recipient": nobody, "chainId": 0, "contract": nobody, "nonce": "5a" * 32}
    return {**fixed, "manifest": wanted, "variables": {"token": SECRET}, "reveal": "values", "legacy": False}


def test_weakness_01_a_notary_asks_nobody_who_is_not_the_manifests_site(
    notary: whole.Running, site: sites.Site, signed: list[bytes]
) -> None:
    asked = len(site.requests)
    assert refusal(notary, manifest(host=OTHER_HOST)) == "certificate"
    assert (len(site.requests), signed) == (asked, [])


def test_weakness_02_nothing_is_signed_where_the_manifest_does_not_hold(
    notary: whole.Running, signed: list[bytes]
) -> None:
    assert refusal(notary, manifest("/lies")) == "violation"
    assert refusal(notary, manifest(status="201")) == "violation"
    assert signed == []
    ask(notary, manifest())
    assert len(signed) == 1


def test_weakness_03_one_call_has_no_target_but_the_manifests(notary: whole.Running, signed: list[bytes]) -> None:
    wanted = order(document())
    for more in ({"target_url": "https://shop.example/"}, {"url": "https://shop.example/"}, {"host": "shop.example"}):
        status, said = proxied(notary, {**wanted, **more})
        assert (status, said["error"]["code"]) == (400, "json")
    assert signed == []
    status, proof = proxied(notary, wanted)
    assert (status, proof["statement"]["message"]["host"]) == (200, HOST)


def test_weakness_06_a_verifier_that_says_nothing_accepts_no_notary(notary: whole.Running) -> None:
    def strictly(shown: Shown) -> None:
        evidence = shown.evidence
        expected = ChannelExpected(evidence.channel_key, evidence.epoch, shown.outer_key_digest)
        for references in ([], [REFERENCE]):
            found = verify_expected(
                evidence.envelope, expected, references, STRICT, NOW, notary.provider.domain.inputs()
            )
            assert not found.accepted
        raise RefusedError("it is")

    with pytest.raises(RefusedError, match="it is"):
        through(notary, notary.port, strictly)


def through(notary: whole.Running, port: int, appraise: Callable[[Shown], None]) -> Proof:
    """A proof by way of a port."""
    wanted, place = manifest(), ("127.0.0.1", port)
    where = Notary("notary.example", 443)
    with connected(where, protocol="tcp", random=os.urandom, seconds=20, address=place) as (wire, outer):
        return prove(
            wire,
            outer,
            whole.order(wanted, variables=(("token", SECRET),)),
            manifest_digest=wanted.digest(),
            nonce=os.urandom(32),
            fresh=False,
            appraise=appraise,
            told=lambda _: None,
        )


def test_weakness_08_keys_are_made_by_each_process_and_none_is_kept(
    authority: Authority, site: sites.Site, notary: whole.Running
) -> None:
    signers = {ask(notary, manifest()).signer}
    keys = {notary.outer_key_digest}
    with whole.running(authority, {HOST: site}) as other:
        signers.add(ask(other, manifest()).signer)
        keys.add(other.outer_key_digest)
    assert len(signers) == len(keys) == 2
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.splitlines() if not name.startswith("tests/") and (ROOT / name).is_file()]
    kept = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}")
    # For one name below pluto.test, by an authority that only debug images know and that can vouch for no other names.
    shown = "image/notary/debug/site.key"
    assert [name for name in names if kept.search((ROOT / name).read_bytes())] == [shown]


def test_weakness_13_the_manifest_is_committed_to_before_anything_is_asked(
    notary: whole.Running, site: sites.Site, signed: list[bytes]
) -> None:
    asked = len(site.requests)
    assert refusal(notary, manifest(), committed=manifest("/item/2").digest()) == "manifest-digest"
    assert (len(site.requests), signed) == (asked, [])


def test_weakness_15_no_request_ends_the_process(notary: whole.Running) -> None:
    for wanted in (manifest(host="nobody.example"), manifest("/lies"), manifest(host=OTHER_HOST)):
        refusal(notary, wanted)
    for size in (1, 5, 300, 1500):
        with Relay(notary.port, cut_after=size) as relay, pytest.raises(PlutoError):
            through(notary, relay.port, notary.appraise)
    with notary.https() as plain:
        plain.sendall(
            b"GET /v1/tee HTTP/1.1\r\nhost: n\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n" + b"\xff" * 99999
        )
    assert ask(notary, manifest()).statement.host == HOST


def test_weakness_16_there_are_only_so_many_sessions(authority: Authority, site: sites.Site) -> None:
    few, hasty = replace(Limits(), channels=2), replace(Limits(), idle_seconds=0.3)
    with (
        whole.running(authority, {HOST: site}, limits=few) as notary,
        notary.wire(),
        notary.wire(),
        pytest.raises(SourceError, match="503"),
        notary.wire(),
    ):
        pytest.fail("this is the third")
    with (
        whole.running(authority, {HOST: site}, limits=hasty) as notary,
        notary.wire() as (wire, _),
        pytest.raises(SourceError, match="ended the session"),
    ):
        while True:
            wire.receive()


def test_weakness_17_a_session_is_its_connection_and_no_name_leads_into_another(
    notary: whole.Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's name for a session means nothing: at once and by the same name, each gets what it asked for."""
    start, name = Upgrading.start, b"/v1/tee?session_id=00000000-0000-4000-8000-000000000001 "
    monkeypatch.setattr(Upgrading, "start", lambda self: start(self).replace(b"/v1/tee ", name))

    def one(number: int) -> Proof:
        return ask(notary, manifest(f"/item/{number}"))

    with ThreadPoolExecutor(4) as pool:
        proofs = list(pool.map(one, range(4)))
    assert [proof.openings[0].text for proof in proofs] == ['"0"', '"1"', '"2"', '"3"']
    assert len({proof.statement.session for proof in proofs}) == 4


def test_weakness_18_no_secret_and_no_name_is_in_the_log(
    notary: whole.Running, capfd: pytest.CaptureFixture[str]
) -> None:
    ask(notary, manifest())
    refusal(notary, manifest("/lies"))
    said = "\n".join((*notary.lines, *capfd.readouterr()))
    assert "pluto: proof" in said
    assert not re.search(rf"{SECRET}|{HOST}|{OTHER_HOST}|item|price|127\.0\.0\.1|93\.184", said)


def test_weakness_27_whose_outer_certificate_it_is_is_looked_at(notary: whole.Running) -> None:
    """Any certificate is taken for the outer TLS, since the evidence must name its key: another's does not pass."""

    def other_key(shown: Shown) -> None:
        notary.appraise(replaced(shown, os.urandom(32)))

    with pytest.raises(RefusedError, match=r"^binding\.outer_key"):
        through(notary, notary.port, other_key)


def replaced(shown: Shown, outer_key_digest: bytes) -> Shown:
    return Shown(shown.evidence, shown.ekm, shown.nonce, shown.fresh, outer_key_digest)
