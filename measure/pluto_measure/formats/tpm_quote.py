"""TPM 2.0 structures that quoting needs: identifiers, TPM2B, PCR selections, TPMS_ATTEST. No IO.

TPM 2.0 Library, Part 2 (Structures); all integers are big-endian. Who holds a device starts with this alone;
signatures and public areas are in `pluto_measure.formats.tpm`, which gives these names to everybody else.
"""

from __future__ import annotations

from pluto_measure.digests import ALGORITHMS, NAME_OF
from pluto_measure.formats.reader import Reader
from pluto_measure.record import record

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final, Self

# Part 2, table 9 (TPM_ALG_ID).
ALG_RSA: Final = 0x0001
ALG_NULL: Final = 0x0010
ALG_RSASSA: Final = 0x0014
ALG_ECDSA: Final = 0x0018
ALG_ECC: Final = 0x0023

# Part 2, table 10 (TPM_ECC_CURVE): identifier to the size of a coordinate in bytes.
CURVE_P256: Final = 0x0003
CURVE_P384: Final = 0x0004
CURVE_BYTES: Final[dict[int, int]] = {CURVE_P256: 32, CURVE_P384: 48}

# Part 2, table 31 (TPMA_OBJECT).
FIXED_TPM: Final = 1 << 1
ST_CLEAR: Final = 1 << 2
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
USER_WITH_AUTH: Final = 1 << 6
ADMIN_WITH_POLICY: Final = 1 << 7
NO_DA: Final = 1 << 10
ENCRYPTED_DUPLICATION: Final = 1 << 11
RESTRICTED: Final = 1 << 16
DECRYPT: Final = 1 << 17
SIGN: Final = 1 << 18

# Part 2, table 28 (TPM_RH): the hierarchies that can hold a primary key.
RH_OWNER: Final = 0x4000_0001
RH_ENDORSEMENT: Final = 0x4000_000B

GENERATED: Final = 0xFF54_4347  # TPM_GENERATED_VALUE: no other bytes that begin so are signed by a restricted key
ST_ATTEST_QUOTE: Final = 0x8018
PCR_COUNT: Final = 24  # PC Client Platform TPM Profile: 24 registers, 3 bytes of bitmap
_LARGEST_2B: Final = 1024


def tpm2b(data: bytes) -> bytes:
    """TPM2B_*: a u16 length and the bytes. ValueError beyond 65535 bytes."""
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes do not fit a TPM2B")
    return len(data).to_bytes(2) + data


def read_tpm2b(reader: Reader, field: str, limit: int = _LARGEST_2B) -> bytes:
    """The content of a TPM2B_* of at most `limit` bytes. FormatError beyond."""
    size = reader.uint(2, f"{field} size")
    if size > limit:
        raise reader.error(f"{field} of {size} bytes is longer than {limit}")
    return reader.take(size, field)


@record
class PcrSelection:
    """TPMS_PCR_SELECTION: a bank by its algorithm's name and the registers chosen, ascending."""

    algorithm: str
    registers: tuple[int, ...]

    def marshal(self) -> bytes:
        bits = sum(1 << register for register in self.registers)
        return ALGORITHMS[self.algorithm][0].to_bytes(2) + b"\3" + bits.to_bytes(3, "little")


def marshal_selections(selections: tuple[PcrSelection, ...]) -> bytes:
    """TPML_PCR_SELECTION."""
    return len(selections).to_bytes(4) + b"".join(selection.marshal() for selection in selections)


def read_selections(reader: Reader) -> tuple[PcrSelection, ...]:
    """TPML_PCR_SELECTION of at most 16 banks, 24 registers each (sizeofSelect must be 3)."""
    if (count := reader.uint(4, "PCR selection count")) > 16:
        raise reader.error(f"{count} PCR selections are more than 16")
    return tuple(_read_selection(reader) for _ in range(count))


@record
class Attest:
    """TPMS_ATTEST of type quote (Part 2, table 140): what the TPM signs. `clock` is in milliseconds."""

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    selections: tuple[PcrSelection, ...]
    pcr_digest: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """FormatError unless `data` is exactly one quote with TPM_GENERATED_VALUE."""
        reader = Reader(data, what="TPMS_ATTEST", order="big")
        if (magic := reader.uint(4, "magic")) != GENERATED:
            raise reader.error(f"magic is {magic:#010x}, not {GENERATED:#010x}: no TPM made this structure")
        if (kind := reader.uint(2, "type")) != ST_ATTEST_QUOTE:
            raise reader.error(f"type is {kind:#06x}, not a quote ({ST_ATTEST_QUOTE:#06x})")
        attest = cls(
            qualified_signer=read_tpm2b(reader, "qualifiedSigner", 66),
            extra_data=read_tpm2b(reader, "extraData", 66),
            clock=reader.uint(8, "clock"),
            reset_count=reader.uint(4, "resetCount"),
            restart_count=reader.uint(4, "restartCount"),
            safe=_read_bool(reader, "safe"),
            firmware_version=reader.uint(8, "firmwareVersion"),
            selections=read_selections(reader),
            pcr_digest=read_tpm2b(reader, "pcrDigest", 64),
        )
        reader.end()
        return attest

    def marshal(self) -> bytes:
        head = GENERATED.to_bytes(4) + ST_ATTEST_QUOTE.to_bytes(2)
        names = tpm2b(self.qualified_signer) + tpm2b(self.extra_data)
        counts = self.clock.to_bytes(8) + self.reset_count.to_bytes(4) + self.restart_count.to_bytes(4)
        firmware = bytes([self.safe]) + self.firmware_version.to_bytes(8)
        return head + names + counts + firmware + marshal_selections(self.selections) + tpm2b(self.pcr_digest)


def read_hash(reader: Reader, field: str) -> str:
    """A TPM_ALG_ID of a hash, as its name. FormatError."""
    if (number := reader.uint(2, field)) not in NAME_OF:
        raise reader.error(f"{field} {number:#06x} is not a known hash algorithm")
    return NAME_OF[number]


def _read_selection(reader: Reader) -> PcrSelection:
    algorithm = read_hash(reader, "bank")
    if (size := reader.uint(1, "sizeofSelect")) != PCR_COUNT // 8:
        raise reader.error(f"sizeofSelect is {size}, not {PCR_COUNT // 8}")
    bits = int.from_bytes(reader.take(size, "pcrSelect"), "little")
    return PcrSelection(algorithm, tuple(register for register in range(PCR_COUNT) if bits >> register & 1))


def _read_bool(reader: Reader, field: str) -> bool:
    if (value := reader.uint(1, field)) > 1:
        raise reader.error(f"{field} is {value}, neither 0 nor 1")
    return value == 1
