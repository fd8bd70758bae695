"""Quotes that three programs judge, from the same bytes at the same time: ours, dcap-qvl and go-tdx-guest.

An answer is a status of Intel's, "TCB_NOT_SUPPORTED", or what is wrong. Ours says beside it which certificates and
documents are not valid at that time, which `verify_quote` leaves to the appraisal and peers refuse at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from interop.peers import Case
from pluto_measure.errors import FormatError
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote
from pluto_measure.verify.intel_pki import INTEL_ROOTS
from pluto_measure.verify.quote import VerifiedQuote, verify_quote

Go = Callable[..., list[dict[str, Any]]]
Python = Callable[..., Any]
DEBUG: Final = 1
SEPT_VE_DISABLE: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Given:
    """A quote, its collateral as text, when to judge it (seconds), and the root (DER) in place of Intel's."""

    name: str
    quote: bytes
    collateral: bytes
    at: int
    root: bytes = b""

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


@dataclass(frozen=True, slots=True)
class Ours:
    """What we say. `problem`: why there is no verdict ("malformed", or the checks that failed); "" where there is."""

    problem: str
    verified: VerifiedQuote | None
    early: tuple[str, ...] = ()  # not valid yet
    late: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        return self.problem if self.verified is None else self.verified.tcb.status


def judge(given: Given) -> Ours:
    roots = frozenset({hashlib.sha256(given.root).digest()}) if given.root else INTEL_ROOTS
    try:
        verified = verify_quote(Quote.parse(given.quote), Collateral.parse(given.collateral), roots)
    except FormatError:
        return Ours("malformed", None)
    except NotAuthentic as error:
        return Ours(" ".join(sorted({finding.id for finding in failures(error.findings)})), None)
    early = tuple(window.what for window in verified.windows if window.begin > given.time)
    late = tuple(window.what for window in verified.windows if window.end < given.time)
    return Ours("", verified, early, late)


def ask(given: Sequence[Given], folder: Path, go: Go, python: Python) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What dcap-qvl and go-tdx-guest say of each."""
    cases = []
    for number, one in enumerate(given):
        quote, collateral = folder / f"{number}.quote", folder / f"{number}.json"
        quote.write_bytes(one.quote)
        collateral.write_bytes(one.collateral)
        cases.append(Case(quote, collateral, one.at, one.root))
    request = folder / "cases.json"
    request.write_text(json.dumps([case.to_json() for case in cases]))
    return list(zip(python("verdicts", request), go("verdict", cases), strict=True))
