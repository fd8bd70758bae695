"""TDX quotes, version 4 and 5, as Intel's quoting enclave writes them. Pure; nothing here is verified.

Intel TDX DCAP Quote Generation Library, appendix A.3 (version 4) and A.4 (version 5); all integers are little-endian.

    quote       = header body-part u32:length signature-data rest
    header      = u16:version u16:attestation-key-type u32:tee-type u16:qe-svn u16:pce-svn vendor:16 user-data:20
    body-part   = body                                     version 4: a TD report 1.0
                | u16:body-type u32:size body              version 5
    signature-data = signature:64 attestation-key:64 certification(6)
    certification(6) = u16:6 u32:length qe-report:384 qe-signature:64 u16:length auth-data certification(5)
    certification(5) = u16:5 u32:length pem

The two SVN fields of the header are not used: what counts stands in the QE report and in the PCK certificate. `rest` is
padding of whoever carried the quote: it is accepted, nobody signed it, and it is part of nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from pluto_measure.errors import FormatError
from pluto_measure.formats.reader import Reader
from pluto_measure.formats.strict_json import loads

LIMIT: Final = 1024 * 1024  # bytes; a genuine quote has 5 to 8 KiB
TEE_TDX: Final = 0x81
TEE_SGX: Final = 0
ECDSA_P256: Final = 2
INTEL_QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
CERTIFICATION_QE_REPORT: Final = 6
CERTIFICATION_PCK_CHAIN: Final = 5

_HEADER: Final = Struct("<HHIHH16s20s")
_REPORT_10: Final = Struct("<16s48s48s8s8s8s48s48s48s48s48s48s48s48s64s")
_REPORT_15: Final = Struct("<16s48s")
_REPORT_15_EX: Final = Struct("<1s32s48s48s8s16s16s12s48s8s")
_QE_REPORT: Final = Struct("<16sI28s16s32s32s32s96sHH60s64s")
_BODIES: Final = {2: "1.0", 3: "1.5", 4: "1.5-Ex"}  # version 5: body type to TD report
_SIZES: Final = {"1.0": 584, "1.5": 648, "1.5-Ex": 885}
_SGX_BODY: Final = 1
_MOST_TEXT: Final = 2 * LIMIT
_SPACE: Final = b" \t\n\r\v\f"
_HEX: Final = re.compile(rb"\A(?:0[xX])?[0-9A-Fa-f\s]+\Z")


@dataclass(frozen=True, slots=True)
class ServiceTds:
    """What a TD report 1.5-Ex says beyond 1.5."""

    vm_id: bytes
    td_id: bytes  # 32
    device_info: bytes  # 48
    initial_hash: bytes  # 48
    initial_attributes: bytes  # 8
    initial_cpu_svn: bytes  # 16
    initial_tee_tcb_svn: bytes  # 16
    initial_fmspc: bytes  # 12, as the structure has it
    current_hash: bytes  # 48
    current_attributes: bytes  # 8


@dataclass(frozen=True, slots=True)
class TdReport:
    """The body of a quote: what the TDX module says of the trust domain. Registers are 48 bytes each.

    `tee_tcb_svn` is the module's at launch, `tee_tcb_svn_2` the present one: byte 0 is the module's SVN, byte 1 its
    major version, the rest are the TDX components of the platform. Attributes are 8 bytes, little-endian.
    """

    version: str  # "1.0", "1.5", "1.5-Ex"
    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    report_data: bytes  # 64
    tee_tcb_svn_2: bytes | None = None  # from 1.5 on
    mr_service_td: bytes | None = None
    service_tds: ServiceTds | None = None

    @property
    def registers(self) -> dict[str, bytes]:
        """MRTD and the four RTMRs under the names of reference values."""
        return {"mrtd": self.mr_td, "rtmr0": self.rtmr0, "rtmr1": self.rtmr1, "rtmr2": self.rtmr2, "rtmr3": self.rtmr3}


@dataclass(frozen=True, slots=True)
class QeReport:
    """The quoting enclave's report, signed by the PCK."""

    raw: bytes  # 384, what is signed
    cpu_svn: bytes
    misc_select: int
    attributes: bytes  # 16
    mr_enclave: bytes
    mr_signer: bytes  # 32
    isv_prod_id: int
    isv_svn: int
    report_data: bytes  # 64

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """From 384 bytes (Intel SDM volume 3D, REPORT without key id and MAC)."""
        cpu, misc, _, attributes, enclave, _, signer, _, product, svn, _, data = _QE_REPORT.unpack(raw)
        return cls(raw, cpu, misc, attributes, enclave, signer, product, svn, data)


@dataclass(frozen=True, slots=True)
class Quote:
    """One quote, parsed. `signed` is what the attestation key signed; `extent` all that belongs to the quote."""

    version: int  # 4 or 5
    vendor_id: bytes
    user_data: bytes
    report: TdReport
    signed: bytes
    signature: bytes  # r and s, 32 bytes each
    attestation_key: bytes  # x and y, 32 bytes each
    qe_report: QeReport
    qe_signature: bytes
    qe_auth_data: bytes
    certificates: bytes  # PEM text, as it came
    extent: int  # bytes; what follows is nobody's word

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From raw bytes. FormatError for anything but a TDX quote of version 4 or 5 with a PCK chain."""
        if len(data) > LIMIT:
            raise FormatError("quote", f"{len(data)} bytes are more than {LIMIT}")
        reader = Reader(data, what="quote")
        version, vendor, user = _header(reader)
        report = _body(reader, version)
        signed = data[: reader.offset]
        length = reader.uint(4, "signature data length")
        part = reader.sub(length, "signature")
        signature, key = part.take(64, "signature"), part.take(64, "attestation key")
        outer = _certification(part, CERTIFICATION_QE_REPORT, "certification")
        qe_report = QeReport.parse(outer.take(_QE_REPORT.size, "QE report"))
        qe_signature = outer.take(64, "QE report signature")
        auth = outer.take(outer.uint(2, "QE authentication data length"), "QE authentication data")
        inner = _certification(outer, CERTIFICATION_PCK_CHAIN, "chain")
        return cls(
            version, vendor, user, report, signed, signature, key, qe_report, qe_signature, auth, inner.rest(),
            extent=reader.offset,
        )  # fmt: skip


def _header(reader: Reader) -> tuple[int, bytes, bytes]:
    version, key_type, tee, _, _, vendor, user = _HEADER.unpack(reader.take(_HEADER.size, "header"))
    if version == 3 or (version in (4, 5) and tee == TEE_SGX):  # SGX quotes have the same header
        raise FormatError(
            "quote", f"version {version} with TEE type {tee:#x} is an SGX quote, not a TDX quote", offset=4
        )
    if version not in (4, 5):
        raise FormatError("quote", f"version {version} is neither 4 nor 5", offset=0)
    if tee != TEE_TDX:
        raise FormatError("quote", f"TEE type {tee:#x} is not TDX ({TEE_TDX:#x})", offset=4)
    if key_type != ECDSA_P256:
        raise FormatError("quote", f"attestation key type {key_type} is not ECDSA P-256 ({ECDSA_P256})", offset=2)
    return version, vendor, user


def _body(reader: Reader, version: int) -> TdReport:
    if version == 4:
        return _report(reader.take(_SIZES["1.0"], "TD report"), "1.0")
    kind = reader.uint(2, "body type")
    if kind == _SGX_BODY:
        raise reader.error("body type 1 is an SGX enclave report, not a TD report")
    if kind not in _BODIES:
        raise reader.error(f"body type {kind} is not one of 2, 3, 4")
    size, name = reader.uint(4, "body size"), _BODIES[kind]
    if size != _SIZES[name]:
        raise reader.error(f"body size {size} is not {_SIZES[name]}, that of a TD report {name}")
    return _report(reader.take(size, "TD report"), name)


def _report(body: bytes, name: str) -> TdReport:
    first = _REPORT_10.unpack_from(body)
    if name == "1.0":
        return TdReport(name, *first)
    svn, service = _REPORT_15.unpack_from(body, _SIZES["1.0"])
    more = None if name == "1.5" else ServiceTds(*_REPORT_15_EX.unpack_from(body, _SIZES["1.5"]))
    return TdReport(*(name, *first, svn, service, more))


def _certification(reader: Reader, wanted: int, field: str) -> Reader:
    """The content of one certification data block, which must be the last thing in `reader`."""
    kind = reader.uint(2, f"{field} type")
    if kind != wanted:
        hint = "a quote must carry its PCK certificate chain" if wanted == CERTIFICATION_PCK_CHAIN else None
        problem = f"certification data type {kind} is not {wanted}"
        raise reader.error(f"{problem}: {hint}" if hint else problem)
    content = reader.sub(reader.uint(4, f"{field} length"), field)
    reader.end()
    return content


def begins(data: bytes) -> bool:
    """Whether `data` starts like a raw quote of any version and TEE that we can name in an error."""
    return len(data) >= _HEADER.size and data[:2] in (b"\3\0", b"\4\0", b"\5\0") and data[12:28] == INTEL_QE_VENDOR


def is_hex(data: bytes) -> bool:
    """Whether `data` is hex text, as quotes are often kept."""
    return _HEX.match(data.strip()) is not None


def unwrap(data: bytes) -> bytes:
    """A raw quote from the forms in which quotes are kept: raw, hex text, a JSON array of bytes. FormatError.

    Anything else comes back as it is, for `Quote.parse` to say what is wrong with it.
    """
    if len(data) > _MOST_TEXT:
        raise FormatError("quote", f"{len(data)} bytes are more than {_MOST_TEXT}")
    text = data.strip()
    if text[:1] == b"[" and text[-1:] == b"]":
        if text[1:-1].translate(None, b"0123456789, \t\n\r"):  # numbers alone take little memory
            raise FormatError("quote", "is a JSON array, but not of bytes")
        try:
            return bytes(loads(text, what="quote", limit=_MOST_TEXT))
        except ValueError as error:
            raise FormatError("quote", "is a JSON array, but not of bytes") from error
    if _HEX.match(text):
        digits = text.removeprefix(b"0x").removeprefix(b"0X").translate(None, _SPACE)
        if len(digits) % 2:
            raise FormatError("quote", f"is hex text with an odd number of digits ({len(digits)})")
        return bytes.fromhex(digits.decode())
    return data
