"""Digests of typed data: the EIP's own example, our pinned types, our vectors, and another implementation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interop.peers import BUILD
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields
from pluto_notary.statement.eip712 import Struct, typed_digest
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import SigningKey, recover
from pluto_notary.statement.legacy import LEGACY_SIGNER, endorsement_digest
from pluto_notary.statement.model import DOMAIN, STRUCTS, VALUE, Domain, Statement, spelt
from pluto_notary.statement.values import committed, digests, revealed
from simulators.notary import proofs

VECTORS = Path(__file__).parents[2] / "vectors/notary/statement"
MODES = ["fetch", "observe"]
MEMBERS = (
    "string mode,string host,bytes32 certificate,bytes32 manifest,Value[] values,bytes32 session,bytes32 nonce,"
    "address recipient,uint64 notBefore,uint64 notAfter,bytes32 build"
)
VALUE_TYPE = "Value(string id,bytes32 digest)"
# What contracts are compiled with. A change of any is another version of the statement.
PINNED = {
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)": (
        "8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f"
    ),
    f"FetchStatement({MEMBERS}){VALUE_TYPE}": "a36277f3007533bd67baad90b81c5130719c0dade35ba1657d3fd6374423a1a4",
    f"ObserveStatement({MEMBERS}){VALUE_TYPE}": "09bff17068bfd83b8afc17a8a9335ea1d934fc4b3607e4f3f0c393b9188e9559",
    VALUE_TYPE: "8d12d0da34fbc3b28e099ffb2a701dca29ef3ddf5a64617e2b4bf65d24e21c56",
    "LegacySigner(address signer)": "b0cb28e35a24f170e037f3fccc9b91415d776e618ef9513dea993d1d8f8cf268",
}


def test_types_and_their_hashes_are_pinned() -> None:
    structs = [DOMAIN, *STRUCTS.values(), VALUE, LEGACY_SIGNER]
    assert {struct.type_text: struct.type_hash.hex() for struct in structs} == PINNED
    separator = Domain(1, bytes(20)).separator().hex()
    assert separator == "e7cb213318bafd6fc853a4a97a2254913a0e7a78c7eaee1a1ed4d9f19837a99a"


def unspelt(value: Any) -> Any:
    """Typed data's JSON with bytes where it has hex."""
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if isinstance(value, dict):
        return {name: unspelt(item) for name, item in value.items()}
    return [unspelt(item) for item in value] if isinstance(value, list) else value


def struct_of(types: dict[str, list[dict[str, str]]], name: str) -> Struct:
    """A structure with those that its members are of, one level deep."""
    inner = sorted({one["type"].removesuffix("[]") for one in types[name]} & types.keys())
    members = tuple((one["type"], one["name"]) for one in types[name])
    return Struct(name, members, tuple(struct_of(types, one) for one in inner))


def test_the_example_of_the_eip(vectors: Path) -> None:
    case = json.loads((vectors / "quotes/onchain/eth_signature_vectors.json").read_text())["eip712"]
    data, expect = case["typed_data"], case["expect"]
    mail, domain = struct_of(data["types"], "Mail"), struct_of(data["types"], "EIP712Domain")
    assert mail.type_text == expect["encodeType"]
    assert spelt(mail.type_hash) == expect["typeHash"]
    struct_hash, separator = mail.hash(unspelt(data["message"])), domain.hash(unspelt(data["domain"]))
    assert (spelt(struct_hash), spelt(separator)) == (expect["structHash"], expect["domainSeparator"])
    digest = typed_digest(separator, struct_hash)
    assert spelt(digest) == expect["signHash"]
    key = SigningKey(keccak256(b"cow"))
    signature = key.sign(digest)
    assert (spelt(signature.r), spelt(signature.s), signature.v) == (expect["r"], expect["s"], expect["v"])
    assert spelt(key.address) == expect["address"]


@pytest.mark.parametrize("mode", MODES)
def test_our_vectors(mode: str) -> None:
    case = json.loads((VECTORS / f"{mode}.json").read_text())
    expect = case["expect"]
    statement = Statement.parse(Fields(case["typedData"], what="statement"))
    assert statement == proofs.statement(mode=mode)
    assert statement.to_json() == case["typedData"]
    assert spelt(statement.struct.type_hash) == expect["typeHash"]
    assert spelt(statement.domain.separator()) == expect["domainSeparator"]
    assert spelt(statement.struct.hash(statement.message())) == expect["structHash"]
    assert spelt(statement.digest()) == expect["digest"]
    signature = proofs.KEY.sign(statement.digest())
    assert (spelt(signature.r), spelt(signature.s), signature.v) == (expect["r"], expect["s"], expect["v"])
    assert recover(statement.digest(), signature) == proofs.KEY.public


PEER = """
import json, sys
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak
out = []
for data in json.load(sys.stdin):
    message = encode_typed_data(full_message=data)
    signed = Account.sign_message(message, keccak(b"the statement key"))
    out.append([keccak(b"\\x19" + message.version + message.header + message.body).hex(), signed.r, signed.s, signed.v])
print(json.dumps(out))
"""


def peer(documents: list[dict[str, object]]) -> list[list[Any]]:
    """What eth-account says of typed data: digest, and r, s, v by the statement key."""
    found = [str(BUILD / "python-eth"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-B", "-c", PEER],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
    )
    if "No module named 'eth_" in done.stderr:
        pytest.skip("no peer: eth-account is not prepared")
    assert done.returncode == 0, done.stderr
    answer: list[list[Any]] = json.loads(done.stdout)
    return answer


@pytest.mark.interop
def test_another_implementation_agrees() -> None:
    many = proofs.statement(values=digests(committed(proofs.VALUES, proofs.salts(b"x"))))
    statements = [
        proofs.statement(),
        proofs.statement(mode="observe"),
        many,
        proofs.statement(values=()),
        proofs.statement(host="xn--bcher-kva.example:8443", not_before=0, not_after=253402300799),
        proofs.statement(domain=Domain(0, bytes(20)), recipient=bytes(20)),
        proofs.statement(domain=Domain(2**53 - 1, b"\xff" * 20), recipient=b"\xff" * 20),
        proofs.statement(values=digests(revealed([("Preis in € – 'x'", b"1"), ("\U0001f600", b"2")]))),
    ]
    documents = [statement.to_json() for statement in statements]
    documents.append(
        {
            "types": {**DOMAIN.to_json(), **LEGACY_SIGNER.to_json()},
            "primaryType": "LegacySigner",
            "domain": spelt(Domain(1, proofs.CONTRACT).values()),
            "message": {"signer": spelt(proofs.LEGACY_KEY.address)},
        }
    )
    ours = [statement.digest() for statement in statements]
    ours.append(endorsement_digest(Domain(1, proofs.CONTRACT), proofs.LEGACY_KEY.address))
    for digest, (theirs, r, s, v) in zip(ours, peer(documents), strict=True):
        signature = proofs.KEY.sign(digest)
        assert digest.hex() == theirs
        assert (int.from_bytes(signature.r, "big"), int.from_bytes(signature.s, "big"), signature.v) == (r, s, v)


@pytest.mark.parametrize(
    "values",
    [{}, {"n": 1}, {"n": 1, "a": bytes(20), "more": 1}, {"n": 1 << 64, "a": bytes(20)}, {"n": -1, "a": bytes(20)},
     {"n": 1, "a": bytes(19)}],
    ids=["none", "one", "more", "large", "negative", "short"],
)  # fmt: skip
def test_what_does_not_fit_its_type_has_no_hash(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Struct("S", (("uint64", "n"), ("address", "a"))).hash(values)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "guess"}, {"host": "Shop.example"}, {"host": ""}, {"host": "shop.example:443"}, {"host": "a..b"},
        {"host": "shop.example:0"}, {"host": "shop.example:65536"}, {"host": "-a.example"}, {"host": "a.example\n"},
        {"host": "user@a.example"}, {"host": "a/b"}, {"host": "b\u00fccher.example"}, {"host": "a" * 64},
        {"host": ".".join(["abc"] * 64)}, {"certificate": b""}, {"manifest": bytes(31)}, {"session": bytes(33)},
        {"nonce": b""}, {"recipient": bytes(32)}, {"not_before": -1}, {"not_after": 1 << 40}, {"build": bytes(20)},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_signed_is_no_statement(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        proofs.statement(**changes)


@pytest.mark.parametrize(("chain", "contract"), [(-1, bytes(20)), (1 << 53, bytes(20)), (1, bytes(32))])
def test_what_is_no_domain(chain: int, contract: bytes) -> None:
    with pytest.raises(FormatError):
        Domain(chain, contract)
