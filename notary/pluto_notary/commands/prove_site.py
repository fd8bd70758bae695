"""Whether `prove --mode observe` believes a web site: by roots of a file, at this computer's time. Thin IO."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pluto_measure.commands import files
from pluto_measure.errors import UsageError
from pluto_notary.client.tls.errors import BAD_CERTIFICATE, TlsError
from pluto_notary.observe.errors import ObserveError
from pluto_notary.observe.roots import Roots

if TYPE_CHECKING:
    from pluto_notary.client.tls.hello import Judge
    from pluto_notary.client.tls.signatures import PublicKey

_ROOTS_LIMIT: Final = 4 * 1024 * 1024
# Where systems keep their bundle, beside where OpenSSL was built to look.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/cert.pem",  # macOS, Alpine
)


def site_judge(path: Path | None, host: str) -> Judge:
    """What judges a chain of certificates for this host. `path`: of the roots, or None for the system's own.

    UsageError, FormatError for roots that cannot be used. The judge raises TlsError.
    """
    roots = _roots(path)

    def judge(chain: tuple[bytes, ...]) -> PublicKey:
        now = int(time.time())
        try:
            return roots.judge(chain, host, (now, now))
        except ObserveError as error:  # which is worded for the notary's side
            raise TlsError(error.problem, alert=BAD_CERTIFICATE) from error

    return judge


def _roots(path: Path | None) -> Roots:
    found = path or next((one for one in _bundles() if one.is_file()), None)
    if found is None:
        raise UsageError("this system has no bundle of roots where one is looked for", hint="--roots FILE, in PEM")
    data = files.read(found, what="roots", limit=_ROOTS_LIMIT)
    with files.naming("roots", found):
        return Roots.load(data)


def _bundles() -> Iterator[Path]:
    if (built_in := ssl.get_default_verify_paths().cafile) is not None:  # heeds SSL_CERT_FILE
        yield Path(built_in)
    yield from map(Path, _BUNDLES)
