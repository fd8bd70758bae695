"""PE images: vectors, the rules of the Authenticode digest, and a signer's own idea of it."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.formats import pe
from simulators.pe_images import CERTIFICATE_ENTRY_AT, CHECKSUM_AT, HEADERS, image, patched

VECTORS = sorted((Path(__file__).parents[2] / "vectors/pe").glob("*.toml"))
PLAIN = image()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = tomllib.loads(path.read_text())
    data = bytes.fromhex(vector["data"]) + bytes(vector.get("zeros", 0))
    if "error" in vector:
        with pytest.raises(FormatError, match=vector["error"]):
            pe.authenticode(data)
    else:
        assert [section.name for section in pe.parse(data).sections] == vector["sections"]
        assert pe.authenticode(data).to_json() == vector["authenticode"]


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 6


def test_checksum_and_certificates_do_not_move_the_digest() -> None:
    signed = image(certificates=b"\x10\0\0\0\0\2\2\0certificate", checksum=0x4321)
    assert pe.authenticode(signed) == pe.authenticode(PLAIN)
    assert pe.parse(signed).certificate_size > 0


def test_trailing_bytes_that_are_no_certificate_move_the_digest() -> None:
    assert pe.authenticode(image(trailing=b"overlay!")) != pe.authenticode(PLAIN)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(PLAIN) - 1), flip=st.integers(1, 255))
def test_every_other_byte_moves_the_digest_or_is_refused(at: int, flip: int) -> None:
    changed = patched(PLAIN, at, bytes([PLAIN[at] ^ flip]))
    free = at in range(CHECKSUM_AT, CHECKSUM_AT + 4) or at in range(CERTIFICATE_ENTRY_AT, CERTIFICATE_ENTRY_AT + 8)
    try:
        same = pe.authenticode(changed) == pe.authenticode(PLAIN)
    except FormatError:
        return
    assert same == free


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(PLAIN) - 1))
def test_every_truncation_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        pe.authenticode(PLAIN[:size])


def test_section_data_is_virtual_size_bytes_whatever_lies_in_the_file() -> None:
    data = image([(".osrel", b"ID=pluto\n")])
    section = pe.parse(data).section(".osrel")
    assert section is not None
    assert (section.raw_size, pe.section_data(data, section)) == (512, b"ID=pluto\n")
    longer = pe.Section(".osrel", 600, 0x1000, 512, HEADERS, 0)
    assert pe.section_data(data, longer) == b"ID=pluto\n" + bytes(591)


def test_a_section_that_is_mostly_zeros_in_memory_is_refused() -> None:
    with pytest.raises(FormatError, match="bytes of zeros"):
        pe.section_data(PLAIN, pe.Section(".bss", 0xFFFFFFFF, 0x1000, 0, 0, 0))


def test_a_section_is_found_by_name_unless_two_have_it() -> None:
    twice = pe.parse(image([(".text", b"a"), (".text", b"b")]))
    assert pe.parse(PLAIN).section(".cmdline") is None
    with pytest.raises(FormatError, match=r"\.text occurs 2 times"):
        twice.section(".text")


@pytest.mark.interop
def test_a_signer_puts_our_digest_into_its_signature(tmp_path: Path) -> None:
    if shutil.which("sbsign") is None:
        pytest.skip("sbsign is not installed")
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2036, 1, 1, tzinfo=UTC)
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "cert").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    (tmp_path / "key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    data = image([(".text", b"\xc3" * 700), (".data", b"x" * 4097), (".sbat", b"sbat,1")])
    (tmp_path / "in").write_bytes(data)
    subprocess.run(
        ["sbsign", "--key", "key", "--cert", "cert", "--output", "out", "in"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )
    signed = (tmp_path / "out").read_bytes()
    parsed = pe.parse(signed)
    assert pe.authenticode(signed) == pe.authenticode(data)
    assert pe.authenticode(data).sha256 in signed[parsed.certificate_offset :]
