"""The outer key and its self-signed certificate, made anew in every process. The key never leaves the process.

An authority's certificate for the same key may be shown in its place (`pluto_notary.acme`).

Certificate and key file are written here, not by a library: they are two fixed structures, and the library's modules
for certificates and key files would double what runs in the trust domain. Nobody trusts this certificate for its name
or its dates (the clock is the host's): evidence binds the digest of its key. RFC 5280, 4.1; RFC 5480; RFC 5758;
RFC 5915.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from base64 import encodebytes
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pluto_measure.record import record

NAME: Final = "pluto-notary"
_SEQUENCE, _SET, _INTEGER, _BITS, _OCTETS, _OID, _UTF8 = 0x30, 0x31, 0x02, 0x03, 0x04, 0x06, 0x0C
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_ECDSA_SHA256: Final = bytes.fromhex("2a8648ce3d040302")  # 1.2.840.10045.4.3.2
_EC_KEY: Final = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1
_P256: Final = bytes.fromhex("2a8648ce3d030107")  # 1.2.840.10045.3.1.7
_COMMON_NAME: Final = bytes.fromhex("550403")  # 2.5.4.3
_ALT_NAME: Final = bytes.fromhex("551d11")  # 2.5.29.17


@record
class OuterIdentity:
    """What ends the outer TLS. `key_pem` and `key`, which are the same, are secret."""

    certificate: bytes  # DER
    key_pem: bytes
    key_digest: bytes  # SHA-256 of the SubjectPublicKeyInfo in DER
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"OuterIdentity(key_digest={self.key_digest.hex()})"


def make_identity(random: Callable[[int], bytes]) -> OuterIdentity:
    """A fresh P-256 key and its certificate. `random` gives the serial number; the key comes from the library."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.private_numbers()
    point = b"\4" + b"".join(
        value.to_bytes(32, "big") for value in (numbers.public_numbers.x, numbers.public_numbers.y)
    )
    spki = _tlv(_SEQUENCE, _tlv(_SEQUENCE, _tlv(_OID, _EC_KEY), _tlv(_OID, _P256)), _tlv(_BITS, b"\0", point))
    body = _to_be_signed(spki, random(16))
    signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
    certificate = _tlv(_SEQUENCE, body, _algorithm(), _tlv(_BITS, b"\0", signature))
    secret = _tlv(_OCTETS, numbers.private_value.to_bytes(32, "big"))
    key_file = _tlv(_SEQUENCE, _tlv(_INTEGER, b"\1"), secret, _tlv(0xA0, _tlv(_OID, _P256)))
    return OuterIdentity(certificate, _pem("EC PRIVATE KEY", key_file), hashlib.sha256(spki).digest(), key)


def server_context(identity: OuterIdentity, chain: Sequence[bytes] = ()) -> ssl.SSLContext:
    """TLS 1.3 only, HTTP/1.1 by ALPN, no session tickets: every session proves the key anew.

    `chain`: certificates in DER, of which the first is for this key, to be shown instead of its own. ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Some Python 3.11 sets it: an end that anybody on the way can make would pass for the client's goodbye.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    shown = b"".join(_pem("CERTIFICATE", one) for one in chain or (identity.certificate,))
    load_chain(context, identity.key_pem + shown)
    return context


def load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Key and certificates in PEM. The standard library takes files only; on Linux it is anonymous memory."""
    if not hasattr(os, "memfd_create"):
        _load_chain_from_disk(context, pem)
        return
    descriptor = os.memfd_create("outer-key", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0) as memory:  # noqa: PTH123  a descriptor has no path
        memory.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def _load_chain_from_disk(context: ssl.SSLContext, pem: bytes) -> None:
    """For `pluto-notary serve` on systems without anonymous files; the trust domain never comes here."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _pem(label: str, content: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{encodebytes(content).decode()}-----END {label}-----\n".encode()


def _to_be_signed(spki: bytes, serial: bytes) -> bytes:
    name = _tlv(_SEQUENCE, _tlv(_SET, _tlv(_SEQUENCE, _tlv(_OID, _COMMON_NAME), _tlv(_UTF8, NAME.encode()))))
    # RFC 5280, 4.1.2.5: 99991231235959Z says that there is no well-defined end.
    begin, end = _tlv(_UTC_TIME, b"700101000000Z"), _tlv(_GENERALIZED_TIME, b"99991231235959Z")
    validity = _tlv(_SEQUENCE, begin, end)
    alternatives = _tlv(_SEQUENCE, _tlv(0x82, NAME.encode()))
    extension = _tlv(_SEQUENCE, _tlv(_OID, _ALT_NAME), _tlv(_OCTETS, alternatives))
    # The first byte keeps the number positive and its length fixed.
    number = _tlv(_INTEGER, bytes([serial[0] & 0x7F | 0x40]) + serial[1:])
    version = _tlv(0xA0, _tlv(_INTEGER, b"\2"))
    extensions = _tlv(0xA3, _tlv(_SEQUENCE, extension))
    return _tlv(_SEQUENCE, version, number, _algorithm(), name, validity, name, spki, extensions)


def _algorithm() -> bytes:
    return _tlv(_SEQUENCE, _tlv(_OID, _ECDSA_SHA256))


def _tlv(tag: int, *parts: bytes) -> bytes:
    """Tag, length, value of ITU-T X.690 (DER)."""
    value = b"".join(parts)
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value
