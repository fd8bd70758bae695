"""Fetches launch endorsements, and the firmware that they are for, from Google's public bucket.

    <base>/tdx/<MRTD in hex>.binarypb          the endorsement of a trust domain's firmware
    <base>/<SHA-384 of the file in hex>.fd     the firmware

Nothing is verified here but sizes, and the firmware's digest: who asks checks signatures. A redirect is an error; so is
an answer that is too large. The bucket refuses (403) what it does not have, as it lets nobody list it.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import replace
from typing import Final

from pluto_measure.collateral.attempts import NoAnswerError, fetch
from pluto_measure.collateral.transport import Clock, Limits, Transport, check_url
from pluto_measure.errors import VerificationError
from pluto_measure.formats.endorsement import LIMIT

BUCKET: Final = "https://storage.googleapis.com/gce_tcb_integrity/ovmf_x64_csm"
FIRMWARE_LIMIT: Final = 16 * 1024 * 1024  # bytes; Google's firmware has 2 MiB


class EndorsementClient:
    """A bucket at a base URL. UsageError for a URL that is not https, unless its host is this machine.

    `context` says which certificates of services count (default: the system's); it must verify.
    """

    def __init__(
        self,
        url: str = BUCKET,
        *,
        insecure_http: bool = False,
        context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._base, self._limits, self._clock = url.rstrip("/"), limits or Limits(), clock or Clock()
        self._insecure_http, self._context = insecure_http, context
        check_url(self._base, insecure_http)

    def endorsement(self, mrtd: bytes) -> bytes:
        """The endorsement that the bucket has of an MRTD (48 bytes). NoAnswerError."""
        return self._get("launch endorsement", f"/tdx/{mrtd.hex()}.binarypb", LIMIT)

    def firmware(self, digest: bytes) -> bytes:
        """The firmware with this SHA-384. NoAnswerError; VerificationError where the bucket gives another file."""
        data = self._get("firmware", f"/{digest.hex()}.fd", FIRMWARE_LIMIT)
        if hashlib.sha384(data).digest() != digest:
            raise VerificationError(f"firmware: what came is not the file with SHA-384 {digest.hex()}")
        return data

    def _get(self, name: str, path: str, limit: int) -> bytes:
        limits = replace(self._limits, size=limit)
        transport = Transport(
            self._base, insecure_http=self._insecure_http, context=self._context, limits=limits, clock=self._clock
        )
        try:
            return fetch(transport, name, self._base + path, limits, self._clock).body
        except NoAnswerError as error:
            if error.status == 403:
                problem = f"{error.problem}: the bucket has none, or lets you read none"
                raise NoAnswerError(name, error.url, problem, error.status) from error
            raise
