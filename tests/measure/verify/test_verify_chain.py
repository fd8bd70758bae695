"""A chain vouches for a key only if every link says so, at that time; the root is the caller's to compare."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from pluto_measure.errors import VerificationError
from pluto_measure.verify.chain import chain_root
from simulators.tpm_quotes import AK_USAGE, NOW, Key, certificate, ecc_key

AK, MIDDLE, ROOT = ecc_key(), ecc_key(), ecc_key()


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


LEAF_DER = certificate("ak", AK, "middle", MIDDLE, ca=False, usage=AK_USAGE)
MIDDLE_DER = certificate("middle", MIDDLE, "root", ROOT, ca=True, path_length=0)
ROOT_DER = certificate("root", ROOT, "root", ROOT, ca=True)


def test_a_chain_gives_its_root() -> None:
    root = chain_root([LEAF_DER, MIDDLE_DER, ROOT_DER], key=spki(AK), at=NOW)
    assert root == hashlib.sha256(ROOT_DER).digest()


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        ([], "no certificates"),
        ([b"\x30\x00"], "certificate 0 is not a certificate"),
        ([LEAF_DER, ROOT_DER], "certificate 0 was not issued by the next one"),
        ([LEAF_DER, MIDDLE_DER], "certificate 1 was not issued by the next one"),
        ([LEAF_DER, ROOT_DER, MIDDLE_DER], "certificate 2 may not have 1 issuers below it|certificate 0 was not"),
        (
            [certificate("ak", ecc_key(), "middle", MIDDLE, ca=False, usage=AK_USAGE), MIDDLE_DER, ROOT_DER],
            "another key",
        ),
        ([certificate("ak", AK, "middle", MIDDLE, ca=False), MIDDLE_DER, ROOT_DER], "does not say that it is for an"),
        (
            [certificate("ak", AK, "middle", MIDDLE, ca=False, usage=AK_USAGE), ROOT_DER, ROOT_DER],
            "certificate 0 was not issued",
        ),
        (
            [LEAF_DER, certificate("middle", MIDDLE, "root", ROOT, ca=False), ROOT_DER],
            "certificate 1 may not issue certificates",
        ),
        (
            [LEAF_DER, MIDDLE_DER, certificate("root", ROOT, "root", ROOT, ca=True, path_length=0)],
            "certificate 2 may not have 1 issuers below it",
        ),
        (
            [LEAF_DER, certificate("middle", ecc_key(), "root", ROOT, ca=True), ROOT_DER],
            "certificate 0 was not issued",
        ),
        (
            [LEAF_DER, certificate("middle", MIDDLE, "root", ROOT, ca=True, days=0), ROOT_DER],
            "certificate 1 is not valid",
        ),
    ],
)
def test_a_broken_chain_is_refused_by_name(chain: list[bytes], problem: str) -> None:
    with pytest.raises(VerificationError, match=problem):
        chain_root(chain, key=spki(AK), at=NOW + timedelta(seconds=1))


@pytest.mark.parametrize("days", [-31, 31])
def test_a_chain_outside_its_time_is_refused(days: int) -> None:
    with pytest.raises(VerificationError, match="certificate 0 is not valid at"):
        chain_root([LEAF_DER, MIDDLE_DER, ROOT_DER], key=spki(AK), at=NOW + timedelta(days=days))


def test_a_certificate_for_another_usage_is_refused() -> None:
    leaf = certificate("ak", AK, "middle", MIDDLE, ca=False, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(VerificationError, match="not for an attestation key"):
        chain_root([leaf, MIDDLE_DER, ROOT_DER], key=spki(AK), at=NOW)
