"""Any bytes are the SGX extension of a PCK certificate, or certificates in PEM text, or a FormatError."""

from __future__ import annotations

import base64
from contextlib import suppress

from pluto_measure.errors import FormatError
from pluto_measure.formats.pck import MOST_CERTIFICATES, PckExtension, split_pem
from simulators.intel import Authority, Machine, encode_members, sgx_extension, sgx_members

SGX_TYPES = ("standard", "scalable", "scalable with integrity")


def target(data: bytes) -> None:
    with suppress(FormatError):
        read = PckExtension.parse(data)
        machine = Machine(
            read.fmspc,
            read.pce_id,
            read.ppid,
            read.components,
            read.pce_svn,
            read.cpu_svn,
            SGX_TYPES.index(read.sgx_type),
            read.platform_instance,
            read.dynamic_platform,
            read.cached_keys,
            read.smt,
        )
        assert len(sgx_extension(machine)) == len(data), "DER has one spelling; members may come in any order"
        assert PckExtension.parse(sgx_extension(machine)) == read
    with suppress(FormatError):
        ders = split_pem(data, what="chain")
        assert 0 < len(ders) <= MOST_CERTIFICATES
        blocks = [b"-----BEGIN CERTIFICATE-----" + base64.b64encode(der) + b"-----END CERTIFICATE-----" for der in ders]
        assert split_pem(b"".join(blocks), what="chain") == ders


def seeds() -> list[bytes]:
    processor = Machine(platform_instance=None, dynamic_platform=None, cached_keys=None, smt=None)
    pem = Authority.make().pck().chain_pem.encode()
    return [
        sgx_extension(Machine()),
        sgx_extension(processor),
        encode_members(sgx_members(Machine())[::-1]),
        pem,
        pem + b"\0",
    ]
