"""Why there is no certificate: a code of a closed list and a sentence of ours. Pure."""

from __future__ import annotations

from pluto_measure.errors import SourceError
from pluto_notary.events import CERTIFICATE_CODES


class AcmeError(SourceError):
    """There is no certificate; `code` is one of events.CERTIFICATE_CODES. The sentence quotes nothing of an authority.

    `retry_after`: seconds that the authority wants us to wait at least.
    """

    def __init__(self, code: str, problem: str, *, retry_after: float = 0.0) -> None:
        assert code in CERTIFICATE_CODES
        self.code, self.problem, self.retry_after = code, problem, retry_after
        super().__init__(f"no certificate ({code}): {problem}")
