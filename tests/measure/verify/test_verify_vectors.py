"""Real quotes with real collateral: every row of the expectations, and what must be refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.findings import NotAuthentic, failures
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote, unwrap
from pluto_measure.verify.intel_pki import INTEL_ROOTS
from pluto_measure.verify.quote import VerifiedQuote, verify_quote
from simulators.verdicts import flipped, outcome

Row = dict[str, Any]


@pytest.fixture(scope="module")
def quotes(vectors: Path) -> Path:
    return vectors / "quotes"


@pytest.fixture(scope="module")
def rows(quotes: Path) -> list[Row]:
    found: list[Row] = json.loads((quotes / "derived/expectations.json").read_text())
    return found


def raw_quote(quotes: Path, name: str) -> bytes:
    return unwrap((quotes / name).read_bytes())


def collateral_of(quotes: Path, name: str) -> Collateral:
    return Collateral.parse((quotes / f"derived/collateral/{name}.json").read_bytes())


def verified(quotes: Path, row: Row) -> VerifiedQuote:
    return verify_quote(Quote.parse(raw_quote(quotes, row["quote"])), collateral_of(quotes, row["collateral"]))


def test_every_row_of_the_expectations(quotes: Path, rows: list[Row]) -> None:
    names = {"platform": "platform", "module": "module", "qe": "qe", "launch": "launch", "current": "current"}
    names |= {"advisories": "advisories", "tcbDate": "min_tcb_date"}
    differences = []
    for row in rows:
        said = verified(quotes, row).tcb.to_json()
        wanted = {"status": row["status"].removeprefix("REJECT:")}
        if not row["status"].startswith("REJECT:"):
            wanted |= {ours: row[theirs] for ours, theirs in names.items()}
        found = {name: said[name] for name in wanted}
        if found != wanted:
            differences.append((row["quote"], row["collateral"], found, wanted))
    assert len(rows) >= 69
    assert differences == []


def test_statuses_that_real_quotes_have(rows: list[Row]) -> None:
    """What no real quote has is in the matrix of the simulator (test_verify_tcb)."""
    assert {row["status"] for row in rows} == {
        "UpToDate",
        "OutOfDate",
        "TDRelaunchAdvised",
        "REJECT:TCB_NOT_SUPPORTED",
    }


def test_collateral_of_another_platform(quotes: Path, rows: list[Row]) -> None:
    """Every real quote with every bundle of another FMSPC: refused, and for nothing but that."""
    bundles = {path.stem: collateral_of(quotes, path.stem) for path in (quotes / "derived/collateral").glob("*.json")}
    for name in sorted({row["quote"] for row in rows}):
        quote = Quote.parse(raw_quote(quotes, name))
        fmspc = verified(quotes, next(row for row in rows if row["quote"] == name)).pck.fmspc.hex()
        for bundle, collateral in bundles.items():
            if bundle.startswith(fmspc):
                continue
            with pytest.raises(NotAuthentic) as caught:
                verify_quote(quote, collateral)
            found = {finding.id for finding in failures(caught.value.findings)}
            # A module of a version that the TCB info is too old to know, or that the other kind does not have.
            assert "collateral.fmspc" in found
            assert found <= {"collateral.fmspc", "module.identity", "module.mr_signer"}, (name, bundle)


def test_a_chain_that_ends_in_a_root_that_is_not_for_production(quotes: Path) -> None:
    quote = Quote.parse(raw_quote(quotes, "cc-trusted-api/quote.bin"))
    with pytest.raises(NotAuthentic) as caught:
        verify_quote(quote, collateral_of(quotes, "90c06f000000-e19-20260608"))
    assert "pck.chain" in {finding.id for finding in failures(caught.value.findings)}
    assert "the chain does not end in a pinned root" in str(caught.value)


@pytest.mark.parametrize("name", ["dcap-qvl/sgx_quote", "trustee/occlum_quote.dat"])
def test_sgx_quotes_are_named(quotes: Path, name: str) -> None:
    with pytest.raises(FormatError, match="SGX"):
        Quote.parse(raw_quote(quotes, name))


def test_qe_identity_with_a_lower_evaluation_number_than_tcb_info(quotes: Path) -> None:
    collateral = Collateral.parse((quotes / "near-mpc/collateral.json").read_bytes())
    found = verify_quote(Quote.parse(raw_quote(quotes, "near-mpc/quote.json")), collateral)
    checked = found.collateral
    assert (checked.tcb_info.evaluation_number, checked.qe_identity.evaluation_number) == (20, 19)


def test_quotes_that_catch_mistakes(quotes: Path, rows: list[Row]) -> None:
    by_name = {row["quote"]: row for row in reversed(rows)}  # the first row of each
    debug = verified(quotes, by_name["trustee/tdx_quote_4.dat"])
    assert (debug.tcb.status, debug.report.td_attributes[0] & 1) == ("UpToDate", 1)
    relaunch = verified(quotes, by_name["openenclave/tdx_quote-moduleupdate-seamldr5.dat"])
    assert relaunch.tcb.status == "TDRelaunchAdvised"
    raw = raw_quote(quotes, "go-tdx-guest/tdx_prod_quote_SPR_E4.dat")
    trailing = raw[Quote.parse(raw).extent :]
    assert len(trailing) == 39
    assert any(trailing)


def test_module_status_hides_an_out_of_date_platform(quotes: Path, rows: list[Row]) -> None:
    """The fail-open mistake of others, with real data: module UpToDate, platform not."""
    found = [row for row in rows if row.get("module") == "UpToDate" and row.get("platform") == "OutOfDate"]
    assert found
    assert {verified(quotes, row).tcb.status for row in found} <= {"OutOfDate", "TDRelaunchAdvised"}


def genuine(quotes: Path, rows: list[Row]) -> Iterator[tuple[str, bytes, Collateral]]:
    for name in sorted({row["quote"] for row in rows}):
        row = next(row for row in rows if row["quote"] == name)
        yield name, raw_quote(quotes, name), collateral_of(quotes, row["collateral"])


def without_trailing(raw: bytes) -> bytes:
    return raw[: Quote.parse(raw).extent]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_stride_of_flips_and_truncations_of_each_real_quote(quotes: Path, rows: list[Row]) -> None:
    for name, raw, collateral in genuine(quotes, rows):
        quote = without_trailing(raw)
        start = quote.index(b"-----BEGIN")
        accepted = [
            bit
            for bit in range(0, 8 * start, 41)
            if outcome(flipped(quote, bit), collateral, INTEL_ROOTS) == "accepted"
        ]
        assert accepted == [], name
        sizes = range(len(quote) % 61, len(quote), 61)
        assert {outcome(quote[:size], collateral, INTEL_ROOTS) for size in sizes} == {"format"}, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_flip_of_one_real_quote(quotes: Path, rows: list[Row]) -> None:
    """No bit is free: not even in the text of the certificates, where nobody signs the white space."""
    row = next(row for row in rows if row["quote"] == "dcap-qvl/tdx_quote")
    quote = without_trailing(raw_quote(quotes, row["quote"]))
    collateral = collateral_of(quotes, row["collateral"])
    assert outcome(quote, collateral, INTEL_ROOTS) == "accepted"
    accepted = {
        bit for bit in range(8 * len(quote)) if outcome(flipped(quote, bit), collateral, INTEL_ROOTS) == "accepted"
    }
    assert accepted == set()
