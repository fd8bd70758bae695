"""Verifying launch endorsements: a genuine one, each way in which one is not, any byte changed, any end cut off."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pluto_measure.errors import FormatError
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats import endorsement
from pluto_measure.verify.launch_endorsement import GOOGLE_TCB_ROOTS, VerifiedEndorsement, verify_endorsement
from simulators.endorsements import (
    FIRMWARE_DIGEST,
    MADE,
    MRTD,
    NOW,
    ROOT,
    ROOTS,
    Form,
    bytes_field,
    key_of,
    launch_endorsement,
    message,
    pem,
    root,
)

GENUINE = launch_endorsement()
SECOND = timedelta(seconds=1)


def verified(data: bytes = GENUINE, **how: Any) -> VerifiedEndorsement:
    return verify_endorsement(data, **{"at": NOW, "roots": ROOTS, **how})


def refusals(data: bytes, **how: Any) -> dict[str, str]:
    """Id and text of every finding that fails. All five checks have run."""
    with pytest.raises(NotAuthentic) as caught:
        verified(data, **how)
    assert [finding.id for finding in caught.value.findings] == CHECKS
    return {finding.id: finding.text for finding in failures(caught.value.findings)}


CHECKS = [
    "endorsement.root",
    "endorsement.certificate",
    "endorsement.validity",
    "endorsement.signature",
    "endorsement.dated",
]


def test_a_genuine_endorsement() -> None:
    found = verified()
    assert (found.timestamp, found.svn, found.firmware_digest, found.root) == (MADE, 2, FIRMWARE_DIGEST, ROOT)
    assert found.valid_until == datetime(2033, 1, 1, tzinfo=UTC)
    assert [(one.ram_gib, one.early_accept, one.mrtd) for one in found.named(MRTD)] == [
        (0, False, MRTD),
        (0, True, MRTD),
    ]
    assert found.named(bytes(48)) == ()
    assert [finding.id for finding in found.findings] == CHECKS
    assert not failures(found.findings)


def test_nobody_else_makes_a_verified_one() -> None:
    found = verified()
    with pytest.raises(ValueError, match="_mint"):
        dataclasses.replace(found, svn=9)  # type: ignore[call-arg]
    fields = {one.name: getattr(found, one.name) for one in dataclasses.fields(found)}
    with pytest.raises(TypeError, match="only verify_endorsement"):
        VerifiedEndorsement(**fields, _mint=object())


def test_googles_root_is_what_is_pinned_and_the_pretend_one_is_not() -> None:
    assert {one.hex() for one in GOOGLE_TCB_ROOTS} == {
        "e876bc6978bf4f3da445f98a0a82363c8c0bae5a1fc033c6df65846a6cb0f18c"
    }
    with pytest.raises(NotAuthentic):
        verify_endorsement(GENUINE, at=NOW)


def test_the_root_may_come_from_elsewhere() -> None:
    bare = launch_endorsement(ca_bundle=b"")
    assert set(refusals(bare)) == {"endorsement.root", "endorsement.certificate", "endorsement.validity"}
    assert verified(bare, ca_bundle=pem(root())).root == ROOT
    assert verified(bare, ca_bundle=b"as a file has it\n" + pem(root("other"), root())).root == ROOT
    with pytest.raises(FormatError, match="ca_bundle: holds no certificate"):
        verified(bare, ca_bundle=b"nothing")


@pytest.mark.parametrize(
    ("what", "moment", "holds"),
    [
        ("first second", Form().begin, True),
        ("last second", Form().end, True),
        ("before", Form().begin - SECOND, False),
        ("after", Form().end + SECOND, False),
    ],
)
def test_it_is_valid_from_the_first_to_the_last_second(what: str, moment: datetime, holds: bool) -> None:
    if holds:
        verified(at=moment)
    else:
        assert refusals(GENUINE, at=moment) == {
            "endorsement.validity": "the endorsement's certificates are not valid at this time"
        }, what


def test_the_root_too_must_be_valid() -> None:
    long = launch_endorsement(form=Form(end=datetime(2060, 1, 1, tzinfo=UTC)))
    verified(long, at=datetime(2047, 1, 1, tzinfo=UTC))
    assert set(refusals(long, at=datetime(2050, 1, 1, tzinfo=UTC))) == {"endorsement.validity"}


FORGED: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    # The names are those of verifiers' mistakes.
    (
        "root by name: another root that is called like Google's",
        {"issuer": "other", "ca_bundle": pem(root("other"))},
        {
            "endorsement.root": "none of the certificates",
            "endorsement.certificate": "no pinned root",
            "endorsement.validity": "without its certificates",
        },
    ),
    (
        "self-consistency: the pinned root is beside it and did not issue",
        {"issuer": "other", "ca_bundle": pem(root("other"), root())},
        {"endorsement.certificate": "did not issue"},
    ),
    (
        "a certificate that signed nothing here",
        {"sign_with": key_of("mallory")},
        {"endorsement.signature": "did not sign"},
    ),
    ("PKCS 1 v1.5 in the place of PSS", {"pss": padding.PKCS1v15()}, {"endorsement.signature": "did not sign"}),
    (
        "another length of salt",
        {"pss": padding.PSS(padding.MGF1(hashes.SHA256()), 20)},
        {"endorsement.signature": "did not sign"},
    ),
    (
        "another hash in the mask",
        {"pss": padding.PSS(padding.MGF1(hashes.SHA512()), 32)},
        {"endorsement.signature": "did not sign"},
    ),
    ("another hash", {"hash": hashes.SHA512()}, {"endorsement.signature": "did not sign"}),
    (
        "a short key",
        {"key": key_of("short", 2048), "sign_with": key_of("short", 2048)},
        {"endorsement.certificate": "RSA key of 2048 bits, not 4096"},
    ),
    (
        "a key of another kind",
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"endorsement.certificate": "a key that is not RSA", "endorsement.signature": "did not sign"},
    ),
    ("a CA signs as a signer", {"form": Form(is_ca=True)}, {"endorsement.certificate": "not one for signatures"}),
    ("it may issue", {"form": Form(cert_sign=True)}, {"endorsement.certificate": "not one for signatures"}),
    ("no key usage", {"form": Form(digital_signature=None)}, {"endorsement.certificate": "not one for signatures"}),
    (
        "not for signatures",
        {"form": Form(digital_signature=False, cert_sign=True)},
        {"endorsement.certificate": "not one for signatures"},
    ),
    (
        "a critical extension that nobody understands",
        {"form": Form(critical="1.2.3.4")},
        {"endorsement.certificate": "not understood: 1.2.3.4"},
    ),
    ("a short hash", {"form": Form(hash=hashes.SHA224())}, {"endorsement.certificate": "a hash that is not accepted"}),
    (
        "the root itself as the signer",
        {"certificate": root().public_bytes(Encoding.DER)},
        {"endorsement.certificate": "RSA key of 2048 bits", "endorsement.signature": "did not sign"},
    ),
    (
        "no certificate",
        {"certificate": b"certificate"},
        {
            "endorsement.certificate": "no certificate that can be read",
            "endorsement.validity": "without its certificates",
            "endorsement.signature": "did not sign",
        },
    ),
    ("no date", {"made": None}, {"endorsement.dated": "does not say when"}),
]


@pytest.mark.parametrize(("what", "changes", "expected"), FORGED, ids=[one[0] for one in FORGED])
def test_what_is_not_genuine_is_refused(what: str, changes: dict[str, Any], expected: dict[str, str]) -> None:
    found = refusals(launch_endorsement(**changes))
    assert found.keys() == expected.keys(), what
    for check, words in expected.items():
        assert words in found[check]


def test_a_pinned_digest_of_what_is_no_certificate_pins_nothing() -> None:
    junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    digest = hashes.Hash(hashes.SHA256())
    digest.update(bytes(3))
    data = launch_endorsement(ca_bundle=junk)
    assert "endorsement.root" in refusals(data, roots=frozenset({digest.finalize()}))


def test_findings_name_root_and_time() -> None:
    with pytest.raises(NotAuthentic) as caught:
        verify_endorsement(GENUINE, at=NOW)
    (first, *_) = caught.value.findings
    assert (first.expected, first.actual) == (next(iter(GOOGLE_TCB_ROOTS)).hex(), None)
    (_, _, third, *_) = verified().findings
    assert (third.expected, third.actual) == ("2024-01-01T00:00:00Z to 2033-01-01T00:00:00Z", "2026-11-20T12:00:00Z")


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(GENUINE) - 1), flip=st.integers(1, 255))
def test_any_byte_changed_is_refused(at: int, flip: int) -> None:
    changed = bytearray(GENUINE)
    changed[at] ^= flip
    with pytest.raises((NotAuthentic, FormatError)):
        verified(bytes(changed))


def test_any_end_cut_off_is_refused() -> None:
    for size in range(0, len(GENUINE), 7):
        with pytest.raises(FormatError):
            verified(GENUINE[:size])


def test_names_are_not_read() -> None:
    """Google's have a country of three letters, which a library may refuse one day."""
    with pytest.raises(Warning, match="length must be"):
        _ = root().subject
    verified()


def test_a_signature_is_of_one_golden_measurement() -> None:
    one, two = endorsement.parse(GENUINE), endorsement.parse(launch_endorsement(svn=9))
    mixed = message(bytes_field(1, two.golden), bytes_field(2, one.signature))
    assert set(refusals(mixed)) == {"endorsement.signature"}


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no peer: openssl is absent")
def test_openssl_agrees(tmp_path: Path) -> None:
    parsed = endorsement.parse(GENUINE)
    key = key_of("signer").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("golden", parsed.golden), ("signature", parsed.signature), ("key", key)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "root").write_bytes(pem(root()))
    (tmp_path / "leaf").write_bytes(parsed.certificate)
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", "leaf", "-out", "leaf.pem"], cwd=tmp_path, check=True)
    moment = str(int(NOW.timestamp()))
    pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
    for words in (
        ["dgst", "-sha256", "-verify", "key", *pss, "-signature", "signature", "golden"],
        ["verify", "-attime", moment, "-CAfile", "root", "leaf.pem"],
    ):
        done = subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        assert "OK" in done.stdout


def test_it_takes_little_time() -> None:
    verified()
    began = time.process_time()
    for _ in range(20):
        verified()
    assert (time.process_time() - began) / 20 < 0.02
