"""Recorded evidence of Azure TDX machines, with the user data and the nonce that its maker chose: every step holds."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_measure.evidence import AzureEvidence, TpmQuote
from pluto_measure.findings import NotAuthentic
from pluto_measure.formats import tpm
from pluto_measure.formats.collateral import Collateral
from pluto_measure.verify.azure import Bound, CheckedParts, Parts, check_parts, verify_parts
from pluto_measure.verify.azure_pki import AZURE_AK_ROOTS
from pluto_measure.verify.quote import VerifiedQuote

LIVE = "attestation-rs/az_tdx/live-evidence.json"
FIXTURE = b"attestation-test-fixture"
ROOTS = ("azure-virtual-tpm-root-2023.pem", "microsoft-rsa-devices-root-ca-2021.pem")


class Recorded(NamedTuple):
    """Evidence, what it is bound to, and the collateral that its platform is judged by."""

    name: str
    bound: Bound
    bundle: str
    status: str


OLD = Bound(bytes(64), b"challenge"), "00806f050000-e19-20260630", "OutOfDate"
CASES = [
    Recorded(LIVE, Bound(FIXTURE.ljust(64, b"\0"), FIXTURE), "90c06f000000-e19-20260608", "UpToDate"),
    Recorded("attestation-rs/az_tdx/evidence-v1.json", *OLD),
    Recorded("trustee/az-tdx-vtpm/evidence-v1.json", *OLD),
    Recorded("trustee/az-tdx-vtpm/evidence-v0.json", *OLD),
]


def evidence(folder: Path, name: str) -> AzureEvidence:
    """Of either form that others keep it in: base64url and hex, or lists of numbers."""
    document = json.loads((folder / name).read_text())
    document = document.get("evidence", document)
    quote = document["tpm_quote"]
    banks = {"sha256": {f"pcr{index}": _hex(value) for index, value in enumerate(quote["pcrs"])}}
    signature = tpm.RsassaSignature("sha256", _hex(quote["signature"])).marshal()
    attest = TpmQuote(_hex(quote["message"]), signature, banks)
    return AzureEvidence(_base64(document["hcl_report"]), _base64(document["td_quote"]), attest, (), b"")


def _hex(value: Any) -> bytes:
    return bytes.fromhex(value) if isinstance(value, str) else bytes(value)


def _base64(value: Any) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)) if isinstance(value, str) else bytes(value)


def checked(
    vectors: Path, case: Recorded, change: Callable[[Parts], Parts] = lambda parts: parts
) -> tuple[VerifiedQuote, CheckedParts]:
    folder = vectors / "quotes"
    bundle = (folder / f"derived/collateral/{case.bundle}.json").read_bytes()
    parts = change(Parts.parse(evidence(folder, case.name)))
    return verify_parts(parts, case.bound, Collateral.parse(bundle), at=datetime(2026, 7, 1, tzinfo=UTC))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_step_holds(vectors: Path, case: Recorded) -> None:
    quote, found = checked(vectors, case)
    assert {finding.verdict for finding in found.findings} == {"pass"}
    assert quote.tcb.status == case.status
    assert found.ak_root is None, "no certificates were recorded"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_another_binding_is_refused_in_both_places(vectors: Path, case: Recorded) -> None:
    with pytest.raises(NotAuthentic) as caught:
        checked(vectors, case._replace(bound=Bound.to(bytes(64))))
    failed = [finding.id for finding in caught.value.findings if finding.verdict == "fail"]
    user_data = [] if case.bound.user_data == bytes(64) else ["binding.user_data"]
    assert failed == [*user_data, "binding.extra_data"]


def test_parts_of_two_machines_do_not_fit(vectors: Path) -> None:
    live = Parts.parse(evidence(vectors / "quotes", LIVE))
    other = Parts.parse(evidence(vectors / "quotes", CASES[2].name))
    mixed = Parts(live.report, other.quote, other.attest, other.attested, other.signature, other.registers, ())
    at = datetime(2026, 7, 1, tzinfo=UTC)
    found = check_parts(mixed, CASES[0].bound, at=at).findings
    failed = [finding.id for finding in found if finding.verdict == "fail"]
    assert failed == ["azure.report_data", "azure.td_report", "tpm.signature", "binding.extra_data"]


def test_the_recorded_machines_have_what_the_simulator_has(vectors: Path) -> None:
    live = Parts.parse(evidence(vectors / "quotes", LIVE))
    assert live.quote.report.registers["rtmr0"] == bytes(48)
    told = live.report.configuration
    assert (told.secure_boot, told.tpm_enabled, told.console, told.interactive_console) == (True, True, True, None)
    assert told.others == ()


def test_a_quote_of_another_projects_recording(vectors: Path) -> None:
    """Key, message and signature of azure-cvm-tooling belong to a machine whose report was not kept."""
    folder = vectors / "quotes/azure-cvm-tooling"
    raw = (folder / "quote.bin").read_bytes()
    at = raw.index(bytes.fromhex("ff544347"))
    size = next(size for size in range(len(raw) - at, 60, -1) if _is_attest(raw[at : at + size]))
    assert tpm.Attest.parse(raw[at : at + size]).selections == (tpm.PcrSelection("sha256", tuple(range(24))),)


def _is_attest(data: bytes) -> bool:
    try:
        tpm.Attest.parse(data)
    except Exception:  # noqa: BLE001 - any other size is none
        return False
    return True


def test_the_pinned_roots_are_the_recorded_ones(vectors: Path) -> None:
    ders = [
        x509.load_pem_x509_certificate((vectors / "quotes/roots" / name).read_bytes()).public_bytes(Encoding.DER)
        for name in ROOTS
    ]
    assert frozenset(hashlib.sha256(der).digest() for der in ders) == AZURE_AK_ROOTS
