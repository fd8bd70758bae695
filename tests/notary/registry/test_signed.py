"""What registrars sign: its digests, its file, and k files as one call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pluto_measure.errors import FormatError, PlutoError, RefusedError, VerificationError
from pluto_notary.registry import claims
from pluto_notary.registry.claims import CLAIMS, Claim, Registry, RevokeBuild, RevokeKey, Rotate, digest
from pluto_notary.registry.signed import Call, Signed, collect
from pluto_notary.statement.keys import SigningKey
from pluto_notary.statement.model import spelt
from simulators.notary.evm import CONTRACTS
from simulators.notary.registrars import BUILD, KEY, NOW, OTHER_BUILD, OTHER_KEY, REGISTRARS, STRANGER, UNTIL, fits

HERE = Registry(8453, b"\x0e" * 20)
ONE, TWO, THREE = REGISTRARS
EACH: list[Claim] = [
    fits(), RevokeKey(KEY.address), RevokeBuild(BUILD), Rotate(tuple(key.address for key in REGISTRARS), 2, 7)
]  # fmt: skip
# What the contract is compiled with.
PINNED = {
    "KeyFits(address key,bytes32 buildId,uint64 until)": (
        "e6c8a5d6198c3740aa90e5dc6493b5ce4f0c010151f5204bb9a5781efa8a6a4c"
    ),
    "RevokeKey(address key)": "37904388f7814b6a98d22c5ec208d6811614cd5b47f32b086de2f1a77a2836ea",
    "RevokeBuild(bytes32 buildId)": "3f6564f0859bfda40e71916ba40a85698c857dd4ee2c260f0fc721ad0f1ba771",
    "Rotate(address[] registrars,uint256 threshold,uint256 generation)": (
        "610a49a4b24b850ff00e208b230d58f8a51ca72f0a94037d417980228549592b"
    ),
}
DIGESTS = [
    "5880866f7de76f80cd869df508f81222f3dc9e20aaaf1cb9405f0ea41ba7934b",
    "674418b736566a2655317ebcc7c21dd3b6e56e2b46e8eeb5efb3660a4933dbb6",
    "b62ff8001e03c7e444409cbe23ec2fba746d49bf0a9147e7834716841052fb9a",
    "10e3c0fd2330da158728be726869edeed31d72519c60a3aaacca1cd7a0188117",
]


def signed(claim: Claim, *keys: SigningKey, registry: Registry = HERE) -> list[Signed]:
    return [Signed.sign(claim, registry, key) for key in keys]


def edited(claim: Claim, change: Callable[[Any], object]) -> bytes:
    document = json.loads(Signed.sign(claim, HERE, ONE).to_text())
    change(document)
    return json.dumps(document).encode()


def test_domain_and_types_are_pinned() -> None:
    found = {claim.STRUCT.type_text: claim.STRUCT.type_hash.hex() for claim in CLAIMS.values()}
    assert found == PINNED
    assert [digest(claim, HERE).hex() for claim in EACH] == DIGESTS


@pytest.mark.parametrize("claim", EACH, ids=lambda claim: claim.STRUCT.name)
def test_a_file_says_what_was_signed(claim: Claim) -> None:
    text = Signed.sign(claim, HERE, ONE).to_text()
    found = Signed.parse(text.encode())
    assert (found.claim, found.registry, found.signer) == (claim, HERE, ONE.address)
    data = json.loads(text)["typedData"]
    assert (data["primaryType"], data["message"]) == (claim.STRUCT.name, spelt(claim.message()))
    assert data["domain"]["verifyingContract"] == spelt(HERE.address)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda d: d.update(version=2), FormatError), (lambda d: d.update(more=1), FormatError),
        (lambda d: d["typedData"].update(primaryType="Permit"), FormatError),
        (lambda d: d["typedData"].update(primaryType="RevokeKey"), FormatError),
        (lambda d: d["typedData"]["types"]["KeyFits"].reverse(), FormatError),
        (lambda d: d["typedData"]["domain"].update(name="Pluto TEE notary"), FormatError),
        (lambda d: d["typedData"]["domain"].update(version="2"), FormatError),
        (lambda d: d["typedData"]["domain"].update(chainId=0), FormatError),
        (lambda d: d["typedData"]["domain"].update(salt="0x"), FormatError),
        (lambda d: d["typedData"]["domain"].update(verifyingContract="0x" + "00" * 20), FormatError),
        (lambda d: d["typedData"]["message"].update(key="0x" + "00" * 20), FormatError),
        (lambda d: d["typedData"]["message"].update(buildId="0x" + "00" * 32), FormatError),
        (lambda d: d["typedData"]["message"].update(until=0), FormatError),
        (lambda d: d["typedData"]["message"].update(until=True), FormatError),
        (lambda d: d["typedData"]["message"].update(more=0), FormatError),
        (lambda d: d["typedData"].update(more=0), FormatError),
        (lambda d: d["signature"].update(v=55 - d["signature"]["v"]), VerificationError),
        (lambda d: d["signature"].update(v=0), FormatError),
        (lambda d: d.update(signer=spelt(TWO.address)), VerificationError),
        (lambda d: d["typedData"]["message"].update(until=UNTIL + 1), VerificationError),
        (lambda d: d["typedData"]["domain"].update(chainId=1), VerificationError),
    ],
)  # fmt: skip
def test_a_file_that_says_another_thing_is_none(change: Any, error: type[PlutoError]) -> None:
    with pytest.raises(error):
        Signed.parse(edited(fits(), change))


@pytest.mark.parametrize(
    ("registrars", "threshold", "generation"),
    [
        ([], 1, 2), ([ONE], 0, 2), ([ONE], 2, 2), ([ONE], 1, 1), ([TWO, ONE], 1, 2), ([ONE, ONE], 1, 2),
        ([ONE] * 33, 1, 2),
    ],
    ids=["nobody", "0 of 1", "2 of 1", "the first generation", "order", "twice", "33"],
)  # fmt: skip
def test_what_is_no_rotation(registrars: list[SigningKey], threshold: int, generation: int) -> None:
    with pytest.raises(FormatError):
        Rotate(tuple(key.address for key in registrars), threshold, generation)


@pytest.mark.parametrize("item", [1, "0e" * 20, "0x0e", "0x" + "0E" * 20, "0x" + "00" * 20])
def test_registrars_are_spelt_as_accounts(item: object) -> None:
    change = lambda d: d["typedData"]["message"].update(registrars=[item])  # noqa: E731
    with pytest.raises(FormatError):
        Signed.parse(edited(EACH[3], change))


@pytest.mark.parametrize(("chain", "address"), [(0, b"\1" * 20), (2**53, b"\1" * 20), (1, bytes(20)), (1, b"\1")])
def test_what_is_no_registry(chain: int, address: bytes) -> None:
    with pytest.raises(FormatError):
        Registry(chain, address)


def signers(call: Call) -> list[tuple[bytes, ...]]:
    return [by for _, by in call.claims]


def test_a_call_has_k_signatures_in_order_whoever_signed_first() -> None:
    call = collect(signed(fits(), THREE, ONE, TWO, ONE), needed=2)
    assert signers(call) == [(ONE.address, TWO.address)]
    assert call == collect(signed(fits(), ONE, TWO, THREE), needed=2)
    assert call.data[:4].hex() == "481d178c", "register, as the compiler numbers it"
    assert call.to_json()["chainId"] == 8453


def test_keys_make_a_batch() -> None:
    call = collect([*signed(fits(), ONE, TWO), *signed(fits(OTHER_KEY, OTHER_BUILD), TWO, THREE)], needed=2)
    assert signers(call) == [(ONE.address, TWO.address), (TWO.address, THREE.address)]


@pytest.mark.parametrize(
    ("files", "needed", "words"),
    [
        ([], 1, "for 0 registries"),
        (signed(fits(), ONE), 2, "1 registrars signed KeyFits of 0x"),
        (signed(fits(), ONE, ONE), 2, "1 registrars signed"),
        ([*signed(fits(), ONE, TWO), *signed(fits(OTHER_KEY), ONE)], 2, "1 registrars signed"),
        (signed(fits(), ONE, STRANGER), 2, "is no registrar"),
        ([*signed(fits(), ONE), *signed(fits(), TWO, registry=Registry(1, HERE.address))], 2, "for 2 registries"),
        ([*signed(fits(), ONE), *signed(RevokeKey(KEY.address), ONE)], 1, "is a call of its own"),
        ([*signed(RevokeBuild(BUILD), ONE), *signed(RevokeKey(KEY.address), ONE)], 1, "is a call of its own"),
        (signed(fits(until=NOW), ONE), 1, "is over"),
    ],
    ids=["none", "too few", "twice", "one too few", "stranger", "registries", "mixed", "revocations", "over"],
)
def test_what_makes_no_call(files: list[Signed], needed: int, words: str) -> None:
    known = {key.address for key in REGISTRARS}
    with pytest.raises(RefusedError, match=words):
        collect(files, needed=needed, registrars=known, at=NOW)


def test_different_times_are_explained() -> None:
    with pytest.raises(RefusedError) as error:
        collect([*signed(fits(), ONE), *signed(fits(until=UNTIL + 1), TWO)], needed=2)
    assert error.value.hint is not None
    assert "--until" in error.value.hint


def test_a_batch_has_an_end() -> None:
    many = [fits(until=UNTIL + number) for number in range(101)]
    with pytest.raises(RefusedError, match="more than 100"):
        collect([Signed.sign(claim, HERE, ONE) for claim in many], needed=1)
    with pytest.raises(FormatError):
        collect([], needed=0)


def test_limits_are_those_of_the_contract() -> None:
    source = (CONTRACTS / "KeyRegistry.sol").read_text()
    assert "LONGEST = 30 days;" in source
    assert claims.LONGEST == 30 * 24 * 3600
    assert f"MOST_REGISTRARS = {claims.MOST_REGISTRARS};" in source
