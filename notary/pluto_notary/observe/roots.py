"""Whether the chain of certificates that a site showed is the one of its name, at the trusted time. Pure.

The path is built by `cryptography`'s verifier for servers, which follows RFC 5280 and the rules of public authorities:
signatures, names and wildcards in subjectAltName alone, name constraints, purposes, path lengths, dates, key sizes.
(Version 43 takes no wildcard below an authority whose names are constrained; later ones do.)

The time is known as an interval, and a chain has to hold at both of its ends. Whether a certificate is fit depends on
the time in one way only: it is so between its two dates. So a path that was found for `earliest` and none of whose
certificates ends before `latest` is a path for `latest` too (each begins before `earliest`, which is not after
`latest`), and nothing has to be searched twice. Where one of them ends in between, another path may still hold at
`latest`, and only then a second search decides. Either way a chain is accepted if, and only if, it is at both times.

A client chooses what it records, and so what is searched. Before that, certificates that name themselves as issuer are
left out (a root counts only as one of ours), and no more than two may have the same subject, once: this leaves fewer
than 50 signatures to check, whatever else they say.
"""

from __future__ import annotations

import datetime
import warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from pluto_measure.errors import FormatError
from pluto_notary.observe.errors import ObserveError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

    PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

MOST_CERTIFICATES: Final = 10
LARGEST_CERTIFICATE: Final = 16 * 1024  # bytes
RSA_BITS: Final = range(2048, 8192 + 1)
_DEPTH: Final = 6  # authorities between a site and a root
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class Roots:
    """The authorities that are trusted, and no others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def load(cls, pem: bytes) -> Roots:
        """From one or more certificates in PEM. Raises FormatError."""
        try:
            with warnings.catch_warnings():  # of the many roots that systems have, one has the serial number 0
                warnings.simplefilter("ignore")
                return cls(Store(x509.load_pem_x509_certificates(pem)))
        except ValueError as error:
            raise FormatError("roots", "are not certificates in PEM") from error

    def judge(self, chain: tuple[bytes, ...], host: str, judged_at: tuple[int, int]) -> PublicKey:
        """The key of the site. Raises ObserveError (certificate, unsupported).

        `chain`: certificates in DER as they were shown, the site's own first. `host`: a DNS name in lower case.
        `judged_at`: earliest and latest Unix time that it can have been.
        """
        earliest, latest = (datetime.datetime.fromtimestamp(at, datetime.UTC) for at in judged_at)
        assert earliest <= latest
        leaf, between = _parsed(chain)
        path = self._path(leaf, between, host, earliest)
        if any(one.not_valid_after_utc < latest for one in path):
            self._path(leaf, between, host, latest)
        return _key(leaf)

    def _path(
        self, leaf: x509.Certificate, between: list[x509.Certificate], host: str, at: datetime.datetime
    ) -> list[x509.Certificate]:
        """A path from the leaf to one of our roots that holds for this name at this time."""
        try:
            builder = PolicyBuilder().store(self._store).time(at).max_chain_depth(_DEPTH)
            return builder.build_server_verifier(x509.DNSName(host)).verify(leaf, between)
        # ValueError, TypeError: an extension that is none, or a name that is none.
        except (VerificationError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            if all(one.not_valid_before_utc <= at <= one.not_valid_after_utc for one in (leaf, *between)):
                raise _refused("the certificate is for another name, or leads to no known root") from error
            raise _refused("a certificate is not valid at the trusted time") from error


def _parsed(chain: tuple[bytes, ...]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The site's certificate, and those of the others that can be part of a path."""
    if not 0 < len(chain) <= MOST_CERTIFICATES or max(map(len, chain)) > LARGEST_CERTIFICATE:
        raise _refused("the site showed no certificate, or too much of them")
    try:
        leaf, *others = (x509.load_der_x509_certificate(der) for der in dict.fromkeys(chain))
        between = [one for one in others if one.subject != one.issuer]
        for one in (leaf, *between):  # read late, and not all that DER can say is a date: the year 0 is none
            _ = one.not_valid_before_utc, one.not_valid_after_utc
    # TypeError: a name whose text is a string of bits.
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise _refused("a certificate cannot be read") from error
    if len(between) - len({one.subject for one in between}) > 1:
        raise _refused("the chain has too many certificates of the same authority")
    return leaf, between


def _key(leaf: x509.Certificate) -> PublicKey:
    """The key, if it is of a kind that signs handshakes here, and may. RFC 8446, 4.4.2.2; RFC 8422, 2.2."""
    try:
        key = leaf.public_key()
        uses = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        signs = uses.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unread() from error
    if not signs:
        raise _refused("the certificate has a key that must not sign")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS:
        return key
    raise _unread()


def _unread() -> ObserveError:
    return ObserveError("unsupported", "the certificate has a key of a kind that is not read here")


def _refused(problem: str) -> ObserveError:
    return ObserveError("certificate", problem)
