"""The evidence helper's decisions: a request's bytes in, a response's bytes out. Devices and time are arguments.

It computes the binding itself, from typed claims, and reads the configuration's digest itself: what it cannot express,
nobody can have quoted.
"""

from __future__ import annotations

from pluto_measure.binding import TpmQuote, tpm_extra_data
from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence.messages import (
    LegacyRequest,
    Parts,
    TdxParts,
    TokenParts,
    TpmParts,
    error_body,
    parse_request,
)
from pluto_notary.limits import TokenBucket

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Protocol

    class Sourcing(Protocol):
        """One way of this machine to prove itself. Raises OSError, TpmError, FormatError, EvidenceError."""

        @property
        def config_digest(self) -> Callable[[], bytes]:
            """32 bytes; EvidenceError("config", ...) when there is none."""
            ...

        def parts(self, bound: bytes, config_digest: bytes) -> Parts:
            """Evidence that carries the binding `bound` (64 bytes)."""
            ...


_NO_BUILD: Final = bytes(32)  # the build's id enters no binding; the notary adds it


@record
class Sources:
    """A machine with a TPM. What is read for each piece of evidence."""

    quote: Callable[[bytes], TpmQuote]  # takes extraData
    ak_public: Callable[[], bytes]
    log: Callable[[], bytes]
    config_digest: Callable[[], bytes]

    def parts(self, bound: bytes, config_digest: bytes) -> TpmParts:
        quote = self.quote(tpm_extra_data(bound))
        return TpmParts(quote, self.ak_public(), (), self.log(), config_digest)


@record
class TdxSources:
    """A trust domain that may ask for its own quotes."""

    quote: Callable[[bytes], bytes]  # takes REPORTDATA
    log: Callable[[], bytes]
    config_digest: Callable[[], bytes]

    def parts(self, bound: bytes, config_digest: bytes) -> TdxParts:
        return TdxParts(self.quote(bound), self.log(), config_digest)


class Helper:
    """Answers one request after the other. `clock` gives seconds and never goes back.

    `legacy`: the token of the old protocol for an EKM, where the machine has one to give.
    """

    def __init__(
        self,
        sources: Sourcing,
        *,
        bucket: TokenBucket,
        clock: Callable[[], float],
        legacy: Callable[[bytes], str] | None = None,
    ) -> None:
        self._sources, self._bucket, self._clock, self._legacy = sources, bucket, clock, legacy

    def answer(self, body: bytes) -> bytes:
        """The response to a request's body; every failure becomes a code."""
        try:
            request = parse_request(body)
        except FormatError:
            return error_body("request")
        if isinstance(request, LegacyRequest) and self._legacy is None:
            return error_body("request")
        if not self._bucket.take(self._clock()):
            return error_body("busy")
        try:
            config_digest = self._sources.config_digest()
            if isinstance(request, LegacyRequest):
                assert self._legacy is not None
                return TokenParts(self._legacy(request.ekm), config_digest).to_body()
            return self._sources.parts(request.claims(config_digest, _NO_BUILD).binding(), config_digest).to_body()
        except EvidenceError as error:
            return error_body(error.code)
        except (TpmError, FormatError, OSError):
            return error_body("device")
