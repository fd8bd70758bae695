"""Intel's revocation lists: read to their end, signed by their issuer, and whom they revoke. Pure.

Intel SGX PCK Certificate and CRL Profile Specification 1.5. Whether a signature holds does not depend on the time, so
the answers are remembered by the exact bytes; dates come back as a `Window`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from pluto_measure.errors import FormatError
from pluto_measure.formats.signed_der import SignedDer, common_name
from pluto_measure.verify.certificate import UNREADABLE
from pluto_measure.verify.intel_certificate import (
    ECDSA_SHA256,
    ends_in,
    is_other_algorithm,
    name_of,
    read,
)
from pluto_measure.verify.intel_pki import Window

_REMEMBERED: Final = 64  # a list may be long, and there are three in force at a time


@dataclass(frozen=True, slots=True)
class Crl:
    """A revocation list, loaded. `number` is CRLNumber, RFC 5280 section 5.2.3; -1 where it is not there."""

    der: bytes
    number: int
    this_update: datetime
    next_update: datetime
    _list: x509.CertificateRevocationList

    def revokes(self, certificate: x509.Certificate) -> bool:
        serial = certificate.serial_number
        # DER has one spelling of a number. Most lists do not hold it anywhere, and are not searched entry by entry.
        if serial.to_bytes(serial.bit_length() // 8 + 1, "big") not in self.der:
            return False
        return self._list.get_revoked_certificate_by_serial_number(serial) is not None

    def window(self, what: str) -> Window:
        return Window(what, "document", self.this_update, self.next_update)


@lru_cache(_REMEMBERED)
def _list(der: bytes) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(der)


def load_crl(der: bytes, what: str) -> Crl:
    """A revocation list. FormatError for bytes that are none, and for a list without a next update."""
    try:
        loaded = _list(der)
        begin, end = loaded.last_update_utc, loaded.next_update_utc
        number = next((e.value.crl_number for e in loaded.extensions if type(e.value) is x509.CRLNumber), -1)
    except UNREADABLE as error:
        raise FormatError(what, f"is no revocation list: {error}") from error
    if not ends_in(der, loaded.signature):
        raise FormatError(what, "does not end in its signature")
    if end is None:
        raise FormatError(what, "does not say when its next update is due")
    return Crl(der, number, begin, end, loaded)


@lru_cache(_REMEMBERED)
def crl_problem(crl_der: bytes, issuer_der: bytes) -> str | None:
    """Why the list was not signed by that certificate's key under its name; None: it was."""
    crl, issuer = _list(crl_der), read(issuer_der)
    parts, key = SignedDer.revocation_list(crl_der), issuer.key
    try:
        if parts.issuer != issuer.parts.subject:
            return f"the list was issued by {common_name(parts.issuer)!r}, not by {name_of(issuer_der)!r}"
        critical = [extension.oid.dotted_string for extension in crl.extensions if extension.critical]
        if critical:
            return f"the list has a critical extension {critical[0]}, so it does not cover all that its issuer issued"
        if key is None or is_other_algorithm(crl, parts):
            return "the list is not signed by ECDSA with SHA-256"
        key.verify(crl.signature, parts.signed, ECDSA_SHA256)
    except (InvalidSignature, ValueError):  # of the latter kind is a name that cannot be read
        return f"{name_of(issuer_der)!r} did not sign the list"
    return None
