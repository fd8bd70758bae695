"""What the guest of a harvest says: whole and undamaged, or an error, for any bytes."""

from __future__ import annotations

import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_measure.errors import FormatError, SourceError
from pluto_measure.harvest import guest, transcript
from simulators import harvests

HEAD = b"pluto-harvest 1\n"
NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


def item(name: bytes, size: bytes, content: bytes) -> bytes:
    return b"item %s %s %s\n" % (name, size, content)


def packed(content: bytes) -> bytes:
    return b64encode(zlib.compress(content))


@given(st.dictionaries(NAMES, st.binary(max_size=300), max_size=5))
def test_what_the_guest_says_arrives(said: dict[str, bytes]) -> None:
    assert transcript.parse(harvests.transcript(said)) == said


def test_both_sides_mean_the_same_words() -> None:
    assert guest.HEADER == transcript.HEADER


def test_what_comes_before_and_after_is_not_the_guests() -> None:
    said = b"item x 1 nonsense\nfirmware without a line end" + b"\n" + HEAD + b"end 0\n" + b"reboot: Power down\n"
    assert transcript.parse(said) == {}


def test_a_large_blob_of_zeros_is_small_on_the_way() -> None:
    said = harvests.transcript({"tables": bytes(128 * 1024)})
    assert len(said) < 1024
    assert transcript.parse(said)["tables"] == bytes(128 * 1024)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"", "never began"),
        (b"pluto-harvest 2\nend 0\n", "never began"),
        (HEAD, "did not come to an end"),
        (HEAD + b"end 0", "did not come to an end"),
        (HEAD + b"end 1\n", "counted"),
        (HEAD + b"else\n", "begins with"),
        (HEAD + b"item\n", "reads"),
        (HEAD + item(b"x", b"-1", packed(b"")), "reads"),
        (HEAD + item(b"x", b"1234567890", packed(b"")), "reads"),
        (HEAD + item(b"\xff", b"0", packed(b"")), "reads"),
        (HEAD + item(b"x", b"99999999", packed(b"")), "more than"),
        (HEAD + item(b"x", b"0", b"%%%"), "arrived damaged"),
        (HEAD + item(b"x", b"1", b64encode(b"not zlib")), "arrived damaged"),
        (HEAD + item(b"x", b"1", packed(b"ab")), "is not 1 bytes"),
        (HEAD + item(b"x", b"3", packed(b"ab")), "is not 3 bytes"),
        (HEAD + item(b"x", b"2", packed(b"ab")[:-8]), "is not 2 bytes|arrived damaged"),
        (HEAD + item(b"x", b"2", b64encode(zlib.compress(b"ab") + b"more")), "is not 2 bytes"),
        (HEAD + 2 * item(b"x", b"2", packed(b"ab")), "twice"),
        (bytes(transcript.LIMIT + 1), "more than"),
    ],
)
def test_what_is_not_whole_is_refused(said: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        transcript.parse(said)


def test_a_guest_that_failed_is_somebody_elses_error() -> None:
    with pytest.raises(SourceError, match="the guest failed: OSError: mount"):
        transcript.parse(HEAD + b"failed OSError: mount\n")


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_a_transcript_or_an_error(noise: bytes, cut: int) -> None:
    whole = harvests.transcript({"a": b"content", "b": b""})
    for said in (noise, HEAD + noise, whole[:cut] + noise + whole[cut:]):
        try:
            assert isinstance(transcript.parse(said), dict)
        except (FormatError, SourceError):
            continue


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_transcript_that_was_cut_is_refused(cut: int) -> None:
    whole = harvests.transcript({"a": b"content", "b": b"more content"})
    with pytest.raises(FormatError):
        transcript.parse(whole[: -1 - cut])
