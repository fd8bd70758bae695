"""EIP-712: the digest of a typed structure, for the few types that our structures have. Pure.

EIP-712, "Definition of typed structured data", "encodeType", "encodeData", "domainSeparator":

    encodeType(S)      = name ‖ "(" ‖ type ‖ " " ‖ name ‖ "," … ‖ ")", then that of every referenced structure, by name
    hashStruct(S)      = keccak256( keccak256(encodeType(S)) ‖ encodeData(S) )
    encodeData         = 32 bytes for each member, in order: numbers and addresses big-endian, bytes32 as they are,
                         keccak256 of a string's UTF-8, hashStruct of a structure, keccak256 of an array's parts
    digest             = keccak256( 19 01 ‖ hashStruct(domain) ‖ hashStruct(S) )
"""

from __future__ import annotations

from pluto_notary.statement.keccak import SIZE, keccak256

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

PREFIX: Final = b"\x19\x01"
_SIZES: Final = {"bytes32": 32, "address": 20}
_BITS: Final = {"uint64": 64, "uint256": 256}


class Struct:
    """A structure's name, its members as (type, name), and the structures that their types name.

    `type_text` is its encodeType, `type_hash` the digest of that, 32 bytes.
    """

    __slots__ = ("members", "name", "referenced", "type_hash", "type_text")

    def __init__(self, name: str, members: tuple[tuple[str, str], ...], referenced: tuple[Struct, ...] = ()) -> None:
        self.name, self.members, self.referenced = name, members, referenced
        others = sorted(referenced, key=lambda other: other.name)
        self.type_text = "".join(struct._own_text() for struct in (self, *others))
        self.type_hash = keccak256(self.type_text.encode())

    def hash(self, values: Mapping[str, Any]) -> bytes:
        """hashStruct, 32 bytes. `values` has every member and no other; ValueError for what does not fit its type.

        Numbers are int, text is str, bytes32 and addresses are bytes; a structure is a mapping, an array a sequence.
        """
        if set(values) != {name for _, name in self.members}:
            raise ValueError(f"{self.name} has other members than {', '.join(sorted(values))}")
        return keccak256(self.type_hash + b"".join(self._encoded(kind, values[name]) for kind, name in self.members))

    def to_json(self) -> dict[str, list[dict[str, str]]]:
        """This structure and those that it names, as typed data has them in `types`."""
        return {
            struct.name: [{"name": name, "type": kind} for kind, name in struct.members]
            for struct in (self, *self.referenced)
        }

    def _own_text(self) -> str:
        return f"{self.name}({','.join(f'{kind} {name}' for kind, name in self.members)})"

    def _encoded(self, kind: str, value: Any) -> bytes:
        if kind.endswith("[]"):
            return keccak256(b"".join(self._encoded(kind[:-2], item) for item in value))
        for struct in self.referenced:
            if struct.name == kind:
                return struct.hash(value)
        if kind == "string":
            return keccak256(value.encode())
        if kind in _BITS:
            if not 0 <= value < 1 << _BITS[kind]:
                raise ValueError(f"{value} is no {kind}")
            return int(value).to_bytes(SIZE, "big")
        if len(value) != _SIZES[kind]:
            raise ValueError(f"{len(value)} bytes are no {kind}")
        return bytes(value).rjust(SIZE, b"\0")


def typed_digest(domain_separator: bytes, struct_hash: bytes) -> bytes:
    """What is signed, 32 bytes. Its preimage has 66 bytes and begins with 19, so it is no transaction's."""
    assert len(domain_separator) == len(struct_hash) == SIZE
    return keccak256(PREFIX + domain_separator + struct_hash)
