"""Verify TPM evidence: the quote is one that the attestation key signed over these registers and these claims. Pure.

1. The key is a restricted signing key that never left its TPM (as its public area says; a chain must vouch for that).
2. Key and signature use an algorithm that we accept, and the same one.
3. The key signed the quote.
4. The quote names this key, as a primary key, as its signer.
5. The quote covers exactly the banks SHA-256 and SHA-384, all 24 registers each.
6. The quote's digest is that of the register values beside it.
7. extraData is SHA-256 of the binding over the claims.
8. If there are certificates, they form a chain for this key; the policy compares its root.

All run; one failure makes the evidence unusable. Nothing here compares a value with a reference or a policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pluto_measure.errors import VerificationError
from pluto_measure.evidence import BANKS, AnyClaims, Envelope, Registers, TpmEvidence, tpm_extra_data
from pluto_measure.findings import Finding, NotAuthentic, failures, judge
from pluto_measure.formats import tpm
from pluto_measure.verify.chain import chain_root
from pluto_measure.verify.tpm_registers import digest_finding, extra_data_finding, selection_finding

_MINT = object()
_HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384}
_CURVES: Final[dict[int, Callable[[], ec.EllipticCurve]]] = {
    tpm.CURVE_P256: ec.SECP256R1,
    tpm.CURVE_P384: ec.SECP384R1,
}
_RSA_BITS: Final = (2048, 3072, 4096)
_REQUIRED: Final = tpm.RESTRICTED | tpm.SIGN | tpm.FIXED_TPM | tpm.FIXED_PARENT | tpm.SENSITIVE_DATA_ORIGIN
_HIERARCHIES: Final = (tpm.RH_OWNER, tpm.RH_ENDORSEMENT)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class VerifiedTpmQuote:
    """Registers and claims that the attestation key signed. Only verify_tpm() makes one.

    `log` is not vouched for by itself: a register's events count only where their replay gives the register.
    """

    platform: str  # the machine's word
    issued_at: datetime  # the machine's word
    registers: Registers
    claims: AnyClaims  # all but build_id are bound by the signature
    untrusted_log: bytes
    ak_digest: bytes  # SHA-256 of TPMT_PUBLIC: which machine this is
    ak_root: bytes | None  # SHA-256 of the root certificate that vouches for the key; None: nobody does
    findings: tuple[Finding, ...]
    _mint: InitVar[object]  # not kept, so that dataclasses.replace() has none to hand on

    def __post_init__(self, _mint: object) -> None:
        if _mint is not _MINT:
            raise TypeError("only verify_tpm() makes a VerifiedTpmQuote")


def verify_tpm(envelope: Envelope, *, at: datetime) -> VerifiedTpmQuote:
    """Verify `envelope` at the time `at`. FormatError for malformed structures, NotAuthentic with all findings.

    ValueError where the envelope holds other evidence than a TPM's.
    """
    evidence = envelope.evidence
    if not isinstance(evidence, TpmEvidence):
        raise ValueError(f"evidence of type {envelope.type} is not a TPM's")
    public = tpm.parse_public(evidence.ak_public)
    attest = tpm.Attest.parse(evidence.quote.attest)
    signature = tpm.parse_signature(evidence.quote.signature)
    root, chain = _check_chain(evidence.ak_certificates, public, at)
    findings = (
        _check_attributes(public),
        _check_scheme(public, signature),
        _check_signature(public, signature, evidence.quote.attest),
        _check_signer(public, attest),
        selection_finding(attest, BANKS),
        digest_finding(attest, signature.hash, evidence.quote.registers, BANKS),
        extra_data_finding(attest, tpm_extra_data(envelope.claims.binding())),
        chain,
    )
    if failures(findings):
        raise NotAuthentic(findings)
    return VerifiedTpmQuote(
        platform=envelope.platform,
        issued_at=envelope.issued_at,
        registers=evidence.quote.registers,
        claims=envelope.claims,
        untrusted_log=evidence.log,
        ak_digest=hashlib.sha256(evidence.ak_public).digest(),
        ak_root=root,
        findings=findings,
        _mint=_MINT,
    )


def public_key(public: tpm.Public) -> PublicKey:
    """The key of a public area. VerificationError for what is no key or not one that we accept."""
    try:
        if isinstance(public, tpm.EccPublic):
            x, y = int.from_bytes(public.x), int.from_bytes(public.y)
            return ec.EllipticCurvePublicNumbers(x, y, _CURVES[public.curve]()).public_key()
        modulus = int.from_bytes(public.modulus)
        return rsa.RSAPublicNumbers(public.exponent or 65537, modulus).public_key()
    except ValueError as error:
        raise VerificationError("the public area holds no valid key") from error


def _check_attributes(public: tpm.Public) -> Finding:
    holds = public.attributes & (_REQUIRED | tpm.DECRYPT) == _REQUIRED
    return judge(
        "tpm.ak_attributes",
        holds,
        "the attestation key signs only what its TPM made, and cannot leave it",
        otherwise="the attestation key may sign foreign data, decrypt, or leave its TPM",
        expected=f"{_REQUIRED:#010x} without decrypt",
        actual=f"{public.attributes:#010x}",
    )


def _check_scheme(public: tpm.Public, signature: tpm.Signature) -> Finding:
    if isinstance(signature, tpm.EcdsaSignature):
        used, strong = tpm.Scheme(tpm.ALG_ECDSA, signature.hash), isinstance(public, tpm.EccPublic)
    else:
        used = tpm.Scheme(tpm.ALG_RSASSA, signature.hash)
        strong = isinstance(public, tpm.RsaPublic) and _is_strong(public)
    return judge(
        "tpm.ak_scheme",
        strong and used == public.scheme and used.hash in _HASHES and public.name_algorithm in _HASHES,
        "key and signature use the same accepted algorithm",
        otherwise="key and signature differ in algorithm, or use one that is not accepted",
        expected=str(public.scheme),
        actual=str(used),
    )


def _is_strong(public: tpm.RsaPublic) -> bool:
    size = int.from_bytes(public.modulus).bit_length()
    return size == public.key_bits and size in _RSA_BITS and public.exponent in (0, 65537)


def _check_signature(public: tpm.Public, signature: tpm.Signature, attest: bytes) -> Finding:
    try:
        _verify_signature(public_key(public), signature, attest)
        problem = None
    except InvalidSignature:
        problem = "the attestation key did not sign this quote"
    except VerificationError as error:
        problem = str(error)
    return judge("tpm.signature", problem is None, "the attestation key signed the quote", otherwise=problem or "")


def _verify_signature(key: PublicKey, signature: tpm.Signature, data: bytes) -> None:
    if signature.hash not in _HASHES:
        raise VerificationError(f"signatures over {signature.hash} are not accepted")
    algorithm = _HASHES[signature.hash]()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(signature, tpm.EcdsaSignature):
        encoded = encode_dss_signature(int.from_bytes(signature.r), int.from_bytes(signature.s))
        key.verify(encoded, data, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey) and isinstance(signature, tpm.RsassaSignature):
        key.verify(signature.signature, data, padding.PKCS1v15(), algorithm)
    else:
        raise VerificationError("key and signature are of different kinds")


def _check_signer(public: tpm.Public, attest: tpm.Attest) -> Finding:
    names = [tpm.qualified_name(hierarchy, public) for hierarchy in _HIERARCHIES]
    return judge(
        "tpm.signer",
        attest.qualified_signer in names,
        "the quote names this attestation key as its signer",
        otherwise="the quote names another key as its signer, or one that is no primary key",
        expected=names[0].hex(),
        actual=attest.qualified_signer.hex(),
    )


def _check_chain(certificates: tuple[bytes, ...], public: tpm.Public, at: datetime) -> tuple[bytes | None, Finding]:
    if not certificates:
        return None, Finding("tpm.ak_chain", "pass", "there are no certificates; the policy judges that")
    try:
        key = public_key(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        root = chain_root(certificates, key=key, at=at)
    except VerificationError as error:
        return None, Finding("tpm.ak_chain", "fail", str(error))
    return root, Finding(
        "tpm.ak_chain", "pass", "the certificates form a chain for the attestation key", None, root.hex()
    )
