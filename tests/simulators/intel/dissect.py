"""Quotes and SGX extensions taken apart again, by the offsets of their grammar and nothing else. For tests alone.

It holds the writers of this package against real data. It trusts its input and is no parser.
"""

from __future__ import annotations

import hashlib
import struct

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .der import SGX_EXTENSION, Machine


def holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Is it an ECDSA signature r, s by the key x, y?"""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def point(certificate: x509.Certificate) -> bytes:
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


class Parts:
    """A quote taken apart by the offsets of its grammar."""

    def __init__(self, data: bytes) -> None:
        self.version = int.from_bytes(data[:2], "little")
        size = 48 + 584
        if self.version == 5:
            self.body_type, body = struct.unpack_from("<HI", data, 48)
            size = 54 + body
        elif self.version == 3:
            size = 48 + 384
        self.signed = data[:size]
        length = int.from_bytes(data[size : size + 4], "little")
        rest = data[size + 4 : size + 4 + length]
        self.trailing = data[size + 4 + length :]
        self.signature, self.key, rest = rest[:64], rest[64:128], rest[128:]
        if self.version != 3:
            self.outer_type, outer = struct.unpack_from("<HI", rest)
            rest = rest[6:]
            assert len(rest) == outer
        self.qe_report, self.qe_signature, rest = rest[:384], rest[384:448], rest[448:]
        auth = int.from_bytes(rest[:2], "little")
        self.auth_data, rest = rest[2 : 2 + auth], rest[2 + auth :]
        self.inner_type, inner = struct.unpack_from("<HI", rest)
        self.certificates = rest[6:]
        assert len(self.certificates) == inner

    def genuine(self) -> bool:
        leaf = x509.load_pem_x509_certificates(self.certificates.rstrip(b"\0"))[0]
        bound = self.qe_report[320:384] == hashlib.sha256(self.key + self.auth_data).digest() + bytes(32)
        return (
            bound
            and holds(self.key, self.signature, self.signed)
            and holds(point(leaf), self.qe_signature, self.qe_report)
        )


def values_of(der: bytes) -> dict[str, bytes]:
    """The content of every member by its number, found by the bytes of its object identifier (short lengths alone)."""
    found: dict[str, bytes] = {}
    prefix = bytes.fromhex("2a864886f84d010d01")  # 1.2.840.113741.1.13.1
    position = 0
    while (position := der.find(prefix, position)) >= 0:
        end = position + der[position - 1]
        name = ".".join(str(arc) for arc in der[position + len(prefix) : end])
        size = der[end + 1]
        found[name] = der[end + 2 : end + 2 + size] if size < 0x80 else b""
        position = end
    return found


def machine_of(der: bytes) -> Machine:
    values = values_of(der)
    flags = [values[name] == b"\xff" if name in values else None for name in ("7.1", "7.2", "7.3")]
    return Machine(
        fmspc=values["4"],
        pceid=values["3"],
        ppid=values["1"],
        components=tuple(int.from_bytes(values[f"2.{index}"], "big") for index in range(1, 17)),
        pcesvn=int.from_bytes(values["2.17"], "big"),
        cpusvn=values["2.18"],
        sgx_type=values["5"][0],
        platform_instance=values.get("6"),
        dynamic_platform=flags[0],
        cached_keys=flags[1],
        smt=flags[2],
    )


def extension_of(certificate: x509.Certificate) -> bytes:
    value = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(SGX_EXTENSION)).value
    assert isinstance(value, x509.UnrecognizedExtension)
    return value.value
