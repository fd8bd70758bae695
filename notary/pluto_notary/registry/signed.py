"""A registrar's signature as it travels, and k of them as one call for anybody to send. Pure.

The file is JSON: {"version": 1, "typedData", "signature": {"r", "s", "v"}, "signer"}. Nothing in it is secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.errors import FormatError, RefusedError, VerificationError
from pluto_measure.formats.strict_json import Fields, loads, pretty
from pluto_notary.registry import abi
from pluto_notary.registry.claims import Claim, KeyFits, Registry, RevokeBuild, RevokeKey, digest, parse, to_json
from pluto_notary.statement.keys import ADDRESS_BYTES, Signature, SigningKey, address, checksummed, recover
from pluto_notary.statement.legacy import parse_signature, signature_json
from pluto_notary.statement.model import hex_of, spelt

VERSION: Final = 1
LIMIT: Final = 64 * 1024  # bytes of JSON
MOST_CLAIMS: Final = 100  # in one batch, so that it fits into a block
_WHAT: Final = "registrar's signature"
_SIGNATURES: Final = "(bytes32,bytes32,uint8)[]"


@dataclass(frozen=True, slots=True)
class Signed:
    """A claim for one registry that one registrar signed. Only `sign` and `parse` make one: the signature holds."""

    claim: Claim
    registry: Registry
    signature: Signature
    signer: bytes

    @classmethod
    def sign(cls, claim: Claim, registry: Registry, key: SigningKey) -> Self:
        return cls(claim, registry, key.sign(digest(claim, registry)), key.address)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From a file. FormatError; VerificationError where the signature is not the signer's."""
        fields = Fields(loads(data, what=_WHAT, limit=LIMIT), what=_WHAT)
        if (version := fields.take("version", int)) != VERSION:
            raise FormatError(_WHAT, f"version {version} is not known")
        claim, registry = parse(fields.sub("typedData"))
        signature, signer = parse_signature(fields.sub("signature")), hex_of(fields, "signer", ADDRESS_BYTES)
        fields.end()
        if address(recover(digest(claim, registry), signature)) != signer:
            raise VerificationError("the registrar's signature is not of the account that it names")
        return cls(claim, registry, signature, signer)

    def to_text(self) -> str:
        document = {
            "version": VERSION,
            "typedData": to_json(self.claim, self.registry),
            "signature": signature_json(self.signature),
            "signer": spelt(self.signer),
        }
        return pretty(document)


@dataclass(frozen=True, slots=True)
class Call:
    """What anybody sends to the registry. `claims`: what it says, and who signed each."""

    registry: Registry
    data: bytes
    claims: tuple[tuple[Claim, tuple[bytes, ...]], ...]

    def to_json(self) -> dict[str, object]:
        return {
            "chainId": self.registry.chain_id,
            "to": checksummed(self.registry.address),
            "data": spelt(self.data),
            "claims": [
                {"type": claim.STRUCT.name, **spelt(claim.message()), "signers": [checksummed(one) for one in signers]}
                for claim, signers in self.claims
            ],
        }


def collect(
    signed: Iterable[Signed], *, needed: int, registrars: Collection[bytes] | None = None, at: int | None = None
) -> Call:
    """One call of k = `needed` signatures for each claim. RefusedError where there are too few, or of strangers.

    Claims that keys fit make a batch; any other stands alone. Who signed more than once counts once. `registrars`:
    whose signatures count, where that is known; `at`: now, where times that are over shall be refused.
    """
    if needed < 1:
        raise FormatError(_WHAT, "at least one signature is needed")
    found: dict[Claim, dict[bytes, Signature]] = {}
    registries = set()
    for one in signed:
        registries.add(one.registry)
        if registrars is not None and one.signer not in registrars:
            raise RefusedError(f"{checksummed(one.signer)} signed, and is no registrar")
        found.setdefault(one.claim, {})[one.signer] = one.signature
    if len(registries) != 1:
        raise RefusedError(f"the signatures are for {len(registries)} registries, not for one")
    _check(found, needed, at)
    chosen = {claim: dict(sorted(by.items())[:needed]) for claim, by in found.items()}
    return Call(registries.pop(), _data(chosen), tuple((claim, tuple(by)) for claim, by in chosen.items()))


def _check(found: Mapping[Claim, Mapping[bytes, Signature]], needed: int, at: int | None) -> None:
    keys = [claim for claim in found if isinstance(claim, KeyFits)]
    if len(keys) != len(found) and len(found) > 1:
        raise RefusedError("a revocation or a rotation is a call of its own")
    if len(found) > MOST_CLAIMS:
        raise RefusedError(f"{len(found)} keys are more than {MOST_CLAIMS}")
    for claim, by in found.items():
        if len(by) < needed:
            others = [one for one in keys if isinstance(claim, KeyFits) and one.key == claim.key and one != claim]
            hint = "others signed the same key until another time: let all sign with one --until" if others else None
            raise RefusedError(f"{len(by)} registrars signed {_named(claim)}, of {needed} that are needed", hint=hint)
        if at is not None and isinstance(claim, KeyFits) and claim.until <= at:
            raise RefusedError(f"the time of {_named(claim)} is over")


def _data(chosen: Mapping[Claim, Mapping[bytes, Signature]]) -> bytes:
    signatures = [[(one.r, one.s, one.v) for one in by.values()] for by in chosen.values()]
    keys = [(claim.key, claim.build_id, claim.until) for claim in chosen if isinstance(claim, KeyFits)]
    if keys:
        return abi.call(f"register((address,bytes32,uint64)[],{_SIGNATURES}[])", keys, signatures)
    claim = next(iter(chosen))
    if isinstance(claim, RevokeKey):
        return abi.call(f"revokeKey(address,{_SIGNATURES})", claim.key, *signatures)
    if isinstance(claim, RevokeBuild):
        return abi.call(f"revokeBuild(bytes32,{_SIGNATURES})", claim.build_id, *signatures)
    assert not isinstance(claim, KeyFits), "keys were a batch"
    accounts: Sequence[bytes] = claim.registrars
    return abi.call(f"rotate(address[],uint256,{_SIGNATURES})", accounts, claim.threshold, *signatures)


def _named(claim: Claim) -> str:
    if isinstance(claim, KeyFits | RevokeKey):
        return f"{claim.STRUCT.name} of {checksummed(claim.key)}"
    return claim.STRUCT.name
