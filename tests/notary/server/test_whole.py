"""The whole notary: the reference client, the real server, sites of ours; evidence of a pretend trust domain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pluto_notary.client.prove import RefusedByNotaryError
from pluto_notary.manifest import Manifest
from pluto_notary.statement.proof import Proof
from simulators.notary import sites, whole
from simulators.notary.certificates import Authority
from simulators.notary.proofs import judged

HOST = "shop.example"
BODY = json.dumps({"price": "12.50", "stock": 7, "tags": ["a", "b"]}).encode()
JSON = ("content-type", "application/json")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def notary(authority: Authority) -> Iterator[whole.Running]:
    with (
        sites.Site(authority.issue(HOST), sites.page(BODY, JSON)) as site,
        whole.running(authority, {HOST: site}) as running,
    ):
        yield running


def manifest(**changes: Any) -> Manifest:
    document = {
        "manifestVersion": "2",
        "request": {"method": "GET", "url": f"https://{HOST}/item/7", "headers": {}},
        "response": {
            "status": "200",
            "headers": {"content-type": "application/json"},
            "body": {
                "format": "json",
                "extractors": [
                    {"id": "price", "selector": ["price"], "type": "string"},
                    {
                        "id": "stock",
                        "selector": ["stock"],
                        "type": "number",
                        "predicates": [{"type": "value", "comparison": "greaterThan", "value": 5}],
                    },
                ],
            },
        },
    }
    return Manifest.parse(json.dumps({**document, **changes}).encode())


@pytest.mark.parametrize("protocol", ["websocket", "tcp"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_proof_of_what_a_site_says(notary: whole.Running, protocol: str, fresh: bool) -> None:
    wanted = manifest()
    proof = notary.prove(wanted, protocol=protocol, fresh=fresh)
    assert {one.id: one.text for one in proof.openings} == {"price": '"12.50"', "stock": "7"}
    assert (proof.statement.host, proof.statement.manifest) == (HOST, wanted.digest())
    verdict = judged(
        Proof.parse(proof.to_bytes()),
        manifest=wanted.digest(),
        host=HOST,
        recipient=whole.NOBODY,
        contract=whole.NOBODY,
        chain_id=0,
    )
    assert verdict.accepted, [one for one in verdict.findings if one.verdict == "fail"]


def test_a_violation_names_the_member_and_nothing_is_signed(notary: whole.Running) -> None:
    response = json.loads(manifest().canonical())["response"]
    response["body"]["extractors"][1]["predicates"][0]["value"] = 7
    with pytest.raises(RefusedByNotaryError) as caught:
        notary.prove(manifest(response=response))
    assert caught.value.code == "violation"
    assert caught.value.path == "manifest.response.body.extractors[1].predicates[0]"
