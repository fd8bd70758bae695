"""Why there is no exchange with a web site: a code of a closed list and a sentence of ours. Pure.

The sentence never quotes a site's bytes, a name or an address, so that it may reach a client and an event.
"""

from __future__ import annotations

from pluto_measure.errors import SourceError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

TARGET_CODES: Final = ("egress", "resolve", "connect", "certificate", "tls", "http", "redirect", "size", "time")


class TargetError(SourceError):
    """There is no exchange; `code` is one of TARGET_CODES.

    egress: the policy forbids it. resolve, connect, tls, http, size, time: the site or the way to it failed.
    certificate: the site is not who it should be. redirect: the answer points elsewhere.
    """

    def __init__(self, code: str, problem: str) -> None:
        assert code in TARGET_CODES
        self.code, self.problem = code, problem
        super().__init__(f"no exchange with the web site ({code}): {problem}")
