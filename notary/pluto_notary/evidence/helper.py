"""The evidence helper's decisions: a request's bytes in, a response's bytes out. Devices and time are arguments.

It computes the binding itself, from typed claims, and reads the configuration's digest itself: what it cannot express,
nobody can have quoted.
"""

from __future__ import annotations

from pluto_measure.binding import TpmQuote, binding, tpm_extra_data
from pluto_measure.errors import FormatError
from pluto_measure.record import record
from pluto_notary.errors import EvidenceError, TpmError
from pluto_notary.evidence.messages import NodeRequest, TpmParts, error_body
from pluto_notary.limits import TokenBucket

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from collections.abc import Callable


@record
class Sources:
    """What the helper reads for each piece of evidence. Raise OSError, TpmError, FormatError, EvidenceError."""

    quote: Callable[[bytes], TpmQuote]  # takes extraData
    ak_public: Callable[[], bytes]
    log: Callable[[], bytes]
    config_digest: Callable[[], bytes]  # 32 bytes; EvidenceError("config", ...) when there is none


class Helper:
    """Answers one request after the other. `clock` gives seconds and never goes back."""

    def __init__(self, sources: Sources, *, bucket: TokenBucket, clock: Callable[[], float]) -> None:
        self._sources, self._bucket, self._clock = sources, bucket, clock

    def answer(self, body: bytes) -> bytes:
        """The response to a request's body; every failure becomes a code."""
        try:
            request = NodeRequest.parse(body)
        except FormatError:
            return error_body("request")
        if not self._bucket.take(self._clock()):
            return error_body("busy")
        try:
            return self._parts(request).to_body()
        except EvidenceError as error:
            return error_body(error.code)
        except (TpmError, FormatError, OSError):
            return error_body("device")

    def _parts(self, request: NodeRequest) -> TpmParts:
        config_digest = self._sources.config_digest()
        bound = binding("node", (request.nonce, config_digest, request.outer_key_digest))
        return TpmParts(
            quote=self._sources.quote(tpm_extra_data(bound)),
            ak_public=self._sources.ak_public(),
            ak_certificates=(),
            log=self._sources.log(),
            config_digest=config_digest,
        )
