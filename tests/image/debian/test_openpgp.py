"""Release signatures and times: nothing gets past them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pluto_image.debian.archive import Release
from pluto_image.debian.openpgp import LARGEST, check_time, load_keys, verify_release
from pluto_image.errors import SignatureRefusedError
from pluto_measure.errors import FormatError, UsageError
from simulators.debian_mirror import Signer, release_text

DATE = datetime(2026, 9, 1, tzinfo=UTC)
TEXT = release_text("trixie", {"main/binary-amd64/Packages.xz": b"index"}, date=DATE)
DEFINITION = Path(__file__).parents[3] / "image/notary"


@pytest.fixture(scope="module")
def stranger() -> Signer:
    return Signer()


def keys(*signers: Signer) -> dict[str, bytes]:
    return {one.fingerprint: one.certificate for one in signers}


def release(date: datetime, valid_until: datetime | None = None) -> Release:
    return Release("trixie", "trixie", date, valid_until, {})


def test_a_file_signed_by_a_pinned_key_is_accepted_and_says_by_whom(signer: Signer, stranger: Signer) -> None:
    found = verify_release(signer.sign(TEXT), archive="main", keys=keys(signer, stranger))
    assert found.signed_by == (signer.fingerprint,)
    assert found.release.date == DATE


def test_a_signature_by_another_key_is_refused(signer: Signer, stranger: Signer) -> None:
    with pytest.raises(SignatureRefusedError, match="not signed by a pinned key") as refused:
        verify_release(stranger.sign(TEXT), archive="main", keys=keys(signer))
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("data", [TEXT.encode(), b"", b"<html></html>", b"\0" * 64])
def test_a_file_without_a_signature_is_refused(data: bytes, signer: Signer) -> None:
    with pytest.raises(SignatureRefusedError):
        verify_release(data, archive="main", keys=keys(signer))


def test_a_changed_file_is_refused(signer: Signer) -> None:
    with pytest.raises(SignatureRefusedError):
        verify_release(signer.sign(TEXT).replace(b"trixie", b"trixig"), archive="main", keys=keys(signer))


def test_a_cut_signature_is_refused(signer: Signer) -> None:
    signed = signer.sign(TEXT)
    with pytest.raises(SignatureRefusedError):
        verify_release(signed[: signed.index(b"-----BEGIN PGP SIGNATURE") + 60], archive="main", keys=keys(signer))


def test_text_around_the_signed_part_is_not_believed(signer: Signer) -> None:
    forged = b"Suite: forged\nCodename: forged\n\n" + signer.sign(TEXT) + b"\nSHA256:\n"
    try:
        found = verify_release(forged, archive="main", keys=keys(signer))
    except SignatureRefusedError:
        return
    assert found.release.suite == "trixie"


def test_a_key_under_a_wrong_fingerprint_is_refused(signer: Signer, stranger: Signer) -> None:
    with pytest.raises(SignatureRefusedError, match="has the fingerprint"):
        verify_release(stranger.sign(TEXT), archive="main", keys={signer.fingerprint: stranger.certificate})


def test_what_is_no_key_is_refused(signer: Signer) -> None:
    with pytest.raises(SignatureRefusedError, match="cannot be read"):
        verify_release(signer.sign(TEXT), archive="main", keys={signer.fingerprint: b"no key"})


def test_no_pinned_key_at_all_refuses_everything(signer: Signer) -> None:
    with pytest.raises(SignatureRefusedError):
        verify_release(signer.sign(TEXT), archive="main", keys={})


def test_a_huge_file_is_refused_unread(signer: Signer) -> None:
    with pytest.raises(FormatError, match="are more than"):
        verify_release(bytes(LARGEST + 1), archive="main", keys=keys(signer))


def test_a_pinned_key_that_is_not_in_the_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_keys(tmp_path, ("ab" * 20,))


def test_time_is_checked_against_expiry_future_and_the_state_locked_before() -> None:
    day = timedelta(days=1)
    check_time(release(DATE, DATE + day), archive="main", at=DATE + day, not_before=DATE)
    with pytest.raises(SignatureRefusedError, match="expired at 2026-09-02T00:00:00Z"):
        check_time(release(DATE, DATE + day), archive="main", at=DATE + 2 * day, not_before=None)
    with pytest.raises(SignatureRefusedError, match="in the future"):
        check_time(release(DATE + day), archive="main", at=DATE, not_before=None)
    with pytest.raises(SignatureRefusedError, match="older than the locked 2026-09-02"):
        check_time(release(DATE), archive="main", at=DATE + day, not_before=DATE + day)


@pytest.mark.parametrize("archive", ["main", "security", "backports"])
def test_the_evidence_in_the_repository_is_signed_by_the_pinned_debian_keys(archive: str) -> None:
    from pluto_image.definition import load

    pinned = load(DEFINITION).archive(archive).fingerprints
    data = (DEFINITION / f"evidence/{archive}.InRelease").read_bytes()
    found = verify_release(data, archive=archive, keys=load_keys(DEFINITION / "keys", pinned))
    assert set(found.signed_by) <= set(pinned)
