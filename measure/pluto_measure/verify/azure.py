"""Verify evidence of an Azure TDX machine: Intel's quote of its paravisor, and the quote of the paravisor's TPM. Pure.

The paravisor (OpenHCL) owns TDX and the TPM: the trust domain's registers measure it alone, the TPM's registers measure
the image. The runtime data, which REPORTDATA covers, tie the TPM's key to the trust domain.

1. The report is one of a TDX machine (`pluto_measure.formats.hcl`): reports of other hardware are refused by name.
2. Intel's hardware made the TD quote (`pluto_measure.verify.quote`).
3. Its REPORTDATA is SHA-256 of the runtime data's bytes, then 32 zeros.
4. Its fields are those of the report's TD report.
5. `user-data` in the runtime data is the binding B over the claims.
6. The TPM's quote is a quote (TPM_GENERATED_VALUE, TPM_ST_ATTEST_QUOTE), signed by the key that the runtime data name:
   RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 4096 bits.
7. It covers exactly the bank SHA-256, all 24 registers, and its digest is that of the 24 values in order.
8. Its extraData is SHA-256(B): B must be in both places, as a machine puts it into both.
9. If there are certificates, the first is for this key; a chain to a pinned root is a fact for the policy.

All run; one failure makes the evidence unusable. Whose paravisor it is, and how it was told to run the machine, the
appraisal says. The TPM's own name for the key is not checked: its public area is no part of the evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, fields
from datetime import datetime
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.evidence import AZURE_BANKS, AnyClaims, AzureEvidence, Envelope, Registers, tpm_extra_data
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats import tpm
from pluto_measure.formats.collateral import Collateral
from pluto_measure.formats.hcl import HclReport, RsaKey
from pluto_measure.formats.quote import Quote, TdReport
from pluto_measure.verify.azure_pki import AZURE_AK_ROOTS, ak_chain
from pluto_measure.verify.intel_pki import INTEL_ROOTS, Roots
from pluto_measure.verify.quote import VerifiedQuote, verify_quote
from pluto_measure.verify.tpm_registers import digest_finding, extra_data_finding, selection_finding

_MINT = object()
_BITS: Final = range(2048, 4097)
_EXPONENT: Final = 65537
_ONLY_15: Final = ("tee_tcb_svn_2", "mr_service_td")


@dataclass(frozen=True, slots=True)
class Bound:
    """What both quotes must be bound to."""

    user_data: bytes  # 64, in the paravisor's runtime data
    extra_data: bytes  # in the TPM's quote

    @classmethod
    def to(cls, binding: bytes) -> Self:
        """By the rule of docs/formats/evidence.md, for a binding B of 64 bytes."""
        return cls(binding, tpm_extra_data(binding))


@dataclass(frozen=True, slots=True, kw_only=True)
class AkTrust:
    """Who may vouch for attestation keys: pinned roots (SHA-256 of DER), and certificates (DER) that lead to them."""

    roots: Roots = AZURE_AK_ROOTS
    issuers: tuple[bytes, ...] = ()


MICROSOFT: Final = AkTrust()


@dataclass(frozen=True, slots=True)
class Parts:
    """Evidence of an Azure machine, parsed."""

    report: HclReport
    quote: Quote
    attest: tpm.Attest
    attested: bytes  # TPMS_ATTEST as it was signed
    signature: tpm.Signature
    registers: Registers
    certificates: tuple[bytes, ...]

    @classmethod
    def parse(cls, evidence: AzureEvidence) -> Self:
        """FormatError."""
        return cls(
            report=HclReport.parse(evidence.hcl_report),
            quote=Quote.parse(evidence.td_quote),
            attest=tpm.Attest.parse(evidence.quote.attest),
            attested=evidence.quote.attest,
            signature=tpm.parse_signature(evidence.quote.signature),
            registers=evidence.quote.registers,
            certificates=evidence.ak_certificates,
        )


@dataclass(frozen=True, slots=True)
class CheckedParts:
    """What the checks of the parts gave, those of the TD quote apart. `ak_digest`: SHA-256 of the key's DER."""

    ak_digest: bytes
    ak_root: bytes | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class VerifiedAzure:
    """Registers and claims that the key of a paravisor in a trust domain signed. Only verify_azure() makes one.

    The TD quote's registers are the paravisor's, `registers` the machine's. `log` is not vouched for by itself: a
    register's events count only where their replay gives the register.
    """

    platform: str  # the machine's word
    issued_at: datetime  # the machine's word
    claims: AnyClaims  # all but build_id are bound by both quotes
    quote: VerifiedQuote
    report: HclReport
    registers: Registers
    untrusted_log: bytes
    ak_digest: bytes  # SHA-256 of the SubjectPublicKeyInfo (DER): which virtual machine this is
    ak_root: bytes | None  # SHA-256 of the pinned root that vouches for the key; None: none does
    findings: tuple[Finding, ...]
    _mint: InitVar[object]  # not kept, so that dataclasses.replace() has none to hand on

    def __post_init__(self, _mint: object) -> None:
        if _mint is not _MINT:
            raise TypeError("only verify_azure() makes a VerifiedAzure")


def verify_azure(
    envelope: Envelope,
    collateral: Collateral,
    roots: Roots = INTEL_ROOTS,
    *,
    at: datetime,
    ak: AkTrust = MICROSOFT,
) -> VerifiedAzure:
    """Verify `envelope` by Intel's collateral and pinned roots (SHA-256 of DER) at the time `at`.

    FormatError for malformed structures, NotAuthentic with all findings. ValueError where the envelope holds other
    evidence than an Azure machine's, or claims that are not opened.
    """
    evidence = envelope.evidence
    if not isinstance(evidence, AzureEvidence):
        raise ValueError(f"evidence of type {envelope.type} is not an Azure machine's")
    parts = Parts.parse(evidence)
    quote, checked = verify_parts(parts, Bound.to(envelope.claims.binding()), collateral, roots, at=at, ak=ak)
    return VerifiedAzure(
        platform=envelope.platform,
        issued_at=envelope.issued_at,
        claims=envelope.claims,
        quote=quote,
        report=parts.report,
        registers=parts.registers,
        untrusted_log=evidence.log,
        ak_digest=checked.ak_digest,
        ak_root=checked.ak_root,
        findings=(*quote.findings, *checked.findings),
        _mint=_MINT,
    )


def verify_parts(
    parts: Parts,
    bound: Bound,
    collateral: Collateral,
    roots: Roots = INTEL_ROOTS,
    *,
    at: datetime,
    ak: AkTrust = MICROSOFT,
) -> tuple[VerifiedQuote, CheckedParts]:
    """The same for parts that are bound to anything, such as recorded ones. NotAuthentic, FormatError."""
    checked = check_parts(parts, bound, at=at, ak=ak)
    try:
        quote = verify_quote(parts.quote, collateral, roots)
    except NotAuthentic as error:
        raise NotAuthentic((*error.findings, *checked.findings)) from error
    if failures(checked.findings):
        raise NotAuthentic((*quote.findings, *checked.findings))
    return quote, checked


def check_parts(parts: Parts, bound: Bound, *, at: datetime, ak: AkTrust = MICROSOFT) -> CheckedParts:
    """Every check but those of the TD quote itself, for parts that nobody vouches for yet. FormatError."""
    key = _key(parts.report.ak)
    der = b"" if key is None else key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    root, chain = ak_chain(parts.certificates, ak.issuers, key=der, at=at, roots=ak.roots)
    findings = (*_report(parts, bound), *_tpm(parts, bound, key), chain)
    return CheckedParts(hashlib.sha256(der).digest(), root, findings)


def _key(ak: RsaKey) -> rsa.RSAPublicKey | None:
    """None where the numbers are no key that could be used."""
    if ak.modulus.bit_length() not in _BITS or ak.modulus % 2 == 0 or ak.exponent != _EXPONENT:
        return None
    try:
        return rsa.RSAPublicNumbers(ak.exponent, ak.modulus).public_key()
    except ValueError:
        return None


def _report(parts: Parts, bound: Bound) -> Iterator[Finding]:
    """The paravisor's report beside the TD quote."""
    report, quoted = parts.report, parts.quote.report
    expected = hashlib.sha256(report.runtime_data).digest() + bytes(32)
    yield judge(
        "azure.report_data",
        quoted.report_data == expected,
        "the TD quote covers the paravisor's runtime data",
        otherwise="the TD quote is of other runtime data than those beside it",
        expected=expected.hex(),
        actual=quoted.report_data.hex(),
    )
    differing = different_fields(report.td_report, quoted)
    yield judge(
        "azure.td_report",
        not differing,
        "the TD quote is of the TD report in the paravisor's report",
        otherwise=f"the TD quote is of another TD report than the paravisor's: {', '.join(differing)}",
    )
    yield judge(
        "binding.user_data",
        report.user_data == bound.user_data,
        "the paravisor's report is bound to the claims",
        otherwise="the paravisor's report was made for other claims than those beside it",
        expected=bound.user_data.hex(),
        actual=report.user_data.hex(),
    )


def different_fields(ours: TdReport, quoted: TdReport) -> list[str]:
    """The names of fields that a quote has otherwise. What a quote 1.0 does not have is not compared."""
    skipped = {"version", "service_tds", *(_ONLY_15 if quoted.version == "1.0" else ())}
    names = [field.name for field in fields(TdReport) if field.name not in skipped]
    return [name for name in names if getattr(ours, name) != getattr(quoted, name)]


def _tpm(parts: Parts, bound: Bound, key: rsa.RSAPublicKey | None) -> Iterator[Finding]:
    """The TPM's quote."""
    attest, signature = parts.attest, parts.signature
    scheme = "RSASSA" if isinstance(signature, tpm.RsassaSignature) else "ECDSA"
    yield judge(
        "tpm.ak_scheme",
        key is not None and (scheme, signature.hash) == ("RSASSA", "sha256"),
        "key and signature use the same accepted algorithm",
        otherwise="key or signature is not RSASSA with SHA-256, 2048 to 4096 bits and exponent 65537",
        expected="RSASSA sha256 2048",
        actual=f"{scheme} {signature.hash} {parts.report.ak.modulus.bit_length()}",
    )
    yield judge(
        "tpm.signature",
        _signed(key, signature, parts.attested),
        "the attestation key signed the quote",
        otherwise="the key that the paravisor's report names did not sign this quote",
    )
    yield selection_finding(attest, AZURE_BANKS)
    yield digest_finding(attest, "sha256", parts.registers, AZURE_BANKS)
    yield extra_data_finding(attest, bound.extra_data)


def _signed(key: rsa.RSAPublicKey | None, signature: tpm.Signature, data: bytes) -> bool:
    if key is None or not isinstance(signature, tpm.RsassaSignature):
        return False
    try:
        key.verify(signature.signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
