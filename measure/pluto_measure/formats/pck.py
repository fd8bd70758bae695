"""PCK certificates: certificates in PEM text, and the SGX extension that names platform and TCB. Nothing is verified.

Intel SGX PCK Certificate and Certificate Revocation List Profile Specification 1.5, section 1.3.5, extension
1.2.840.113741.1.13.1 (DER; `Member` is a sequence of an object identifier and a value):

    SGXExtensions = SEQUENCE OF Member
    .1 PPID OCTET STRING(16)
    .2 TCB  SEQUENCE OF Member: .1-.16 INTEGER component, .17 INTEGER PCESVN, .18 OCTET STRING(16) CPUSVN
    .3 PCEID OCTET STRING(2)   .4 FMSPC OCTET STRING(6)   .5 ENUMERATED SGX type
    .6 platform instance OCTET STRING(16)
    .7 configuration SEQUENCE OF Member: .1 BOOLEAN dynamic platform, .2 cached keys, .3 SMT

The first five are in every certificate, the last two in those of the Platform CA alone, both or neither.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Self

from pluto_measure.errors import FormatError

EXTENSION: Final = "1.2.840.113741.1.13.1"
MOST_CERTIFICATES: Final = 8
_WHAT: Final = "PCK extension"
_PREFIX: Final = bytes.fromhex("2a864886f84d010d01")  # the extension's own identifier, content only
_SEQUENCE, _INTEGER, _OCTETS, _OID, _ENUMERATED, _BOOLEAN = 0x30, 0x02, 0x04, 0x06, 0x0A, 0x01
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
_SPACE: Final = b" \t\n\r\v\f"
_LINE_ENDS: Final = b"\r\n"
_SGX_TYPES: Final = {0: "standard", 1: "scalable", 2: "scalable with integrity"}


@dataclass(frozen=True, slots=True)
class PckExtension:
    """What Intel says of a platform in its PCK certificate."""

    ppid: bytes  # 16
    components: tuple[int, ...]  # the SVNs of the 16 SGX components
    pce_svn: int
    cpu_svn: bytes  # 16
    pce_id: bytes  # 2
    fmspc: bytes  # 6
    sgx_type: str
    platform_instance: bytes | None  # 16; Platform CA only, like the three below: all four or none
    dynamic_platform: bool | None
    cached_keys: bool | None
    smt: bool | None

    @classmethod
    def parse(cls, der: bytes) -> Self:
        """From the extension's value. FormatError for anything missing, twice, unknown or of the wrong size."""
        read = _Der(der)
        whole = read.element(0, len(der))
        if whole[2] != len(der):
            raise read.error(f"{len(der) - whole[2]} bytes left over", whole[2])
        members = read.members(whole, b"")
        if 2 not in members:
            raise FormatError(_WHAT, "TCB is missing")
        tcb = read.members(members.pop(2), b"\x02")
        if (6 in members) != (7 in members):
            raise FormatError(_WHAT, "has one of platform instance and configuration, not both or neither")
        configuration = read.configuration(members)
        parsed = cls(
            ppid=read.octets(members, 1, 16, "PPID"),
            components=tuple(read.svn(tcb, index, 0xFF, f"component {index}") for index in range(1, 17)),
            pce_svn=read.svn(tcb, 17, 0xFFFF, "PCESVN"),
            cpu_svn=read.octets(tcb, 18, 16, "CPUSVN"),
            pce_id=read.octets(members, 3, 2, "PCEID"),
            fmspc=read.octets(members, 4, 6, "FMSPC"),
            sgx_type=read.sgx_type(members),
            platform_instance=read.octets(members, 6, 16, "platform instance") if 6 in members else None,
            dynamic_platform=configuration.get(1),
            cached_keys=configuration.get(2),
            smt=configuration.get(3),
        )
        for left in (*members, *tcb):
            raise FormatError(_WHAT, f"member {left} is not known")
        return parsed


def split_pem(text: bytes, *, what: str, exact: bool = False) -> tuple[bytes, ...]:
    """The DER of every certificate in PEM text, in its order. FormatError.

    Text around the blocks is ignored, and white space in them. Nobody signs it, so `exact`, for quotes, leaves little
    freedom: line ends within and between the blocks, and NUL bytes at the end, which a quote's chain often has.
    """
    found: list[bytes] = []
    at, space = 0, _LINE_ENDS if exact else _SPACE
    for match in _PEM.finditer(text):
        if len(found) == MOST_CERTIFICATES:
            raise FormatError(what, f"holds more than {MOST_CERTIFICATES} certificates")
        if exact and text[at : match.start()].translate(None, space):
            raise FormatError(what, "has other text than certificates in PEM", offset=at)
        digits, at = match[1].translate(None, space), match.end()
        try:
            der = base64.b64decode(digits, validate=True)
        except binascii.Error as error:
            raise FormatError(what, "is not base64 within its PEM block", offset=match.start()) from error
        if base64.b64encode(der) != digits:
            raise FormatError(what, "is not the one spelling of its base64", offset=match.start())
        found.append(der)
    if not found:
        raise FormatError(what, "holds no certificate in PEM")
    if exact and text[at:].rstrip(b"\0").translate(None, space):
        raise FormatError(what, "has other text than certificates in PEM", offset=at)
    return tuple(found)


Member = tuple[int, int, int]  # tag, where the content begins, where it ends


class _Der:
    """A cursor that moves by whole elements. There are eighty of them: `Reader` would take five times as long."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def element(self, at: int, end: int) -> Member:
        """The element at `at`, which must end at or before `end`. Lengths are spelled shortest (DER)."""
        if at + 2 > end:
            raise self.error("an element is cut short", at)
        tag, length, start = self.data[at], self.data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            if size not in (1, 2) or start + size > end:
                raise self.error(f"an element has a length of {size} bytes", at)
            length, start = int.from_bytes(self.data[start : start + size], "big"), start + size
            if length < 0x80 or (size == 2 and length < 0x100):
                raise self.error("a length is not spelled shortest", at)
        if length > end - start:
            raise self.error(f"an element needs {length} bytes, {end - start} left", at)
        return tag, start, start + length

    def members(self, sequence: Member, branch: bytes) -> dict[int, Member]:
        """Last arc of the object identifier to value, of one SEQUENCE OF Member below `branch`."""
        tag, at, end = sequence
        if tag != _SEQUENCE:
            raise self.error(f"tag {tag:#x} is not a sequence", at)
        found: dict[int, Member] = {}
        # All of an identifier but its last arc, so that it is compared and not parsed.
        name = bytes((_OID, len(_PREFIX) + len(branch) + 1)) + _PREFIX + branch
        while at < end:
            tag, start, stop = self.element(at, end)
            if tag != _SEQUENCE or not self.data.startswith(name, start):
                raise self.error("a member does not begin with an identifier of this extension", at)
            value = self.element(start + len(name) + 1, stop)
            if value[2] != stop:
                raise self.error("a member is not an identifier and one value", at)
            arc = self.data[start + len(name)]
            if arc in found:
                raise self.error(f"member {arc} occurs twice", at)
            found[arc] = value
            at = stop
        return found

    def take(self, members: dict[int, Member], arc: int, tag: int, field: str) -> tuple[bytes, int]:
        """The content of a required member and where it stands; the member is gone from `members`."""
        if arc not in members:
            raise FormatError(_WHAT, f"{field} is missing")
        found, start, stop = members.pop(arc)
        if found != tag:
            raise self.error(f"{field} has tag {found:#x}, not {tag:#x}", start)
        return self.data[start:stop], start

    def octets(self, members: dict[int, Member], arc: int, size: int, field: str) -> bytes:
        content, at = self.take(members, arc, _OCTETS, field)
        if len(content) != size:
            raise self.error(f"{field} has {len(content)} bytes, not {size}", at)
        return content

    def svn(self, members: dict[int, Member], arc: int, most: int, field: str) -> int:
        content, at = self.take(members, arc, _INTEGER, field)
        value = int.from_bytes(content, "big", signed=True) if 0 < len(content) <= 3 else -1
        if not 0 <= value <= most or len(content) != value.bit_length() // 8 + 1:  # DER: spelled shortest
            raise self.error(f"{field} is not an integer of 0 to {most}", at)
        return value

    def sgx_type(self, members: dict[int, Member]) -> str:
        content, at = self.take(members, 5, _ENUMERATED, "SGX type")
        if len(content) != 1 or content[0] not in _SGX_TYPES:
            raise self.error(f"SGX type {content.hex()} is not known", at)
        return _SGX_TYPES[content[0]]

    def configuration(self, members: dict[int, Member]) -> dict[int, bool]:
        if 7 not in members:
            return {}
        options = self.members(members.pop(7), b"\x07")
        found = {}
        for arc in tuple(options):
            content, at = self.take(options, arc, _BOOLEAN, f"configuration {arc}")
            if arc not in (1, 2, 3) or content not in (b"\0", b"\xff"):
                raise self.error(f"configuration {arc} with {content.hex()} is not known", at)
            found[arc] = content == b"\xff"
        if len(found) != 3:
            raise FormatError(_WHAT, f"configuration has {len(found)} members, not 3")
        return found

    def error(self, problem: str, at: int) -> FormatError:
        return FormatError(_WHAT, problem, offset=at)
