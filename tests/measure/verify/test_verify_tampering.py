"""Tampering: one flipped bit or one missing byte anywhere refuses the quote, but for the bits that nobody vouches for.

What nobody vouches for, and therefore may differ, is named here to the last bit: the SVN fields of a header are signed;
text between the PEM blocks of collateral and white space in them are not.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pluto_measure.formats.collateral import Collateral, Signed
from simulators.intel import TD10, TD15, TD15EX, World, healthy, world
from simulators.verdicts import INTEL, ROOTS, flipped, forget, outcome, parsed, verified

# `cryptography` warns of serial numbers and names that flips make; here that is noise.
pytestmark = pytest.mark.filterwarnings("ignore")

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
SIZES = {TD10: 584, TD15: 648, TD15EX: 885}
KINDS = [(4, TD10), (5, TD10), (5, TD15), (5, TD15EX)]
WORLDS = {(version, kind): world(version=version, kind=kind) for version, kind in KINDS}
GIVEN = parsed(healthy().collateral)


def readings(text: bytes) -> list[bytes] | None:
    """What PEM text holds, decoded; None where it cannot be. Written apart from the parser under test."""
    found = []
    for block in PEM.findall(text):
        letters = b"".join(block.split())
        if not re.fullmatch(rb"[A-Za-z0-9+/]*={0,2}", letters) or len(letters) % 4:
            return None
        if base64.b64encode(base64.b64decode(letters)) != letters:
            return None
        found.append(base64.b64decode(letters))
    return found


def free_bits(text: bytes) -> set[int]:
    """The bits of PEM text that change no certificate."""
    whole = readings(text)
    return {bit for bit in range(8 * len(text)) if readings(flipped(text, bit)) == whole}


def accepted_flips(quote: bytes, bits: Iterable[int], given: Collateral, roots: frozenset[bytes] = ROOTS) -> set[int]:
    """Raises whatever is neither a refusal nor a format error."""
    return {bit for bit in bits if outcome(flipped(quote, bit), given, roots) == "accepted"}


def chain_start(quote: bytes) -> int:
    return quote.index(b"-----BEGIN")


@pytest.mark.parametrize(("version", "kind"), KINDS)
def test_flips_before_the_certificates(version: int, kind: int) -> None:
    """Every bit of header, descriptor and TEE_TCB_SVN, and a stride that meets each byte of the rest or the next."""
    quote = WORLDS[version, kind].quote
    assert outcome(quote, GIVEN) == "accepted"
    end = 8 * chain_start(quote)
    assert accepted_flips(quote, {*range(80 * 8), *range(0, end, 11)}, GIVEN) == set()


@pytest.mark.slow
def test_every_flip_of_a_simulated_quote() -> None:
    quote = healthy().with_quote(trailing=b"\xaa" * 3).quote
    behind = range(8 * (len(quote) - 3), 8 * len(quote))
    assert accepted_flips(quote, range(8 * len(quote)), GIVEN) == set(behind)


def test_nothing_is_free_in_a_quote() -> None:
    """Not even the white space of its PEM text, the NUL behind it, or base64's unused bits, which nobody signs."""
    quote = healthy().quote
    start = chain_start(quote)
    free = {8 * start + bit for bit in free_bits(quote[start:])}
    assert free
    assert accepted_flips(quote, free, GIVEN) == set()


@pytest.mark.parametrize(("version", "kind"), KINDS)
def test_every_truncation(version: int, kind: int) -> None:
    quote = WORLDS[version, kind].quote
    step = range(0, len(quote), 7) if version == 5 else range(len(quote))
    assert {outcome(quote[:size], GIVEN) for size in step} == {"format"}
    assert outcome(quote + b"\0", GIVEN) == "accepted"


def test_parts_of_two_quotes() -> None:
    """Body, signature, key, QE report and chain of two genuine quotes fit only those they came with."""
    first, second = healthy(), world(platform="OutOfDate").with_quote(attestation_key=INTEL.platform.key)
    one, two = first.quote, second.quote
    start = 48 + 584 + 4
    cuts = [0, 48 + 584, start, start + 64, start + 128, start + 134, start + 518, start + 582, start + 616, len(one)]
    assert outcome(one, GIVEN) == outcome(two, GIVEN) == "accepted"
    for begin, end in pairwise(cuts):
        mixed = one[:begin] + two[begin:end] + one[end:]
        if mixed not in (one, two):
            assert outcome(mixed, GIVEN) == "refused", (begin, end)


# collateral


def with_part(name: str, value: bytes) -> Collateral:
    if name in ("root_crl", "pck_crl", "pck_crl_chain"):
        whole: dict[str, Any] = {name: value}
        return replace(GIVEN, **whole)
    document, member = name.split(".")
    signed: Signed = getattr(GIVEN, document)
    part: dict[str, Any] = {member: value}
    outer: dict[str, Any] = {document: replace(signed, **part)}
    return replace(GIVEN, **outer)


PARTS: dict[str, bytes] = {
    "tcb_info.body": GIVEN.tcb_info.body,
    "tcb_info.signature": GIVEN.tcb_info.signature,
    "tcb_info.chain": GIVEN.tcb_info.chain,
    "qe_identity.body": GIVEN.qe_identity.body,
    "qe_identity.signature": GIVEN.qe_identity.signature,
    "qe_identity.chain": GIVEN.qe_identity.chain,
    "root_crl": GIVEN.root_crl,
    "pck_crl": GIVEN.pck_crl,
    "pck_crl_chain": GIVEN.pck_crl_chain,
}


def accepted_parts(name: str, bits: Iterable[int]) -> set[int]:
    quote, part = healthy().quote, PARTS[name]
    return {bit for bit in bits if outcome(quote, with_part(name, flipped(part, bit))) == "accepted"}


@pytest.mark.parametrize("name", PARTS)
def test_flips_of_collateral(name: str) -> None:
    part = PARTS[name]
    free = free_bits(part) if name.endswith("chain") else set()
    bits = range(0, 8 * len(part), 8 * len(part) // 150 | 1)
    assert accepted_parts(name, bits) == free & set(bits)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["tcb_info.signature", "qe_identity.body", "qe_identity.signature", "root_crl", "pck_crl"]
)
def test_every_flip_of_signed_collateral(name: str) -> None:
    assert accepted_parts(name, range(8 * len(PARTS[name]))) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tcb_info.chain", "pck_crl_chain"])
def test_flips_of_each_byte_of_a_chain(name: str) -> None:
    bits = range(0, 8 * len(PARTS[name]), 3)
    assert accepted_parts(name, bits) == free_bits(PARTS[name]) & set(bits)


@pytest.mark.slow
def test_every_byte_of_tcb_info() -> None:
    """One bit of each byte; which one goes through all eight."""
    assert accepted_parts("tcb_info.body", (8 * at + at % 8 for at in range(len(GIVEN.tcb_info.body)))) == set()


@pytest.mark.parametrize("name", PARTS)
def test_truncations_of_collateral(name: str) -> None:
    quote, part = healthy().quote, PARTS[name]
    whole = readings(part) if name.endswith("chain") else None
    for size in range(0, len(part), len(part) // 60 | 1):
        said = (
            outcome(quote, with_part(name, part[:size])) if not name.endswith("signature") or size == 64 else "refused"
        )
        same = whole is not None and readings(part[:size]) == whole
        # Without a chain the quote's own judges the list.
        none = name == "pck_crl_chain" and not part[:size].strip()
        assert (said == "accepted") is (same or none), size


def test_a_changed_quote_is_never_answered_from_memory() -> None:
    """The same flips, in a memory that is full of the genuine quote and in an empty one."""
    quote: bytes = healthy().quote
    bits = range(0, 8 * len(quote), 401)
    fresh = []
    for bit in bits:
        forget()
        fresh.append(outcome(flipped(quote, bit), GIVEN))
    assert outcome(quote, GIVEN) == "accepted"
    again = []
    for bit in bits:
        assert outcome(quote, GIVEN) == "accepted"
        again.append(outcome(flipped(quote, bit), GIVEN))
    assert again == fresh


def test_trailing_bytes_do_not_change_what_is_verified() -> None:
    plain: World = healthy()
    assert verified(plain.with_quote(trailing=plain.quote)).quote == verified(plain).quote
