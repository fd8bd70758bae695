"""DER of the SGX extension in a PCK certificate, written by hand. For tests alone.

Grammar (Intel, "SGX PCK Certificate and Certificate Revocation List Profile", SGX extensions):

    SGXExtensions  ::= SEQUENCE OF SEQUENCE { id OBJECT IDENTIFIER, value ANY }
    .1 PPID OCTET STRING (16)      .2 TCB: a SEQUENCE OF the same kind: .1-.16 component SVN INTEGER,
    .3 PCE-ID OCTET STRING (2)         .17 PCESVN INTEGER, .18 CPUSVN OCTET STRING (16)
    .4 FMSPC OCTET STRING (6)      .5 SGX type ENUMERATED (0 standard, 1 scalable, 2 scalable with integrity)
    .6 platform instance id OCTET STRING (16)
    .7 configuration: .1 dynamic platform, .2 cached keys, .3 SMT enabled, each BOOLEAN

Members .6 and .7 stand in certificates of the Platform CA alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SGX_EXTENSION = "1.2.840.113741.1.13.1"

Member = tuple[str, bytes]  # the object identifier after SGX_EXTENSION ("1", "2.17"), the DER of the value


@dataclass(frozen=True)
class Machine:
    """What a PCK certificate says of its machine. No length and no range is checked: a malformed one is wanted too."""

    fmspc: bytes = bytes.fromhex("30a06f000000")
    pceid: bytes = bytes(2)
    ppid: bytes = bytes(range(0x10, 0x20))
    components: tuple[int, ...] = (9, 9, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
    pcesvn: int = 13
    cpusvn: bytes | None = None  # None: the components, one byte each
    sgx_type: int = 1
    platform_instance: bytes | None = bytes(range(0x30, 0x40))  # None: absent
    dynamic_platform: bool | None = True
    cached_keys: bool | None = False
    smt: bool | None = True


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, b"".join(parts))


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def boolean(value: bool) -> bytes:
    return tlv(0x01, b"\xff" if value else b"\x00")


def enumerated(value: int) -> bytes:
    return tlv(0x0A, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def identifier(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytearray([40 * first + second])
    for arc in rest:
        groups = [arc >> shift & 0x7F for shift in range(0, max(arc.bit_length(), 1), 7)]
        content += bytes([group | 0x80 for group in reversed(groups[1:])] + groups[:1])
    return tlv(0x06, bytes(content))


def encode_members(members: Sequence[Member]) -> bytes:
    """One SEQUENCE of members; the whole extension, or the TCB, or the configuration."""
    return sequence(*(sequence(identifier(f"{SGX_EXTENSION}.{name}"), value) for name, value in members))


def tcb_members(machine: Machine) -> list[Member]:
    cpusvn = bytes(svn & 0xFF for svn in machine.components) if machine.cpusvn is None else machine.cpusvn
    components = [(f"2.{index}", integer(svn)) for index, svn in enumerate(machine.components, 1)]
    return [*components, ("2.17", integer(machine.pcesvn)), ("2.18", octets(cpusvn))]


def sgx_members(machine: Machine) -> list[Member]:
    """The members of the extension in Intel's order; a test drops, doubles or swaps what it likes, then encodes."""
    members = [
        ("1", octets(machine.ppid)),
        ("2", encode_members(tcb_members(machine))),
        ("3", octets(machine.pceid)),
        ("4", octets(machine.fmspc)),
        ("5", enumerated(machine.sgx_type)),
    ]
    if machine.platform_instance is not None:
        members.append(("6", octets(machine.platform_instance)))
    flags = (("7.1", machine.dynamic_platform), ("7.2", machine.cached_keys), ("7.3", machine.smt))
    configuration = [(name, boolean(value)) for name, value in flags if value is not None]
    if configuration:
        members.append(("7", encode_members(configuration)))
    return members


def sgx_extension(machine: Machine) -> bytes:
    return encode_members(sgx_members(machine))
