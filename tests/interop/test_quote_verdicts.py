"""Our verdicts beside those of dcap-qvl and go-tdx-guest, revocation and all, over quotes of real machines.

Where one of them answers otherwise, a reason stands here, with what must be true of the quote for it to apply and what
the peer then says. A difference without a reason fails, and so does a reason that nothing needs any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from interop.verdicts import DEBUG, SEPT_VE_DISABLE, Given, Go, Ours, Python, ask, judge
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.quote import Quote, unwrap
from pluto_measure.verify.tcb import NOT_SUPPORTED

pytestmark = pytest.mark.interop

BUNDLES: Final = "quotes/derived/collateral/{}.json"
# Quotes with collateral that came with them, and a time within it.
THEIR_OWN: Final = (
    ("near-mpc/quote.json", "near-mpc/collateral.json", 1787894484),
    ("dcap-qvl/near_quote_hex.txt", "dcap-qvl/near_quote_collateral.json", 1758093775),
    ("dcap-qvl/tdx_quote", "dcap-qvl/tdx_quote_collateral.json", 1751624191),
    ("dcap-qvl/tdx_quote_outdated", "dcap-qvl/tdx_quote_outdated_collateral.json", 1772707803),
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a peer says otherwise, when that applies, and what it says."""

    text: str
    applies: Callable[[Given, Ours], bool]
    says: str


def of_quote(holds: Callable[[Quote], bool]) -> Callable[[Given, Ours], bool]:
    return lambda given, _: holds(Quote.parse(given.quote))


def attributes(quote: Quote) -> int:
    return int.from_bytes(quote.report.td_attributes, "little")


# The first that applies counts: in the order in which the peer looks.
DCAP_QVL: Final = (
    Reason(
        "wants certificates to be valid already; we leave that to the appraisal, as Intel does",
        lambda _, ours: bool(ours.early),
        "Failed to verify certificate chain",
    ),
    Reason(
        "has an error where we have a status", lambda _, ours: ours.status == NOT_SUPPORTED, "No matching TCB level"
    ),
    Reason("appraises: DEBUG", of_quote(lambda quote: bool(attributes(quote) & DEBUG)), "Debug mode is enabled"),
    Reason(
        "appraises: SEPT_VE_DISABLE",
        of_quote(lambda quote: not attributes(quote) & SEPT_VE_DISABLE),
        "SEPT_VE_DISABLE is not enabled",
    ),
    Reason(
        "appraises: MRSERVICETD",
        of_quote(lambda quote: any(quote.report.mr_service_td or b"")),
        "Invalid MR service TD",
    ),
)
GO_TDX_GUEST: Final = (
    Reason("reads version 4 alone", of_quote(lambda quote: quote.version == 5), "quote format not supported"),
    Reason(
        "wants the chain of the PCK revocation list, though the quote has it",
        lambda given, _: not Collateral.parse(given.collateral).pck_crl_chain,
        'issuer chain certificates missing in "Sgx-Pck-Crl-Issuer-Chain"',
    ),
    Reason(
        "wants certificates to be valid already",
        lambda _, ours: bool(ours.early),
        "certificate has expired or is not yet valid",
    ),
    Reason(
        "compares FMSPC as text, which Intel writes in upper case at times",
        lambda given, _: (
            (fmspc := json.loads(Collateral.parse(given.collateral).tcb_info.body)["fmspc"]) != fmspc.lower()
        ),
        "is not equal to FMSPC value",
    ),
    Reason(
        "has an error where we have a status", lambda _, ours: ours.status == NOT_SUPPORTED, "no matching TCB level"
    ),
    Reason(
        "accepts UpToDate alone",
        lambda _, ours: ours.status != "UpToDate",
        'TCB Status is not "UpToDate", found "OutOfDate"',
    ),
)


def of_machines(vectors: Path) -> list[Given]:
    """Every quote with every bundle of its kind of machine, at a time within the bundle."""
    listed = [
        (row["quote"], BUNDLES.format(row["collateral"]), row["time"])
        for row in json.loads((vectors / "quotes/derived/expectations.json").read_text())
    ]
    listed += [(quote, f"quotes/{collateral}", at) for quote, collateral, at in THEIR_OWN]
    return [load(vectors, f"quotes/{quote}", collateral, at) for quote, collateral, at in listed]


def load(vectors: Path, quote: str, collateral: str, at: int) -> Given:
    raw = unwrap((vectors / quote).read_bytes())
    return Given(f"{quote} by {collateral}", raw, (vectors / collateral).read_bytes(), at)


def differences(
    peer: str, reasons: Sequence[Reason], asked: Sequence[tuple[Given, Ours, dict[str, Any]]]
) -> tuple[list[str], list[str]]:
    """Answers that no reason explains, and reasons that explained none."""
    wrong, used = [], set()
    for given, ours, said in asked:
        reason = next((reason for reason in reasons if reason.applies(given, ours)), None)
        if reason is not None:
            used.add(reason)
            if reason.says not in said.get("error", ""):
                wrong.append(f"{given.name}: {peer} {reason.text}, yet says {said}")
        elif facts(said) != (mine := facts_of(ours, said)):
            wrong.append(f"{given.name}: {peer} says {said}, we {mine}")
    return wrong, [reason.text for reason in reasons if reason not in used]


def facts(said: dict[str, Any]) -> dict[str, Any]:
    return {**said, "advisories": set(said["advisories"])} if "advisories" in said else said


def facts_of(ours: Ours, said: dict[str, Any]) -> dict[str, Any]:
    """As much of our verdict as the peer says of its own."""
    verified = ours.verified
    if verified is None:
        return {"problem": ours.problem}
    found = verified.tcb
    current = found.current
    mine = {
        "status": found.status,
        "advisories": set(found.advisories),
        "qe": found.launch.qe and found.launch.qe.status,
        "launch": found.launch.status,
        "current": None if current is None else current.status,
        "evaluation": min(
            verified.collateral.tcb_info.evaluation_number, verified.collateral.qe_identity.evaluation_number
        ),
    }
    return {name: value for name, value in mine.items() if name in said}


def test_every_difference_over_quotes_of_machines_has_its_reason(
    vectors: Path, tmp_path: Path, go: Go, python: Python
) -> None:
    given = of_machines(vectors)
    assert len(given) >= 73
    ours = [judge(one) for one in given]
    answers = ask(given, tmp_path, go, python)
    for index, (peer, reasons) in enumerate((("dcap-qvl", DCAP_QVL), ("go-tdx-guest", GO_TDX_GUEST))):
        asked = [(one, mine, said[index]) for one, mine, said in zip(given, ours, answers, strict=True)]
        assert differences(peer, reasons, asked) == ([], [])


def test_a_quote_of_an_sgx_enclave_is_no_tdx_quote(vectors: Path, tmp_path: Path, go: Go, python: Python) -> None:
    """dcap-qvl judges enclaves too; go-tdx-guest and we do not."""
    theirs = "quotes/dcap-qvl/sgx_quote_collateral.json"
    given = [
        load(vectors, "quotes/dcap-qvl/sgx_quote", theirs, 1751624191),
        load(vectors, "quotes/dcap-qvl/sgx_quote", BUNDLES.format("b0c06f000000-e17-20250619"), 1751624191),
        load(vectors, "quotes/trustee/occlum_quote.dat", theirs, 1751624191),
    ]
    dcap, go_tdx = zip(*ask(given, tmp_path, go, python), strict=True)
    assert {judge(one).status for one in given} == {"malformed"}
    assert dcap[0]["status"] == "ConfigurationAndSWHardeningNeeded"
    assert "Unsupported QE Identity id/version for the quote TEE type" in dcap[1]["error"]
    assert "Failed to verify certificate chain" in dcap[2]["error"]
    assert {said["error"] for said in go_tdx} == {"could not convert raw bytes to QuoteV4: quote format not supported"}


def test_a_chain_that_ends_in_a_root_for_tests_is_refused_by_all(
    vectors: Path, tmp_path: Path, go: Go, python: Python
) -> None:
    given = load(vectors, "quotes/cc-trusted-api/quote.bin", BUNDLES.format("90c06f000000-e19-20260608"), 1782215795)
    ((dcap, go_tdx),) = ask([given], tmp_path, go, python)
    assert "pck.chain" in judge(given).problem
    assert "Failed to verify certificate chain" in dcap["error"]
    assert "x509: certificate signed by unknown authority" in go_tdx["error"]
