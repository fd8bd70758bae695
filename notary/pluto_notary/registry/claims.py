"""What registrars sign: typed structures (EIP-712) in the domain of one registry on one chain. Pure.

The contract is `notary/contracts/KeyRegistry.sol`; the type strings are compiled into it, and a test compares digests.

    KeyFits(address key,bytes32 buildId,uint64 until)       the evidence of a key was verified
    RevokeKey(address key)   RevokeBuild(bytes32 buildId)   for good
    Rotate(address[] registrars,uint256 threshold,uint256 generation)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_notary.statement.eip712 import Struct, typed_digest
from pluto_notary.statement.keys import ADDRESS_BYTES
from pluto_notary.statement.model import DOMAIN, LARGEST_CHAIN, LATEST, hex_of, spelt

DOMAIN_NAME: Final = "Pluto TEE key registry"
DOMAIN_VERSION: Final = "1"
MOST_REGISTRARS: Final = 32
LONGEST: Final = 30 * 24 * 3600  # seconds that the contract lets a key fit, from a block's time
_DIGEST: Final = 32
_NOBODY: Final = bytes(ADDRESS_BYTES)


@dataclass(frozen=True, slots=True)
class Registry:
    """The one contract on the one chain for which a signature counts."""

    chain_id: int
    address: bytes

    def __post_init__(self) -> None:
        if not 0 < self.chain_id <= LARGEST_CHAIN:
            raise FormatError("registry", f"the chain must be 1 to {LARGEST_CHAIN}")
        _account("the registry", self.address)

    def domain(self) -> dict[str, Any]:
        named = {"name": DOMAIN_NAME, "version": DOMAIN_VERSION}
        return {**named, "chainId": self.chain_id, "verifyingContract": self.address}


@dataclass(frozen=True, slots=True)
class KeyFits:
    """The key (an account) is of a machine that runs this build, as far as is known until then (Unix seconds)."""

    STRUCT: ClassVar = Struct("KeyFits", (("address", "key"), ("bytes32", "buildId"), ("uint64", "until")))
    key: bytes
    build_id: bytes
    until: int

    def __post_init__(self) -> None:
        _account("the key", self.key)
        _build(self.build_id)
        if not 0 < self.until <= LATEST:
            raise FormatError("registry", f"until must be 1 to {LATEST}")

    def message(self) -> dict[str, Any]:
        return {"key": self.key, "buildId": self.build_id, "until": self.until}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        until = fields.take("until", int)
        return cls(hex_of(fields, "key", ADDRESS_BYTES), hex_of(fields, "buildId", _DIGEST), until)


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """The key fits no more, and never will."""

    STRUCT: ClassVar = Struct("RevokeKey", (("address", "key"),))
    key: bytes

    def __post_init__(self) -> None:
        _account("the key", self.key)

    def message(self) -> dict[str, Any]:
        return {"key": self.key}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        return cls(hex_of(fields, "key", ADDRESS_BYTES))


@dataclass(frozen=True, slots=True)
class RevokeBuild:
    """No key of this build fits any more."""

    STRUCT: ClassVar = Struct("RevokeBuild", (("bytes32", "buildId"),))
    build_id: bytes

    def __post_init__(self) -> None:
        _build(self.build_id)

    def message(self) -> dict[str, Any]:
        return {"buildId": self.build_id}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        return cls(hex_of(fields, "buildId", _DIGEST))


@dataclass(frozen=True, slots=True)
class Rotate:
    """These registrars, `threshold` of them at a time, take over as generation `generation`."""

    STRUCT: ClassVar = Struct(
        "Rotate", (("address[]", "registrars"), ("uint256", "threshold"), ("uint256", "generation"))
    )
    registrars: tuple[bytes, ...]  # ascending
    threshold: int
    generation: int

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= len(self.registrars) <= MOST_REGISTRARS:
            raise FormatError("registry", f"of 1 to {MOST_REGISTRARS} registrars at least 1 and at most all must sign")
        for registrar in self.registrars:
            _account("a registrar", registrar)
        if list(self.registrars) != sorted(set(self.registrars)):
            raise FormatError("registry", "registrars must be in the order of their addresses, each once")
        if not 1 < self.generation < 1 << 53:
            raise FormatError("registry", "generation must be 2 or more")

    def message(self) -> dict[str, Any]:
        return {"registrars": list(self.registrars), "threshold": self.threshold, "generation": self.generation}

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        names = tuple(_listed(item) for item in fields.take("registrars", list))
        return cls(names, fields.take("threshold", int), fields.take("generation", int))


Claim = KeyFits | RevokeKey | RevokeBuild | Rotate
CLAIMS: Final[dict[str, type[Claim]]] = {
    kind.STRUCT.name: kind for kind in (KeyFits, RevokeKey, RevokeBuild, Rotate)
}  # fmt: skip


def digest(claim: Claim, registry: Registry) -> bytes:
    """What is signed: 32 bytes."""
    return typed_digest(DOMAIN.hash(registry.domain()), claim.STRUCT.hash(claim.message()))


def to_json(claim: Claim, registry: Registry) -> dict[str, object]:
    """Typed data as `eth_signTypedData_v4` takes it."""
    return {
        "types": {**DOMAIN.to_json(), **claim.STRUCT.to_json()},
        "primaryType": claim.STRUCT.name,
        "domain": spelt(registry.domain()),
        "message": spelt(claim.message()),
    }


def parse(fields: Fields) -> tuple[Claim, Registry]:
    """From typed data. FormatError, also where it is typed data of anything else."""
    kind, names, message = fields.take("primaryType", str), fields.sub("domain"), fields.sub("message")
    if kind not in CLAIMS:
        raise FormatError(fields.what, "primaryType is nothing that a registrar signs")
    registry = Registry(names.take("chainId", int), hex_of(names, "verifyingContract", ADDRESS_BYTES))
    if (names.take("name"), names.take("version")) != (DOMAIN_NAME, DOMAIN_VERSION):
        raise FormatError(names.what, f"is not that of {DOMAIN_NAME}, version {DOMAIN_VERSION}")
    claim = CLAIMS[kind].parse(message)
    if fields.take("types") != to_json(claim, registry)["types"]:
        raise FormatError(fields.what, f"types are not those of {kind}")
    for part in (fields, names, message):
        part.end()
    return claim, registry


def _account(who: str, address: bytes) -> None:
    if len(address) != ADDRESS_BYTES or address == _NOBODY:
        raise FormatError("registry", f"{who} must be an account that is not zero")


def _build(build_id: bytes) -> None:
    if len(build_id) != _DIGEST or not any(build_id):
        raise FormatError("registry", f"a build id must be {_DIGEST} bytes that are not all zero")


def _listed(item: object) -> bytes:
    if not isinstance(item, str) or not item.startswith("0x"):
        raise FormatError("registry", "a registrar must be spelt 0x and 40 hex digits")
    return unhex(item[2:], ADDRESS_BYTES, what="registrar")
