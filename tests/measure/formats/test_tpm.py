"""TPM structures: what we write parses back, what we read writes back, all else is refused."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import tpm
from simulators.tpm_quotes import AK_ATTRIBUTES, Key, attest_of, ecc_key, public_of, registers_of, sign

ECC = ecc_key()
RSA = rsa.generate_private_key(65537, 2048)
REGISTERS = registers_of(())
ATTEST = attest_of(public_of(ECC), REGISTERS, b"extra")

hash_names = st.sampled_from(["sha1", "sha256", "sha384", "sha512"])
short = st.binary(max_size=64)
selections = st.lists(
    st.builds(tpm.PcrSelection, hash_names, st.sets(st.integers(0, 23)).map(lambda chosen: tuple(sorted(chosen)))),
    max_size=4,
).map(tuple)
attests = st.builds(
    tpm.Attest,
    qualified_signer=short,
    extra_data=short,
    clock=st.integers(0, 2**64 - 1),
    reset_count=st.integers(0, 2**32 - 1),
    restart_count=st.integers(0, 2**32 - 1),
    safe=st.booleans(),
    firmware_version=st.integers(0, 2**64 - 1),
    selections=selections,
    pcr_digest=short,
)
signatures = st.builds(tpm.EcdsaSignature, hash_names, short, short) | st.builds(
    tpm.RsassaSignature, hash_names, st.binary(max_size=512)
)
schemes = st.none() | st.builds(tpm.Scheme, st.sampled_from([tpm.ALG_ECDSA, tpm.ALG_RSASSA]), hash_names)
attributes = st.sampled_from([0, AK_ATTRIBUTES, tpm.SIGN, tpm.NO_DA | tpm.DECRYPT])
publics = st.builds(
    tpm.EccPublic, hash_names, attributes, short, schemes, st.sampled_from([3, 4]), short, short
) | st.builds(tpm.RsaPublic, hash_names, attributes, short, schemes, st.just(2048), st.just(0), st.binary(max_size=512))


@settings(max_examples=60, deadline=None)
@given(attests)
def test_an_attest_that_we_write_parses_back(attest: tpm.Attest) -> None:
    assert tpm.Attest.parse(attest.marshal()) == attest


@settings(max_examples=60, deadline=None)
@given(signatures)
def test_a_signature_that_we_write_parses_back(signature: tpm.Signature) -> None:
    assert tpm.parse_signature(signature.marshal()) == signature


@settings(max_examples=60, deadline=None)
@given(publics)
def test_a_public_area_that_we_write_parses_back(public: tpm.Public) -> None:
    assert tpm.parse_public(public.marshal()) == public


@pytest.mark.parametrize("key", [ECC, RSA], ids=["ecc", "rsa"])
def test_every_truncation_and_every_extra_byte_is_refused(key: Key) -> None:
    cases = (
        (tpm.Attest.parse, ATTEST.marshal()),
        (tpm.parse_signature, sign(key, b"data")),
        (tpm.parse_public, public_of(key).marshal()),
    )
    for parse, data in cases:
        parse(data)
        for size in range(len(data)):
            with pytest.raises(FormatError):
                parse(data[:size])
        with pytest.raises(FormatError):
            parse(data + b"\0")


def test_a_structure_without_the_magic_of_a_tpm_is_refused() -> None:
    with pytest.raises(FormatError, match="no TPM made this structure"):
        tpm.Attest.parse(b"\0" + ATTEST.marshal()[1:])


def test_an_attest_that_is_no_quote_is_refused() -> None:
    data = bytearray(ATTEST.marshal())
    data[5] = 0x17  # TPM_ST_ATTEST_CERTIFY
    with pytest.raises(FormatError, match="not a quote"):
        tpm.Attest.parse(bytes(data))


def test_a_quote_over_more_registers_than_a_pc_has_is_refused() -> None:
    data = ATTEST.marshal().replace(b"\x00\x0b\x03\xff\xff\xff", b"\x00\x0b\x04\xff\xff\xff\xff")
    with pytest.raises(FormatError, match="sizeofSelect is 4"):
        tpm.Attest.parse(data)


def test_a_storage_key_is_refused() -> None:
    data = bytearray(public_of(ECC).marshal())
    data[10:12] = b"\x00\x06"  # symmetric: AES instead of none
    with pytest.raises(FormatError, match="not a signing key"):
        tpm.parse_public(bytes(data))


def test_reserved_attributes_are_refused() -> None:
    with pytest.raises(FormatError, match="reserved bits"):
        tpm.parse_public(public_of(ECC, AK_ATTRIBUTES | 1).marshal())


def test_a_null_signature_is_refused() -> None:
    with pytest.raises(FormatError, match="no signature"):
        tpm.parse_signature(b"\x00\x10")


def test_the_name_is_the_algorithm_and_the_digest_of_the_public_area() -> None:
    public = public_of(ECC)
    assert tpm.object_name(public) == b"\x00\x0b" + hashlib.sha256(public.marshal()).digest()
    other = dataclasses.replace(public, attributes=tpm.SIGN)
    assert tpm.object_name(other) != tpm.object_name(public)
    assert tpm.qualified_name(tpm.RH_OWNER, public) != tpm.qualified_name(tpm.RH_ENDORSEMENT, public)


def test_a_tpm2b_holds_at_most_65535_bytes() -> None:
    assert tpm.tpm2b(b"ab") == b"\x00\x02ab"
    with pytest.raises(ValueError, match="do not fit"):
        tpm.tpm2b(bytes(65536))
