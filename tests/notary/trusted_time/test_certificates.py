"""A chain is judged at the time that is given, whatever the machine's clock says."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.errors import FormatError, VerificationError
from pluto_notary.trusted_time.certificates import Roots
from simulators.notary.time_servers import DAY, Authority

BEGIN = 2_000_000_000.0  # in 2033
AUTHORITY = Authority(BEGIN - 1000 * DAY, BEGIN + 3000 * DAY)
CHAIN = (AUTHORITY.issue("time.test", BEGIN, BEGIN + 90 * DAY)[1].public_bytes(Encoding.DER),)
ROOTS = Roots.parse(AUTHORITY.pem)


@pytest.mark.parametrize("at", [BEGIN, BEGIN + 45 * DAY, BEGIN + 90 * DAY])
def test_within_its_life_it_holds(at: float) -> None:
    ROOTS.judge(CHAIN, "time.test", at, at)


@pytest.mark.parametrize(
    ("earliest", "latest"),
    [
        (BEGIN - 2, BEGIN - 2),
        (BEGIN - 2, BEGIN + 2),
        (BEGIN + 90 * DAY - 2, BEGIN + 90 * DAY + 2),
        (BEGIN + 91 * DAY, BEGIN + 91 * DAY),
        (-1e15, 0.0),
        (0.0, 1e300),
        (float("nan"), BEGIN),
    ],
)
def test_outside_of_it_or_half_outside_it_does_not(earliest: float, latest: float) -> None:
    with pytest.raises(VerificationError):
        ROOTS.judge(CHAIN, "time.test", earliest, latest)


@pytest.mark.parametrize(
    ("chain", "host"),
    [
        (CHAIN, "other.test"),
        (CHAIN, "sub.time.test"),
        ((), "time.test"),
        (CHAIN * 11, "time.test"),
        ((b"nonsense",), "time.test"),
        ((CHAIN[0].replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\5", 1),), "time.test"),  # version 6
        ((CHAIN[0][:-1] + bytes([CHAIN[0][-1] ^ 1]),), "time.test"),
        (CHAIN, "not a name"),
    ],
)
def test_another_name_or_another_chain_does_not_hold(chain: tuple[bytes, ...], host: str) -> None:
    with pytest.raises(VerificationError):
        ROOTS.judge(chain, host, BEGIN, BEGIN)


def test_another_root_does_not_vouch() -> None:
    other = Roots.parse(Authority(BEGIN, BEGIN + DAY).pem)
    with pytest.raises(VerificationError):
        other.judge(CHAIN, "time.test", BEGIN, BEGIN)


def test_roots_that_cannot_be_read_are_left_out_and_none_at_all_is_an_error() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    Roots.parse(b"# text\n" + broken + AUTHORITY.pem).judge(CHAIN, "time.test", BEGIN, BEGIN)
    for none in (b"", broken, b"-----END CERTIFICATE-----"):
        with pytest.raises(FormatError):
            Roots.parse(none)
