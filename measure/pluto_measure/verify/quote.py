"""Verify a TDX quote: Intel's hardware made it, and Intel says what it thinks of that hardware. Pure.

Intel QVL 4.1.2.4 and 4.1.2.5, in its order. All checks run; one failure makes the quote unusable.

1. The quoting enclave's vendor is Intel.
2. PCK chain: three certificates in any order, PCK under Platform or Processor CA under the pinned root.
3. The PCK revocation list is that of this CA and signed by it; neither the PCK certificate nor the CA is revoked.
4. The collateral holds (`pluto_measure.verify.collateral`) and is for this platform: FMSPC and PCEID.
5. The PCK signed the QE report; the QE report names the attestation key.
6. The quoting enclave is the one of the QE identity: MISCSELECT, ATTRIBUTES, MRSIGNER, ISVPRODID.
7. The attestation key signed the quote.
8. The TDX module is one that Intel signed: MRSIGNERSEAM and SEAMATTRIBUTES by the identity for its version.
9. The TCB status (`pluto_measure.verify.tcb`), which is a fact and no failure.

What Intel leaves to the caller (dates, attributes, registers, which statuses are accepted) is for `appraise`.
"""

from __future__ import annotations

import hashlib
from dataclasses import InitVar, dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.pck import PckExtension
from pluto_measure.formats.qe_identity import QeIdentity
from pluto_measure.formats.quote import INTEL_QE_VENDOR, QeReport, Quote, TdReport
from pluto_measure.formats.tcb_info import TcbInfo
from pluto_measure.verify.collateral import CheckedCollateral, check_collateral
from pluto_measure.verify.intel_certificate import load, p256_key, signs
from pluto_measure.verify.intel_crl import crl_problem
from pluto_measure.verify.intel_pki import INTEL_ROOTS, Chain, PckChain, Roots, Window, pck_chain
from pluto_measure.verify.tcb import Tcb, evaluate_tcb

_MINT = object()
_REMEMBERED: Final = 1024
Comparison = tuple[bool, str, str]  # whether it holds, expected, actual


@dataclass(frozen=True, slots=True)
class VerifiedQuote:
    """What Intel's hardware says of a trust domain, and Intel of the hardware. Only verify_quote() makes one."""

    quote: Quote
    pck: PckExtension
    ca: str  # "platform" or "processor"
    root: bytes  # SHA-256 of the root certificate's DER
    collateral: CheckedCollateral
    tcb: Tcb
    windows: tuple[Window, ...]  # of every certificate and document that was used
    findings: tuple[Finding, ...]
    _mint: InitVar[object]  # not kept, so that dataclasses.replace() has none to hand on

    def __post_init__(self, _mint: object) -> None:
        if _mint is not _MINT:
            raise TypeError("only verify_quote() makes a VerifiedQuote")

    @property
    def report(self) -> TdReport:
        return self.quote.report


def verify_quote(quote: Quote, collateral: Collateral, roots: Roots = INTEL_ROOTS) -> VerifiedQuote:
    """Verify `quote` by `collateral` and pinned roots (SHA-256 of DER).

    FormatError for certificates and documents that cannot be parsed, NotAuthentic with all findings.
    """
    checked = check_collateral(collateral, roots)
    pck = pck_chain(quote.certificates, roots)
    findings = (
        *checked.findings,
        *quote_findings(quote, pck),
        *_revocation(pck, checked),
        *_platform(pck.extension, checked.tcb_info),
        *_enclave(quote.qe_report, checked.qe_identity),
        *_module(quote.report, checked.tcb_info),
    )
    if failures(findings):
        raise NotAuthentic(findings)
    report = quote.report
    return VerifiedQuote(
        quote=quote,
        pck=pck.extension,
        ca=pck.ca,
        root=hashlib.sha256(pck.chain.ders[-1]).digest(),
        collateral=checked,
        tcb=evaluate_tcb(
            checked.tcb_info,
            checked.qe_identity,
            pck.extension,
            quote.qe_report.isv_svn,
            report.tee_tcb_svn,
            report.tee_tcb_svn_2,
        ),
        windows=(*pck.chain.windows("PCK certificate", "PCK CA"), *checked.windows),
        findings=findings,
        _mint=_MINT,
    )


def quote_findings(quote: Quote, pck: PckChain) -> tuple[Finding, ...]:
    """The checks that need no collateral."""
    return (
        judge(
            "quote.vendor",
            quote.vendor_id == INTEL_QE_VENDOR,
            "the quoting enclave's vendor is Intel",
            otherwise="the quoting enclave's vendor is not Intel",
            expected=INTEL_QE_VENDOR.hex(),
            actual=quote.vendor_id.hex(),
        ),
        judge(
            "pck.chain",
            pck.chain.problem is None,
            "the PCK certificate is Intel's",
            otherwise=f"the PCK certificate is not Intel's: {pck.chain.problem}",
        ),
        judge(
            "qe.signature",
            _vouched(pck.chain.ders[0], quote.qe_report.raw, quote.qe_signature),
            "the PCK signed the quoting enclave's report",
            otherwise="the PCK did not sign the quoting enclave's report",
        ),
        _binding(quote),
        judge(
            "quote.signature",
            _attested(quote),
            "the attestation key signed the quote",
            otherwise="the attestation key did not sign the quote",
        ),
    )


@lru_cache(_REMEMBERED)
def _vouched(leaf_der: bytes, report: bytes, signature: bytes) -> bool:
    """Whether a PCK signed a QE report. A machine gives the same report with every quote."""
    key = p256_key(load(leaf_der, "quote.certificates"))
    return key is not None and signs(key, signature, report)


def _attested(quote: Quote) -> bool:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + quote.attestation_key)
    except ValueError:  # not a point of the curve
        return False
    return signs(key, quote.signature, quote.signed)


def _binding(quote: Quote) -> Finding:
    expected = hashlib.sha256(quote.attestation_key + quote.qe_auth_data).digest() + bytes(32)
    return judge(
        "qe.binding",
        quote.qe_report.report_data == expected,
        "the quoting enclave's report names the attestation key",
        otherwise="the quoting enclave's report names another attestation key",
        expected=expected.hex(),
        actual=quote.qe_report.report_data.hex(),
    )


def _revocation(pck: PckChain, checked: CheckedCollateral) -> tuple[Finding, ...]:
    leaf, chain = pck.chain.leaf, pck.chain
    if chain.problem is not None:
        text = "cannot be checked, as the PCK certificate's chain does not hold"
        return tuple(Finding(check, "fail", text) for check in ("pck.crl", "pck.revoked", "pck.ca_revoked"))
    problem = crl_problem(checked.pck_crl.der, chain.issuer_der)
    return (
        judge(
            "pck.crl",
            problem is None,
            "the PCK revocation list is that of the PCK certificate's CA",
            otherwise=f"the PCK revocation list is not that of the PCK certificate's CA: {problem}",
        ),
        judge(
            "pck.revoked",
            not checked.pck_crl.revokes(leaf),
            "the PCK certificate is not revoked",
            otherwise="Intel revoked the PCK certificate",
            actual=f"{leaf.serial_number:x}",
        ),
        _ca_revocation(chain, checked),
    )


def _ca_revocation(chain: Chain, checked: CheckedCollateral) -> Finding:
    serial = chain.certificates[1].serial_number
    if chain.ders[-1] != checked.root:
        text = "cannot be checked, as the root's revocation list is not that of the PCK certificate's root"
        return Finding("pck.ca_revoked", "fail", text, actual=f"{serial:x}")
    return judge(
        "pck.ca_revoked",
        not checked.root_crl.revokes(chain.certificates[1]),
        "the PCK certificate's CA is not revoked",
        otherwise="Intel revoked the PCK certificate's CA",
        actual=f"{serial:x}",
    )


def _platform(pck: PckExtension, tcb_info: TcbInfo) -> tuple[Finding, ...]:
    return (
        judge(
            "collateral.fmspc",
            pck.fmspc == tcb_info.fmspc,
            "the TCB info is for this kind of platform",
            otherwise="the TCB info is for another kind of platform (FMSPC)",
            expected=pck.fmspc.hex(),
            actual=tcb_info.fmspc.hex(),
        ),
        judge(
            "collateral.pceid",
            pck.pce_id == tcb_info.pce_id,
            "the TCB info is for this provisioning enclave",
            otherwise="the TCB info is for another provisioning enclave (PCEID)",
            expected=pck.pce_id.hex(),
            actual=tcb_info.pce_id.hex(),
        ),
    )


def _enclave(report: QeReport, identity: QeIdentity) -> tuple[Finding, ...]:
    misc = report.misc_select & identity.misc_select_mask
    attributes = masked(report.attributes, identity.attributes_mask)
    checks: dict[str, Comparison] = {
        "misc_select": (misc == identity.misc_select, f"{identity.misc_select:08x}", f"{misc:08x}"),
        "attributes": (attributes == identity.attributes, identity.attributes.hex(), attributes.hex()),
        "mr_signer": (report.mr_signer == identity.mr_signer, identity.mr_signer.hex(), report.mr_signer.hex()),
        "isv_prod_id": (
            report.isv_prod_id == identity.isv_prod_id,
            str(identity.isv_prod_id),
            str(report.isv_prod_id),
        ),
    }
    return tuple(
        judge(
            f"qe.{name}",
            holds,
            f"the quoting enclave is Intel's by {name}",
            otherwise=f"the quoting enclave is not Intel's: {name} differs",
            expected=expected,
            actual=actual,
        )
        for name, (holds, expected, actual) in checks.items()
    )


def _module(report: TdReport, tcb_info: TcbInfo) -> tuple[Finding, ...]:
    version = report.tee_tcb_svn[1]
    identity = tcb_info.identity(version) if version else tcb_info.module
    if identity is None:
        known = " ".join(item.id for item in tcb_info.identities) or "none"
        text = f"Intel's TCB info does not know TDX modules of version {version}"
        return (Finding("module.identity", "fail", text, known, f"TDX_{version:02X}"),)
    return (
        Finding(
            "module.identity", "pass", "Intel's TCB info knows TDX modules of this version", None, identity.id or None
        ),
        judge(
            "module.mr_signer",
            report.mr_signer_seam == identity.mr_signer,
            "Intel signed the TDX module",
            otherwise="somebody else than Intel signed the TDX module",
            expected=identity.mr_signer.hex(),
            actual=report.mr_signer_seam.hex(),
        ),
        judge(
            "module.attributes",
            not any(report.seam_attributes)
            and masked(report.seam_attributes, identity.attributes_mask) == identity.attributes,
            "the TDX module's attributes are those of a production module",
            otherwise="the TDX module's attributes are not those of a production module",
            expected=identity.attributes.hex(),
            actual=report.seam_attributes.hex(),
        ),
    )


def masked(value: bytes, mask: bytes) -> bytes:
    """The bits of `value` under `mask`; both of one length."""
    return bytes(a & b for a, b in zip(value, mask, strict=True))
