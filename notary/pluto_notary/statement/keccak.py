"""Keccak-256 as Ethereum uses it: the padding of the Keccak submission, not that of FIPS 202's SHA3-256.

Pure; the permutation is pycryptodome's, which Debian and the wheel `pycryptodomex` call Cryptodome.
"""

from __future__ import annotations

from Cryptodome.Hash import keccak

SIZE = 32  # bytes of a digest


def keccak256(data: bytes) -> bytes:
    """32 bytes of Keccak[c=512] over `data` (Ethereum Yellow Paper, section 3: KEC)."""
    digest: bytes = keccak.new(digest_bits=SIZE * 8, data=data).digest()
    return digest
