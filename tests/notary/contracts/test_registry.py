"""The key registry on a chain: k registrars say which keys fit, and nobody else says anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pluto_notary.registry.claims import Claim, KeyFits, Registry, RevokeBuild, RevokeKey, Rotate, digest
from pluto_notary.statement.curve import ORDER
from pluto_notary.statement.keccak import keccak256
from pluto_notary.statement.keys import Signature, SigningKey
from simulators.notary.evm import CONTRACTS, compiled, refused, signature_value, signature_values, words
from simulators.notary.registrars import (
    BUILD,
    CHAIN,
    DAY,
    KEY,
    NOW,
    OTHER_BUILD,
    OTHER_KEY,
    REGISTER,
    REGISTRARS,
    STRANGER,
    UNTIL,
    Deployed,
    fits,
    fits_value,
)

pytestmark = pytest.mark.interop
ONE, TWO, THREE = REGISTRARS
REVOKE_KEY = "revokeKey(address,(bytes32,bytes32,uint8)[])"
REVOKE_BUILD = "revokeBuild(bytes32,(bytes32,bytes32,uint8)[])"
ROTATE = "rotate(address[],uint256,(bytes32,bytes32,uint8)[])"
REGISTRAR_ERRORS = ("NotARegistrar", "SignersOutOfOrder")  # a signature of other bytes is that of some account


def does_fit(chain: Deployed, key: SigningKey = KEY, build: bytes = BUILD, at: int = NOW) -> bool:
    return words(chain.verifier.read("fits(address,bytes32)", key.address, build, at=at)) == [1]


def submit(chain: Deployed, claim: KeyFits, by: Sequence[SigningKey], at: int = NOW) -> Any:
    signatures = signature_values(chain.signatures(claim, by))
    return chain.verifier.send(REGISTER, [fits_value(claim)], [signatures], at=at, by=4)


def test_anybody_submits_what_two_of_three_signed(chain: Deployed) -> None:
    for number, by in enumerate(([ONE, TWO], [ONE, THREE], [TWO, THREE])):
        key = SigningKey(keccak256(b"key %d" % number))
        assert submit(chain, fits(key), by).logs == ("KeyRegistered",)
        assert does_fit(chain, key)
        assert not does_fit(chain, key, OTHER_BUILD)
    assert words(chain.verifier.read("keys(address)", key.address)) == [int.from_bytes(BUILD, "big"), UNTIL, 0]


@pytest.mark.parametrize(
    ("by", "error"),
    [
        ([], "WrongNumberOfSignatures"), ([ONE], "WrongNumberOfSignatures"),
        ([ONE, TWO, THREE], "WrongNumberOfSignatures"), ([ONE, ONE], "SignersOutOfOrder"),
        ([TWO, ONE], "SignersOutOfOrder"),
        (sorted([ONE, STRANGER], key=lambda key: key.address), "NotARegistrar"),
        (sorted([STRANGER, OTHER_KEY], key=lambda key: key.address), "NotARegistrar"),
    ],
    ids=["none", "k - 1", "k + 1", "twice the same", "out of order", "a stranger", "strangers"],
)  # fmt: skip
def test_what_two_registrars_did_not_sign(chain: Deployed, by: list[SigningKey], error: str) -> None:
    assert refused(lambda: submit(chain, fits(), by)) == error
    assert not does_fit(chain)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda one: (one.r, (ORDER - int.from_bytes(one.s, "big")).to_bytes(32, "big"), 55 - one.v), "BadSignature"),
        (lambda one: (one.r, one.s, one.v - 27), "BadSignature"),
        (lambda one: (bytes(32), bytes(32), one.v), "BadSignature"),
    ],
    ids=["high s", "v 0 or 1", "zeros"],
)
def test_a_registrars_signature_has_one_spelling(chain: Deployed, change: Any, error: str) -> None:
    first, second = chain.signatures(fits())
    for signatures in ([change(first), signature_value(second)], [signature_value(first), change(second)]):
        call = [fits_value(fits())], [signatures]
        assert refused(lambda values=call: chain.verifier.send(REGISTER, *values, at=NOW)) == error  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        lambda claim: KeyFits(OTHER_KEY.address, claim.build_id, claim.until),
        lambda claim: KeyFits(claim.key, OTHER_BUILD, claim.until),
        lambda claim: KeyFits(claim.key, claim.build_id, claim.until + 1),
    ],
    ids=["key", "build", "until"],
)
def test_what_was_signed_is_what_is_registered(chain: Deployed, change: Any) -> None:
    signatures = signature_values(chain.signatures(fits()))
    other = fits_value(change(fits()))
    assert refused(lambda: chain.verifier.send(REGISTER, [other], [signatures], at=NOW)) in REGISTRAR_ERRORS


@pytest.mark.parametrize(
    "registry", [Registry(1, b"\1" * 20), Registry(CHAIN, b"\1" * 20)], ids=["another chain", "another contract"]
)
def test_signatures_for_another_registry_are_for_none(chain: Deployed, registry: Registry) -> None:
    elsewhere = Registry(registry.chain_id, chain.verifier.address if registry.chain_id == 1 else registry.address)
    signatures = [signature_value(key.sign(digest(fits(), elsewhere))) for key in (ONE, TWO)]
    call = [fits_value(fits())], [signatures]
    assert refused(lambda: chain.verifier.send(REGISTER, *call, at=NOW)) in REGISTRAR_ERRORS


@pytest.mark.parametrize(
    ("until", "error"),
    [
        (NOW - 1, "UntilIsPast"), (NOW, "UntilIsPast"), (NOW + 30 * DAY + 1, "UntilIsTooFar"),
        (253402300799, "UntilIsTooFar"),
    ],
)  # fmt: skip
def test_until_lies_ahead_and_not_too_far(chain: Deployed, until: int, error: str) -> None:
    assert refused(lambda: submit(chain, fits(until=until), [ONE, TWO])) == error
    for good in (NOW + 1, NOW + 30 * DAY):
        submit(chain, fits(until=good), [ONE, TWO])
        assert does_fit(chain, at=good)
        assert not does_fit(chain, at=good + 1)


def test_a_time_is_only_ever_lengthened(chain: Deployed) -> None:
    """Who submits old signatures again changes nothing, and spoils nobody's batch."""
    assert submit(chain, fits(), [ONE, TWO]).logs == ("KeyRegistered",)
    for earlier in (UNTIL, UNTIL - DAY):
        assert submit(chain, fits(until=earlier), [ONE, THREE]).logs == ()
        assert does_fit(chain, at=UNTIL)
    submit(chain, fits(until=UNTIL + DAY), [ONE, TWO])
    assert does_fit(chain, at=UNTIL + DAY)


def test_a_key_has_one_build(chain: Deployed) -> None:
    submit(chain, fits(), [ONE, TWO])
    assert refused(lambda: submit(chain, fits(build=OTHER_BUILD), [ONE, TWO])) == "KeyHasOtherBuild"


def test_a_batch_is_all_or_none(chain: Deployed) -> None:
    assert chain.submit(fits(), fits(OTHER_KEY)).logs == ("KeyRegistered",) * 2
    third, fourth = (SigningKey(keccak256(name)) for name in (b"third", b"fourth"))
    assert refused(lambda: chain.submit(fits(third), fits(fourth, until=NOW))) == "UntilIsPast"
    assert not does_fit(chain, third)
    pair = signature_values(chain.signatures(fits(third)))
    assert refused(lambda: chain.verifier.send(REGISTER, [], [], at=NOW)) == "BadBatch"
    assert refused(lambda: chain.verifier.send(REGISTER, [fits_value(fits(third))], [], at=NOW)) == "BadBatch"
    assert refused(lambda: chain.verifier.send(REGISTER, [fits_value(fits(third))], [pair] * 2, at=NOW)) == "BadBatch"


@pytest.mark.parametrize("value", [(bytes(20), BUILD, UNTIL), (KEY.address, bytes(32), UNTIL)], ids=["key", "build"])
def test_zero_is_no_key_and_no_build(chain: Deployed, value: Any) -> None:
    signatures = signature_values(chain.signatures(fits()))
    assert refused(lambda: chain.verifier.send(REGISTER, [value], [signatures], at=NOW)) == "NothingNamed"
    assert refused(lambda: chain.verifier.send(REVOKE_KEY, bytes(20), [], at=NOW)) == "NothingNamed"
    assert refused(lambda: chain.verifier.send(REVOKE_BUILD, bytes(32), [], at=NOW)) == "NothingNamed"
    assert words(chain.verifier.read("fits(address,bytes32)", bytes(20), bytes(32))) == [0]
    assert words(chain.verifier.read("isRegistrar(address)", bytes(20))) == [0]


def test_a_revoked_key_never_comes_back(chain: Deployed) -> None:
    submit(chain, fits(), [ONE, TWO])
    assert chain.submit(RevokeKey(KEY.address)).logs == ("KeyRevoked",)
    assert not does_fit(chain)
    assert refused(lambda: submit(chain, fits(), [ONE, TWO])) == "KeyIsRevoked"
    chain.submit(RevokeKey(OTHER_KEY.address))  # before anybody registered it
    assert refused(lambda: submit(chain, fits(OTHER_KEY), [ONE, TWO])) == "KeyIsRevoked"


def test_a_revoked_build_takes_its_keys_along(chain: Deployed) -> None:
    chain.submit(fits(), fits(OTHER_KEY, OTHER_BUILD))
    assert chain.submit(RevokeBuild(BUILD)).logs == ("BuildRevoked",)
    assert not does_fit(chain)
    assert does_fit(chain, OTHER_KEY, OTHER_BUILD)
    assert refused(lambda: submit(chain, fits(until=UNTIL + 1), [ONE, TWO])) == "BuildIsRevoked"


@pytest.mark.parametrize(
    ("count", "threshold", "expected"),
    [(1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 2, 1), (3, 2, 2), (3, 3, 1)],
)
def test_as_many_revoke_as_could_keep_silent(chain: Deployed, count: int, threshold: int, expected: int) -> None:
    registrars = [key.address for key in REGISTRARS[:count]]
    verifier = chain.evm.deploy("StatementVerifier", "(address[],uint256)", registrars, threshold)
    assert words(verifier.read("revokers()")) == [expected]
    claim, there = RevokeKey(KEY.address), Registry(CHAIN, verifier.address)
    signed = [signature_value(key.sign(digest(claim, there))) for key in REGISTRARS[:count]]
    for number in range(count + 1):
        if number != expected:
            error = refused(lambda n=number: verifier.send(REVOKE_KEY, KEY.address, signed[:n], at=NOW))  # type: ignore[misc]
            assert error == "WrongNumberOfSignatures"
    verifier.send(REVOKE_KEY, KEY.address, signed[:expected], at=NOW)


@pytest.mark.parametrize(
    ("claim", "call", "argument"),
    [
        (RevokeKey(OTHER_KEY.address), REVOKE_KEY, KEY.address), (RevokeBuild(OTHER_BUILD), REVOKE_BUILD, BUILD),
        (fits(), REVOKE_KEY, KEY.address), (fits(), REVOKE_BUILD, BUILD),
    ],
    ids=["another key", "another build", "a registration", "a registration of the build"],
)  # fmt: skip
def test_a_revocation_is_of_what_was_signed(chain: Deployed, claim: Claim, call: str, argument: bytes) -> None:
    submit(chain, fits(), [ONE, TWO])
    signatures = signature_values(chain.signatures(claim))
    assert refused(lambda: chain.verifier.send(call, argument, signatures, at=NOW)) in REGISTRAR_ERRORS
    assert does_fit(chain)


def rotate(chain: Deployed, claim: Rotate, signatures: Sequence[Signature]) -> Any:
    return chain.verifier.send(
        ROTATE, list(claim.registrars), claim.threshold, signature_values(signatures), at=NOW, by=3
    )


def test_two_registrars_hand_over_to_others(chain: Deployed) -> None:
    heirs = sorted((STRANGER, THREE), key=lambda key: key.address)
    claim = Rotate(tuple(key.address for key in heirs), 2, 2)
    submit(chain, fits(), [ONE, TWO])
    assert chain.submit(claim).logs == ("RegistrarsChanged",)
    assert words(chain.verifier.read("terms()")) == [2, 2, 2]
    members = {key: words(chain.verifier.read("isRegistrar(address)", key.address)) for key in (*REGISTRARS, STRANGER)}
    assert [members[key] for key in (ONE, TWO, THREE, STRANGER)] == [[0], [0], [1], [1]]
    assert does_fit(chain), "what the old ones registered stays"
    assert refused(lambda: submit(chain, fits(OTHER_KEY), [ONE, TWO])) == "NotARegistrar"
    submit(chain, fits(OTHER_KEY), heirs)


def test_a_rotation_counts_once(chain: Deployed) -> None:
    """Nobody goes back to registrars of the past by their old signatures."""
    there = Rotate((STRANGER.address,), 1, 2)
    old = chain.signatures(there)
    rotate(chain, there, old)
    back = Rotate(tuple(key.address for key in REGISTRARS), 2, 3)
    rotate(chain, back, chain.signatures(back, [STRANGER]))
    assert refused(lambda: rotate(chain, there, old)) in REGISTRAR_ERRORS
    early = Rotate((STRANGER.address,), 1, 5)
    assert refused(lambda: rotate(chain, early, chain.signatures(early))) in REGISTRAR_ERRORS
    assert words(chain.verifier.read("terms()")) == [3, 3, 2]


@pytest.mark.parametrize("by", [[ONE], [ONE, ONE], [TWO, ONE]], ids=["one", "twice", "order"])
def test_one_registrar_rotates_nothing(chain: Deployed, by: list[SigningKey]) -> None:
    claim = Rotate((ONE.address,), 1, 2)
    refused(lambda: rotate(chain, claim, chain.signatures(claim, by)))
    assert words(chain.verifier.read("terms()")) == [1, 3, 2]


@pytest.mark.parametrize(
    ("registrars", "threshold"),
    [
        ([], 0), ([], 1), ([ONE], 0), ([ONE], 2), ([ONE, ONE], 1), ([TWO, ONE], 1),
        ([SigningKey(keccak256(b"%d" % number)) for number in range(33)], 1),
    ],
    ids=["none", "none of one", "0 of 1", "2 of 1", "twice the same", "order", "33"],
)  # fmt: skip
def test_registrars_that_are_none(chain: Deployed, registrars: list[SigningKey], threshold: int) -> None:
    accounts = [key.address for key in registrars]
    if len(accounts) == 33:
        accounts.sort()
    make = lambda: chain.evm.deploy("StatementVerifier", "(address[],uint256)", accounts, threshold)  # noqa: E731
    assert refused(make) == "BadRegistrars"
    with pytest.raises(Exception, match="registr"):
        Rotate(tuple(accounts), threshold, 2)


def test_nobody_is_a_registrar_of_address_zero(chain: Deployed) -> None:
    make = lambda: chain.evm.deploy("StatementVerifier", "(address[],uint256)", [bytes(20), ONE.address], 1)  # noqa: E731
    assert refused(make) == "BadRegistrars"


# Opcodes by which a contract would run somebody else's code, make contracts, or end.
FOREIGN = {0xF0: "CREATE", 0xF1: "CALL", 0xF2: "CALLCODE", 0xF4: "DELEGATECALL", 0xF5: "CREATE2", 0xFF: "SELFDESTRUCT"}


def opcodes(code: bytes) -> list[int]:
    """The instructions without what they push, up to the compiler's note at the end."""
    end, place, found = len(code) - int.from_bytes(code[-2:], "big") - 2, 0, []
    while place < end:
        found.append(code[place])
        place += 1 + max(0, code[place] - 0x5F if 0x60 <= code[place] <= 0x7F else 0)
    return found


def test_the_verifier_calls_nobody_but_the_precompile(chain: Deployed) -> None:
    whole = bytes.fromhex(compiled()["StatementVerifier"]["evm"]["deployedBytecode"]["object"])
    code = opcodes(whole)
    assert [FOREIGN[op] for op in code if op in FOREIGN] == []
    assert code.count(0xFA) == 1, "the one STATICCALL is that of ecrecover"
    assert len(whole) < 24576, "more is no contract (EIP-170)"
    sources = {path.name: path.read_text() for path in CONTRACTS.glob("*.sol")}
    assert [name for name, text in sources.items() if "assembly" in text or ".call" in text] == []
    assert [name for name, text in sources.items() if "ecrecover(" in text] == ["Signatures.sol"]


def test_it_takes_no_money_and_has_no_other_doors(chain: Deployed) -> None:
    """No owner, no upgrade, no fallback: these are all the functions that change something."""
    entries = compiled()["StatementVerifier"]["abi"]
    changing = {
        entry["name"] for entry in entries if entry["type"] == "function" and entry["stateMutability"] != "view"
    }
    assert changing == {"register", "revokeKey", "revokeBuild", "rotate", "consumeFetch", "consumeObserve"}
    assert {entry["type"] for entry in entries} == {"constructor", "error", "event", "function"}
    assert not any(entry.get("stateMutability") == "payable" for entry in entries)
