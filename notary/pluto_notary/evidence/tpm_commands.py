"""The TPM 2.0 commands that evidence needs, and their responses. Pure: bytes for a device, bytes from a device.

TPM 2.0 Library, Part 3 (Commands); headers: Part 1, 18; response codes: Part 2, 6.6. All integers are big-endian.
"""

from __future__ import annotations

from pluto_measure.binding import BANKS
from pluto_measure.digests import ALGORITHMS
from pluto_measure.formats import tpm_quote as tpm
from pluto_measure.formats.reader import Reader
from pluto_measure.record import record
from pluto_notary.errors import TpmError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

HEADER_BYTES: Final = 10
LARGEST_RESPONSE: Final = 4096  # bytes; what the Linux driver hands over at most

_ST_NO_SESSIONS: Final = 0x8001
_ST_SESSIONS: Final = 0x8002
_CC_NV_UNDEFINE_SPACE: Final = 0x122
_CC_NV_DEFINE_SPACE: Final = 0x12A
_CC_CREATE_PRIMARY: Final = 0x131
_CC_NV_WRITE: Final = 0x137
_CC_NV_READ: Final = 0x14E
_CC_QUOTE: Final = 0x158
_CC_FLUSH_CONTEXT: Final = 0x165
_CC_NV_READ_PUBLIC: Final = 0x169
_CC_PCR_READ: Final = 0x17E
_SHA256: Final = ALGORITHMS["sha256"][0].to_bytes(2, "big")
_RS_PW: Final = 0x4000_0009
# One password authorisation with an empty password: handle, nonce, attributes, hmac.
_EMPTY_AUTH: Final = _RS_PW.to_bytes(4, "big") + b"\0\0" + b"\0" + b"\0\0"

# Warnings that mean "send it again": yielded, testing, retry, cancelled by the driver.
RC_AGAIN: Final = frozenset({0x908, 0x90A, 0x922, 0x909})
# There is no such NV index: a bad handle 1.
RC_NO_INDEX: Final = frozenset({0x18B})
# The loaded key is gone, as after a reset of the device: reference to handle 0, or a bad handle 1.
RC_KEY_GONE: Final = frozenset({0x910, 0x18B})

NV_PIECE: Final = 1024  # bytes in one read or write; every TPM of a PC takes as many
LARGEST_INDEX: Final = 16 * 1024  # bytes
# TPMA_NV (Part 2, table 247): an ordinary index that the owner writes and reads.
NV_OWNER: Final = 1 << 1 | 1 << 17

ALL_REGISTERS: Final = tuple(tpm.PcrSelection(bank, tuple(range(tpm.PCR_COUNT))) for bank in BANKS)

# The attestation key: restricted, so that it signs nothing but what the TPM itself states.
# TPMT_PUBLIC without a key (Part 2, table 225).
_AK_ATTRIBUTES: Final = (
    tpm.FIXED_TPM
    | tpm.FIXED_PARENT
    | tpm.SENSITIVE_DATA_ORIGIN
    | tpm.USER_WITH_AUTH
    | tpm.NO_DA
    | tpm.RESTRICTED
    | tpm.SIGN
)
AK_TEMPLATE: Final = b"".join(
    (
        tpm.ALG_ECC.to_bytes(2, "big"),
        _SHA256,  # nameAlg
        _AK_ATTRIBUTES.to_bytes(4, "big"),
        tpm.tpm2b(b""),  # authPolicy
        tpm.ALG_NULL.to_bytes(2, "big"),  # symmetric
        tpm.ALG_ECDSA.to_bytes(2, "big") + _SHA256,  # scheme
        tpm.CURVE_P256.to_bytes(2, "big"),
        tpm.ALG_NULL.to_bytes(2, "big"),  # kdf
        tpm.tpm2b(b"") + tpm.tpm2b(b""),  # x and y
    )
)


@record
class PcrValues:
    """One PCR_Read: a counter that moves with every change, and the values by bank and register."""

    update_counter: int
    values: dict[tuple[str, int], bytes]


def create_primary() -> bytes:
    """TPM2_CreatePrimary of the attestation key in the owner hierarchy (Part 3, 24.1)."""
    sensitive = tpm.tpm2b(tpm.tpm2b(b"") + tpm.tpm2b(b""))
    no_creation_pcr = tpm.marshal_selections(())
    parameters = sensitive + tpm.tpm2b(AK_TEMPLATE) + tpm.tpm2b(b"") + no_creation_pcr
    return _with_session(_CC_CREATE_PRIMARY, tpm.RH_OWNER, parameters)


def created(response: bytes) -> tuple[int, bytes]:
    """The handle and the TPMT_PUBLIC of a created key. TpmError, FormatError."""
    reader = _body("TPM2_CreatePrimary", response)
    handle = reader.uint(4, "objectHandle")
    reader.uint(4, "parameterSize")
    return handle, tpm.read_tpm2b(reader, "outPublic")


def quote(handle: int, extra_data: bytes, selections: tuple[tpm.PcrSelection, ...] = ALL_REGISTERS) -> bytes:
    """TPM2_Quote over registers with the key's own scheme (Part 3, 18.4)."""
    scheme = tpm.ALG_NULL.to_bytes(2, "big")
    return _with_session(_CC_QUOTE, handle, tpm.tpm2b(extra_data) + scheme + tpm.marshal_selections(selections))


def quoted(response: bytes) -> tuple[bytes, bytes]:
    """TPMS_ATTEST and TPMT_SIGNATURE, as bytes. TpmError, FormatError."""
    reader = _body("TPM2_Quote", response)
    parameters = reader.sub(reader.uint(4, "parameterSize"), "parameters")
    return tpm.read_tpm2b(parameters, "quoted"), parameters.rest()


def flush_context(handle: int) -> bytes:
    """TPM2_FlushContext (Part 3, 28.4)."""
    return _command(_ST_NO_SESSIONS, _CC_FLUSH_CONTEXT, handle.to_bytes(4, "big"))


def flushed(response: bytes) -> None:
    """TpmError unless the context was flushed."""
    _body("TPM2_FlushContext", response).end()


def pcr_read(selections: tuple[tpm.PcrSelection, ...]) -> bytes:
    """TPM2_PCR_Read (Part 3, 22.4). A TPM answers with at most eight values; ask again for the rest."""
    return _command(_ST_NO_SESSIONS, _CC_PCR_READ, tpm.marshal_selections(selections))


def pcr_values(response: bytes) -> PcrValues:
    """The values of one response. TpmError, FormatError."""
    reader = _body("TPM2_PCR_Read", response)
    counter = reader.uint(4, "pcrUpdateCounter")
    chosen = [(s.algorithm, register) for s in tpm.read_selections(reader) for register in s.registers]
    if (count := reader.uint(4, "digest count")) != len(chosen):
        raise reader.error(f"{count} values for {len(chosen)} registers")
    values = {}
    for bank, register in chosen:
        values[bank, register] = tpm.read_tpm2b(reader, "digest", 64)
        if len(values[bank, register]) != ALGORITHMS[bank][1]:
            raise reader.error(f"value of {bank} has {len(values[bank, register])} bytes")
    reader.end()
    return PcrValues(counter, values)


@record
class NvPublic:
    """TPMS_NV_PUBLIC of an index, without its policy: attributes (TPMA_NV) and size in bytes."""

    index: int
    attributes: int
    size: int


def nv_read_public(index: int) -> bytes:
    """TPM2_NV_ReadPublic (Part 3, 31.6)."""
    return _command(_ST_NO_SESSIONS, _CC_NV_READ_PUBLIC, index.to_bytes(4, "big"))


def nv_public(response: bytes) -> NvPublic:
    """What an index is. TpmError (RC_NO_INDEX where there is none), FormatError."""
    reader = _body("TPM2_NV_ReadPublic", response)
    inner = Reader(tpm.read_tpm2b(reader, "nvPublic"), what="TPMS_NV_PUBLIC", order="big")
    index = inner.uint(4, "nvIndex")
    inner.uint(2, "nameAlg")
    attributes = inner.uint(4, "attributes")
    tpm.read_tpm2b(inner, "authPolicy", 64)
    size = inner.uint(2, "dataSize")
    inner.end()
    return NvPublic(index, attributes, size)


def nv_read(index: int, size: int, offset: int) -> bytes:
    """TPM2_NV_Read of at most NV_PIECE bytes, by the owner (Part 3, 31.13)."""
    handles = tpm.RH_OWNER.to_bytes(4, "big") + index.to_bytes(4, "big")
    return _authorised(_CC_NV_READ, handles, size.to_bytes(2, "big") + offset.to_bytes(2, "big"))


def nv_data(response: bytes) -> bytes:
    """What was read. TpmError, FormatError."""
    reader = _body("TPM2_NV_Read", response)
    parameters = reader.sub(reader.uint(4, "parameterSize"), "parameters")
    data = tpm.read_tpm2b(parameters, "data", NV_PIECE)
    parameters.end()
    return data


def nv_write(index: int, data: bytes, offset: int) -> bytes:
    """TPM2_NV_Write of at most NV_PIECE bytes, by the owner (Part 3, 31.7)."""
    handles = tpm.RH_OWNER.to_bytes(4, "big") + index.to_bytes(4, "big")
    return _authorised(_CC_NV_WRITE, handles, tpm.tpm2b(data) + offset.to_bytes(2, "big"))


def nv_define_space(index: int, size: int) -> bytes:
    """TPM2_NV_DefineSpace of an index that the owner writes and reads (Part 3, 31.3)."""
    public = index.to_bytes(4, "big") + _SHA256 + NV_OWNER.to_bytes(4, "big") + tpm.tpm2b(b"") + size.to_bytes(2, "big")
    return _with_session(_CC_NV_DEFINE_SPACE, tpm.RH_OWNER, tpm.tpm2b(b"") + tpm.tpm2b(public))


def nv_undefine_space(index: int) -> bytes:
    """TPM2_NV_UndefineSpace by the owner (Part 3, 31.4)."""
    return _authorised(_CC_NV_UNDEFINE_SPACE, tpm.RH_OWNER.to_bytes(4, "big") + index.to_bytes(4, "big"), b"")


def done(command: str, response: bytes) -> None:
    """TpmError unless a command that answers nothing was carried out; FormatError."""
    _body(command, response)


def response_code(response: bytes) -> int:
    """The response code; 0 is success. FormatError unless the header fits the response."""
    return _header(response)[0]


def _header(response: bytes) -> tuple[int, Reader]:
    reader = Reader(response, what="TPM response", order="big")
    if (tag := reader.uint(2, "tag")) not in (_ST_NO_SESSIONS, _ST_SESSIONS):
        raise reader.error(f"tag {tag:#06x} is not known")
    size, code = reader.uint(4, "responseSize"), reader.uint(4, "responseCode")
    if size != len(response):
        raise reader.error(f"responseSize is {size}, {len(response)} bytes came")
    return code, reader


def _body(command: str, response: bytes) -> Reader:
    code, reader = _header(response)
    if code:
        raise TpmError(command, code)
    return reader


def _with_session(code: int, handle: int, parameters: bytes) -> bytes:
    return _authorised(code, handle.to_bytes(4, "big"), parameters)


def _authorised(code: int, handles: bytes, parameters: bytes) -> bytes:
    authorisation = len(_EMPTY_AUTH).to_bytes(4, "big") + _EMPTY_AUTH
    return _command(_ST_SESSIONS, code, handles + authorisation + parameters)


def _command(tag: int, code: int, rest: bytes) -> bytes:
    size = HEADER_BYTES + len(rest)
    return tag.to_bytes(2, "big") + size.to_bytes(4, "big") + code.to_bytes(4, "big") + rest
