"""Why a recording shows nothing: a code of a closed list and a sentence of ours. Pure.

The sentence never quotes a byte of the recording, a name or a secret, so that it may reach a client and an event.
"""

from __future__ import annotations

from pluto_measure.errors import VerificationError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

OBSERVE_CODES: Final = ("secret", "tls", "certificate", "http", "size", "violation", "unsupported")


class ObserveError(VerificationError):
    """Nothing of the recording is believed; `code` is one of OBSERVE_CODES.

    secret: what was revealed is not this connection's. tls: the protocol was broken, or used in a way that is refused.
    certificate: the site is not who it should be. http, violation: the exchange is malformed, or not the one asked for.
    size: more than the limits let through. unsupported: a version or suite that is not read here.
    """

    def __init__(self, code: str, problem: str) -> None:
        assert code in OBSERVE_CODES
        self.code, self.problem = code, problem
        super().__init__(f"nothing is observed ({code}): {problem}")
