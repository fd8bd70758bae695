"""Whether a server's certificate chain holds at a given time: the wall clock is not asked. RFC 5280, web PKI profile.

Pure: chain, name, time and roots are arguments. Revocation is not looked at.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store
from cryptography.x509.verification import VerificationError as _ChainError

from pluto_measure.errors import FormatError, VerificationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_END: Final = b"-----END CERTIFICATE-----"
LARGEST_CHAIN: Final = 10


class Roots:
    """The certification authorities that are believed."""

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self._store = Store(list(certificates))

    @classmethod
    def parse(cls, pem: bytes) -> Roots:
        """From a file of certificates as PEM. One that the library cannot read is left out. FormatError if none is."""
        found = []
        with warnings.catch_warnings():  # some old root has a serial number that is not positive
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            for piece in pem.split(_END)[:-1]:
                try:
                    found.append(x509.load_pem_x509_certificate(piece + _END + b"\n"))
                except ValueError:
                    continue
        if not found:
            raise FormatError("roots", "no certificate can be read")
        return cls(found)

    def judge(self, chain: Sequence[bytes], host: str, earliest: float, latest: float) -> None:
        """VerificationError unless `chain` (DER, the server's own first) is `host`'s at both of these Unix times."""
        if not 0 < len(chain) <= LARGEST_CHAIN:
            raise VerificationError("the certificate chain is empty or too long")
        try:
            leaf, *others = (x509.load_der_x509_certificate(one) for one in chain)
            for at in (earliest, latest):
                moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)  # the library takes it as UTC
                verifier = PolicyBuilder().store(self._store).time(moment).build_server_verifier(x509.DNSName(host))
                verifier.verify(leaf, others)
        except (ValueError, OverflowError, OSError, _ChainError, x509.InvalidVersion, x509.DuplicateExtension) as error:
            raise VerificationError("the certificate does not hold at the time that is claimed") from error
