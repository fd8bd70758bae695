"""Any X.509 certificate: what `cryptography` raises for bytes that are none, and what a certificate may do. Pure."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

# What `cryptography` raises for bytes that are no certificate or list. A warning is one where they are made errors.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)


def constraints(
    certificate: x509.Certificate,
) -> tuple[x509.BasicConstraints | None, x509.KeyUsage | None, str | None]:
    """Basic constraints and key usage; or neither, and the first critical extension that is none of the two."""
    basic = usage = None
    for extension in certificate.extensions:
        value = extension.value
        if type(value) is x509.BasicConstraints:  # isinstance would ask its abstract class each time
            basic = value
        elif type(value) is x509.KeyUsage:
            usage = value
        elif extension.critical:
            return None, None, extension.oid.dotted_string
    return basic, usage, None
