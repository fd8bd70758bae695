"""A pretend Intel: its root, its two PCK authorities, its TCB signing key, and what they issue. For tests alone.

Names and extensions are those of Intel's production certificates; the keys are made here and vouch for nothing.
Keys follow from a seed, so the same seed is the same Intel, and another seed is a foreign root with the same names.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .certificates import HOST, NOW, Form, Issued, Key, issue, key_of, name_of, raw_signature
from .der import Machine, sgx_extension

YEAR = timedelta(days=365)

Ca = Literal["platform", "processor"]
Role = Literal["root", "platform", "processor", "tcb_signing"]

COMMON_NAMES: dict[Role, str] = {
    "root": "Intel SGX Root CA",
    "platform": "Intel SGX PCK Platform CA",
    "processor": "Intel SGX PCK Processor CA",
    "tcb_signing": "Intel SGX TCB Signing",
}
PCK_COMMON_NAME = "Intel SGX PCK Certificate"
# A certificate of the Processor CA tells neither the platform instance nor the configuration.
MACHINES: dict[Ca, Machine] = {
    "platform": Machine(),
    "processor": Machine(sgx_type=0, platform_instance=None, dynamic_platform=None, cached_keys=None, smt=None),
}


@dataclass(frozen=True)
class Pck(Issued):
    """A PCK certificate, with what it says of its machine."""

    machine: Machine = MACHINES["platform"]
    ca: Ca = "platform"


def forms(now: datetime) -> dict[Role, Form]:
    authority = Form(now - 3 * YEAR, now + 7 * YEAR, ca=True, path_length=0, signs_certificates=True)
    return {
        "root": replace(authority, not_before=now - 8 * YEAR, not_after=now + 23 * YEAR, path_length=1),
        "platform": authority,
        "processor": authority,
        "tcb_signing": Form(now - 3 * YEAR, now + 7 * YEAR),
    }


@dataclass(frozen=True)
class Authority:
    """The pretend Intel. `make` makes one; `with_certificate` makes one whose certificate has a defect."""

    seed: int
    now: datetime
    root: Issued
    platform: Issued
    processor: Issued
    tcb_signing: Issued

    @staticmethod
    @functools.cache
    def make(seed: int = 0, *, now: datetime = NOW) -> Authority:
        """The Intel of a seed; its certificates are valid from years before `now` to years after it."""
        shape = forms(now)
        root = issue(COMMON_NAMES["root"], key_of(seed, "root"), shape["root"], None)
        platform, processor, tcb_signing = (
            issue(COMMON_NAMES[role], key_of(seed, role), shape[role], root)
            for role in ("platform", "processor", "tcb_signing")
        )
        return Authority(seed, now, root, platform, processor, tcb_signing)

    @property
    def root_der(self) -> bytes:
        return self.root.der

    @property
    def root_key_digest(self) -> bytes:
        """SHA-256 of the root's SubjectPublicKeyInfo (DER)."""
        public = self.root.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).digest()

    def issued(self, role: Role) -> Issued:
        return {
            "root": self.root,
            "platform": self.platform,
            "processor": self.processor,
            "tcb_signing": self.tcb_signing,
        }[role]

    def chain_pem(self, role: Role) -> str:
        """The certificate of the role and those above it, root last."""
        return self.issued(role).chain_pem

    def with_certificate(self, role: Role, *, sign_with: Key | None = None, **changes: Any) -> Authority:
        """The same keys, one certificate issued anew with fields of `Form` changed (not_after=, common_name=, ...).

        Under a root that is issued anew stand the certificates of before: its key and their bytes are the same.
        """
        old = self.issued(role)
        form = replace(forms(self.now)[role], **changes)
        made = issue(COMMON_NAMES[role], old.key, form, old.issuer, sign_with)
        if role != "root":
            new: dict[str, Any] = {role: made}
            return replace(self, **new)
        platform, processor, tcb_signing = (
            replace(issued, issuer=made) for issued in (self.platform, self.processor, self.tcb_signing)
        )
        return Authority(self.seed, self.now, made, platform, processor, tcb_signing)

    def pck(
        self,
        ca: Ca = "platform",
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extension: bytes | None = None,
        key: Key | None = None,
        sign_with: Key | None = None,
        form: dict[str, Any] | None = None,
        **machine: Any,
    ) -> Pck:
        """A PCK certificate. `machine`: fields of `Machine`; `form`: fields of `Form`; `extension`: its raw DER."""
        described = replace(MACHINES[ca], **machine)
        shape = Form(
            not_before or self.now - YEAR,
            not_after or self.now + 6 * YEAR,
            crl=f"{HOST}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der",
            sgx=sgx_extension(described) if extension is None else extension,
        )
        key = key or key_of(self.seed, "pck", ca, described)
        made = issue(PCK_COMMON_NAME, key, replace(shape, **form or {}), self.issued(ca), sign_with)
        return Pck(made.key, made.certificate, made.issuer, described, ca)

    def crl(
        self,
        issuer: Literal["root", "platform", "processor"],
        revoked: Sequence[int] = (),
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        number: int | None = 1,
        *,
        sign_with: Key | None = None,
        issuer_name: str | None = None,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """A CRL in DER. `revoked`: serial numbers; `number` None: none; `more`: extensions and whether critical."""
        made_by = self.issued(issuer)
        start = this_update or self.now - timedelta(days=1)
        end = next_update or start + (YEAR if issuer == "root" else timedelta(days=30))
        name = name_of(issuer_name) if issuer_name else made_by.certificate.subject
        builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(start).next_update(end)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        identifier = x509.SubjectKeyIdentifier.from_public_key(made_by.key.public_key())
        above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(above, critical=False)
        for value, critical in more:
            builder = builder.add_extension(value, critical=critical)
        for serial in revoked:
            reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
            builder = builder.add_revoked_certificate(entry.add_extension(reason, critical=False).build())
        made = builder.sign(sign_with or made_by.key, hashes.SHA256(), ecdsa_deterministic=True)
        return made.public_bytes(Encoding.DER)

    def sign(self, text: str) -> str:
        """The hex of r and s over the text, by the TCB signing key."""
        return raw_signature(self.tcb_signing.key, text.encode()).hex()
