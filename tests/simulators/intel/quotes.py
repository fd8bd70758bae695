"""TD reports and quotes, byte by byte, right or wrong on purpose. For tests alone. All integers little-endian.

Grammar (Intel, "TDX DCAP Quoting Library API", quote formats 3, 4 and 5; TD report 1.5-Ex as Intel QVL reads it):

    quote      ::= header(48) [descriptor(6) in v5] body size:u32 signature-data
    header     ::= version:u16 key-type:u16 tee-type:u32 qe-svn:u16 pce-svn:u16 vendor-id(16) user-data(20)
    descriptor ::= body-type:u16 body-size:u32           (1: 384, 2: 584, 3: 648, 4: 885 bytes)
    signature-data ::= signature(64) attestation-key(64) certification
    certification  ::= type:u16 size:u32 data            (v4, v5: type 6, whose data is qe-part; v3: qe-part itself)
    qe-part    ::= qe-report(384) signature(64) size:u16 auth-data type:u16 size:u32 data
                                                          (type 5: PEM of leaf, intermediate, root)

TD report, offset and size: TEE_TCB_SVN 0 (16), MRSEAM 16 (48), MRSIGNERSEAM 64 (48), SEAMATTRIBUTES 112 (8),
TDATTRIBUTES 120 (8), XFAM 128 (8), MRTD 136 (48), MRCONFIGID 184 (48), MROWNER 232 (48), MROWNERCONFIG 280 (48),
RTMR[0..3] 328 (4 x 48), REPORTDATA 520 (64).
From 1.5 on: TEE_TCB_SVN2 584 (16), MRSERVICETD 600 (48).
In 1.5-Ex: VM id 648 (1), TD id 649 (32), device info 681 (48), initial service-TD hash 729 (48), initial service-TD
attributes 777 (8), initial CPUSVN 785 (16), initial TEE_TCB_SVN 801 (16), initial FMSPC 817 (12), current service-TD
hash 829 (48), current service-TD attributes 877 (8); together 885.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .authority import Pck
from .certificates import Issued, Key, key_of, raw_public, raw_signature
from .documents import MODULE, QE, QE_MRSIGNER, TDX_MICROCODE

TDX, SGX = 0x81, 0
SGX_BODY, TD10, TD15, TD15EX = 1, 2, 3, 4
BODY_SIZES = {SGX_BODY: 384, TD10: 584, TD15: 648, TD15EX: 885}
INTEL_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
SEPT_VE_DISABLE, MIGRATABLE, PKS, KL, DEBUG, PERFMON = 1 << 28, 1 << 29, 1 << 30, 1 << 31, 1, 1 << 63
AUTH_DATA = bytes(range(32))


def pattern(name: str, size: int = 48) -> bytes:
    """Bytes that belong to a name: a different, steady value for each measurement."""
    return hashlib.shake_256(name.encode()).digest(size)


def tee_tcb_svn(module: int = MODULE["UpToDate"], version: int = 1, microcode: int = TDX_MICROCODE) -> bytes:
    """Byte 0: the module's ISVSVN; 1: its major version; 2: the TDX component of the microcode."""
    return bytes([module, version, microcode]) + bytes(13)


@dataclass(frozen=True)
class TdReport:
    """A TD report; `kind` is its body type (TD10, TD15, TD15EX) and says which fields are written."""

    kind: int = TD10
    tee_tcb_svn: bytes = tee_tcb_svn()
    mrseam: bytes = pattern("MRSEAM")
    mrsignerseam: bytes = bytes(48)
    seamattributes: bytes = bytes(8)
    tdattributes: int = SEPT_VE_DISABLE
    xfam: int = 0x602E7
    mrtd: bytes = pattern("MRTD")
    mrconfigid: bytes = bytes(48)
    mrowner: bytes = bytes(48)
    mrownerconfig: bytes = bytes(48)
    rtmrs: tuple[bytes, bytes, bytes, bytes] = (pattern("RTMR0"), pattern("RTMR1"), pattern("RTMR2"), bytes(48))
    reportdata: bytes = pattern("REPORTDATA", 64)
    tee_tcb_svn2: bytes | None = None  # None: as at launch
    mrservicetd: bytes = bytes(48)
    vm_id: int = 1
    td_id: bytes = pattern("TD id", 32)
    device_info: bytes = bytes(48)
    initial_service_td_hash: bytes = bytes(48)
    initial_service_td_attributes: bytes = bytes(8)
    initial_cpusvn: bytes = bytes(16)  # not recorded
    initial_tee_tcb_svn: bytes | None = None  # None: as at launch
    initial_fmspc: bytes = bytes.fromhex("30a06f000000") + bytes(6)
    current_service_td_hash: bytes = bytes(48)
    current_service_td_attributes: bytes = bytes(8)

    tee_type: ClassVar[int] = TDX

    def encode(self) -> bytes:
        launch = self.tee_tcb_svn
        parts = [launch, self.mrseam, self.mrsignerseam, self.seamattributes]
        parts += [struct.pack("<QQ", self.tdattributes, self.xfam)]
        parts += [self.mrtd, self.mrconfigid, self.mrowner, self.mrownerconfig, *self.rtmrs, self.reportdata]
        if self.kind >= TD15:
            parts += [launch if self.tee_tcb_svn2 is None else self.tee_tcb_svn2, self.mrservicetd]
        if self.kind >= TD15EX:
            parts += [bytes([self.vm_id]), self.td_id, self.device_info]
            parts += [self.initial_service_td_hash, self.initial_service_td_attributes, self.initial_cpusvn]
            parts += [launch if self.initial_tee_tcb_svn is None else self.initial_tee_tcb_svn, self.initial_fmspc]
            parts += [self.current_service_td_hash, self.current_service_td_attributes]
        return b"".join(parts)


@dataclass(frozen=True)
class EnclaveReport:
    """An SGX report: the QE's own, or the body of an SGX quote.

    CPUSVN 0 (16), MISCSELECT 16 (4), reserved 20 (28), ATTRIBUTES 48 (16), MRENCLAVE 64 (32), reserved 96 (32),
    MRSIGNER 128 (32), reserved 160 (96), ISVPRODID 256 (2), ISVSVN 258 (2), reserved 260 (60), REPORTDATA 320 (64).
    """

    cpusvn: bytes = bytes(16)
    miscselect: int = 0
    attributes: bytes = bytes.fromhex("1500000000000000e700000000000000")
    mrenclave: bytes = pattern("MRENCLAVE", 32)
    mrsigner: bytes = QE_MRSIGNER
    isvprodid: int = 2
    isvsvn: int = QE["UpToDate"]
    reportdata: bytes = bytes(64)

    kind: ClassVar[int] = SGX_BODY
    tee_type: ClassVar[int] = SGX

    def encode(self) -> bytes:
        head = struct.pack("<16sI28s16s32s32s", self.cpusvn, self.miscselect, b"", self.attributes, self.mrenclave, b"")
        tail = struct.pack("<32s96sHH60s64s", self.mrsigner, b"", self.isvprodid, self.isvsvn, b"", self.reportdata)
        return head + tail


@dataclass(frozen=True)
class Quote:
    """All that goes into a quote; None means: as an honest machine writes it. `encode` signs and writes.

    *_delta is added to a length field and to nothing else.
    """

    pck: Pck
    report: TdReport | EnclaveReport = TdReport()
    version: int = 4
    # header
    key_type: int = 2
    tee_type: int | None = None
    qe_svn: int = 0
    pce_svn: int = 0
    vendor_id: bytes = INTEL_VENDOR
    user_data: bytes = pattern("QE id", 16) + bytes(4)
    # body
    body: bytes | None = None
    body_type: int | None = None
    body_size: int | None = None
    # signature over header and body
    attestation_key: Key | None = None
    public_key: bytes | None = None
    sign_with: Key | None = None
    signature: bytes | None = None
    signature_data_delta: int = 0
    # the QE vouches for the attestation key, the PCK for the QE
    qe_report: EnclaveReport = EnclaveReport()
    qe_report_data: bytes | None = None
    qe_sign_with: Key | None = None
    qe_signature: bytes | None = None
    auth_data: bytes = AUTH_DATA
    auth_data_delta: int = 0
    outer_type: int = 6
    outer_length_delta: int = 0
    # certificates: leaf first
    chain: Sequence[Issued | bytes] | None = None
    pem_end: bytes = b"\0"
    inner_type: int = 5
    inner_data: bytes | None = None
    inner_length_delta: int = 0
    trailing: bytes = b""

    def signed(self) -> bytes:
        """Header, descriptor (v5) and body: what the attestation key signs."""
        tee = self.report.tee_type if self.tee_type is None else self.tee_type
        header = struct.pack("<HHIHH", self.version, self.key_type, tee, self.qe_svn, self.pce_svn)
        header += self.vendor_id + self.user_data
        body = self.report.encode() if self.body is None else self.body
        if self.version == 5:
            kind = self.report.kind if self.body_type is None else self.body_type
            header += struct.pack("<HI", kind, len(body) if self.body_size is None else self.body_size)
        return header + body

    def encode(self) -> bytes:
        signed = self.signed()
        key = self.attestation_key or key_of("attestation key")
        public = raw_public(key) if self.public_key is None else self.public_key
        signature = raw_signature(self.sign_with or key, signed) if self.signature is None else self.signature
        part = self.qe_part(public)
        if self.version != 3:
            part = struct.pack("<HI", self.outer_type, len(part) + self.outer_length_delta) + part
        data = signature + public + part
        return signed + struct.pack("<I", len(data) + self.signature_data_delta) + data + self.trailing

    def qe_part(self, public: bytes) -> bytes:
        binding = hashlib.sha256(public + self.auth_data).digest() + bytes(32)
        report = replace(
            self.qe_report, reportdata=binding if self.qe_report_data is None else self.qe_report_data
        ).encode()
        signature = self.qe_signature
        if signature is None:
            signature = raw_signature(self.qe_sign_with or self.pck.key, report)
        auth = struct.pack("<H", len(self.auth_data) + self.auth_data_delta) + self.auth_data
        inner = self.certificates() if self.inner_data is None else self.inner_data
        return (
            report
            + signature
            + auth
            + struct.pack("<HI", self.inner_type, len(inner) + self.inner_length_delta)
            + inner
        )

    def certificates(self) -> bytes:
        chain = self.pck.chain if self.chain is None else self.chain
        pems = [item if isinstance(item, bytes) else item.pem.encode() for item in chain]
        return b"".join(pems) + self.pem_end


def quote(pck: Pck, report: TdReport | EnclaveReport | None = None, **changes: Any) -> bytes:
    """The bytes of a quote; `changes` are fields of `Quote`."""
    return Quote(pck, report or TdReport(), **changes).encode()
