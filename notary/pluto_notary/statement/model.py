"""A statement: what the notary saw of a web site, in words that it signs (EIP-712). Pure.

Grammar, members and their meaning: docs/formats/proof.md. Type strings and their hashes are pinned by a test, since
contracts are compiled with them: a change is another version.
"""

from __future__ import annotations

import re

from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields, unhex
from pluto_measure.record import record
from pluto_notary.statement.eip712 import Struct, typed_digest
from pluto_notary.statement.values import ValueDigest, check_ids, few

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Any, Final, Self

DOMAIN_NAME: Final = "Pluto TEE notary"
DOMAIN_VERSION: Final = "2"
DOMAIN: Final = Struct(
    "EIP712Domain",
    (("string", "name"), ("string", "version"), ("uint256", "chainId"), ("address", "verifyingContract")),
)
VALUE: Final = Struct("Value", (("string", "id"), ("bytes32", "digest")))
_MEMBERS: Final = (
    ("string", "mode"),
    ("string", "host"),
    ("bytes32", "certificate"),
    ("bytes32", "manifest"),
    ("Value[]", "values"),
    ("bytes32", "session"),
    ("bytes32", "nonce"),
    ("address", "recipient"),
    ("uint64", "notBefore"),
    ("uint64", "notAfter"),
    ("bytes32", "build"),
)
# Each mode has a type of its own, so whoever accepts one by its type cannot be given another.
STRUCTS: Final = {
    "fetch": Struct("FetchStatement", _MEMBERS, (VALUE,)),
    "observe": Struct("ObserveStatement", _MEMBERS, (VALUE,)),
}
ANYBODY: Final = bytes(20)  # a recipient, or a contract, that names nobody
LARGEST_CHAIN: Final = 2**53 - 1  # what JSON can spell
LATEST: Final = 253402300799  # the last second of the year 9999
_LONGEST_HOST: Final = 253
_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*(:[1-9][0-9]{0,4})?")


@record
class Domain:
    """Where a statement counts. Chain 0 and contract zeros are none: it is for people and servers."""

    chain_id: int
    contract: bytes  # 20 bytes

    def __post_init__(self) -> None:
        if not 0 <= self.chain_id <= LARGEST_CHAIN:
            raise FormatError("statement", f"chainId must be 0 to {LARGEST_CHAIN}")
        _sized("verifyingContract", self.contract, 20)

    def values(self) -> dict[str, Any]:
        return {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": self.chain_id,
            "verifyingContract": self.contract,
        }

    def separator(self) -> bytes:
        """32 bytes."""
        return DOMAIN.hash(self.values())


@record
class Statement:
    """FormatError for what cannot be signed, such as a name that is none. Times are Unix seconds."""

    mode: str  # "fetch": the notary asked the site itself; "observe": the client did, the notary watched
    host: str  # as the certificate and Host have it, with the port unless it is 443
    certificate: bytes  # SHA-256 of the site's leaf certificate (DER)
    manifest: bytes  # keccak-256 of the canonical manifest
    values: tuple[ValueDigest, ...]
    session: bytes  # 32 bytes that the notary made
    nonce: bytes  # 32 bytes that the client, or whoever asked him, made
    recipient: bytes  # 20 bytes: whose statement it is
    not_before: int  # what was seen was seen between these, by trusted time
    not_after: int
    build: bytes  # build id of the notary, 32 bytes
    domain: Domain

    def __post_init__(self) -> None:
        if self.mode not in STRUCTS:
            raise FormatError("statement", f"mode {self.mode!r} is not known")
        if not _is_host(self.host):
            raise FormatError("statement", f"host {self.host[:64]!r} is no name in lower case, with or without a port")
        for name in ("certificate", "manifest", "session", "nonce", "build"):
            _sized(name, getattr(self, name), 32)
        _sized("recipient", self.recipient, 20)
        for name in ("not_before", "not_after"):
            if not 0 <= getattr(self, name) <= LATEST:
                raise FormatError("statement", f"{name} must be 0 to {LATEST}")
        check_ids((value.id for value in self.values), what="statement.values")
        for value in self.values:
            _sized(f"digest of {value.id!r}", value.digest, 32)

    @property
    def struct(self) -> Struct:
        """The type that is signed."""
        return STRUCTS[self.mode]

    def digest(self) -> bytes:
        """What is signed: 32 bytes."""
        return typed_digest(self.domain.separator(), self.struct.hash(self.message()))

    def message(self) -> dict[str, Any]:
        """The members by the names of the type; bytes as bytes."""
        return {
            "mode": self.mode,
            "host": self.host,
            "certificate": self.certificate,
            "manifest": self.manifest,
            "values": [{"id": value.id, "digest": value.digest} for value in self.values],
            "session": self.session,
            "nonce": self.nonce,
            "recipient": self.recipient,
            "notBefore": self.not_before,
            "notAfter": self.not_after,
            "build": self.build,
        }

    def to_json(self) -> dict[str, object]:
        """Typed data as `eth_signTypedData_v4` takes it: any wallet's library gives the same digest."""
        return {
            "types": {**DOMAIN.to_json(), **self.struct.to_json()},
            "primaryType": self.struct.name,
            "domain": spelt(self.domain.values()),
            "message": spelt(self.message()),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """From typed data. FormatError, also where it is typed data of anything else."""
        message, names = fields.sub("message"), fields.sub("domain")
        statement = cls(
            mode=message.take("mode", str),
            host=message.take("host", str),
            certificate=hex_of(message, "certificate", 32),
            manifest=hex_of(message, "manifest", 32),
            values=tuple(_value(item, message.what) for item in few(message.take("values", list), what=message.what)),
            session=hex_of(message, "session", 32),
            nonce=hex_of(message, "nonce", 32),
            recipient=hex_of(message, "recipient", 20),
            not_before=message.take("notBefore", int),
            not_after=message.take("notAfter", int),
            build=hex_of(message, "build", 32),
            domain=Domain(names.take("chainId", int), hex_of(names, "verifyingContract", 20)),
        )
        wanted = statement.to_json()
        for name in ("types", "primaryType"):
            if fields.take(name) != wanted[name]:
                raise FormatError(fields.what, f"{name} are not those of a statement of mode {statement.mode}")
        if (names.take("name"), names.take("version")) != (DOMAIN_NAME, DOMAIN_VERSION):
            raise FormatError(names.what, f"is not that of {DOMAIN_NAME}, version {DOMAIN_VERSION}")
        for part in (fields, message, names):
            part.end()
        return statement


def hex_of(fields: Fields, name: str, size: int) -> bytes:
    """A required member that is `size` bytes, spelt as Ethereum does: 0x and lower-case hex."""
    text, what = fields.take(name, str), f"{fields.what}.{name}"
    if not text.startswith("0x"):
        raise FormatError(what, "must begin with 0x")
    return unhex(text[2:], size, what=what)


def spelt(value: Any) -> Any:
    """The same with bytes as 0x and hex."""
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, dict):
        return {name: spelt(item) for name, item in value.items()}
    return [spelt(item) for item in value] if isinstance(value, list) else value


def _value(item: object, what: str) -> ValueDigest:
    fields = Fields(item, what=f"{what}.values[]")
    value = ValueDigest(fields.take("id", str), hex_of(fields, "digest", 32))
    fields.end()
    return value


def _is_host(text: str) -> bool:
    name, _, port = text.partition(":")
    # 443 goes without saying, so each authority has one spelling.
    return len(name) <= _LONGEST_HOST and bool(_HOST.fullmatch(text)) and port != "443" and int(port or 0) <= 65535


def _sized(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise FormatError("statement", f"{name} must be {size} bytes, not {len(value)}")
