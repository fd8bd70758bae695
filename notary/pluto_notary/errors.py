"""The notary's own errors: each carries a code of a closed list, fit for a response, an event and a person."""

from __future__ import annotations

from pluto_measure.errors import FormatError, SourceError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

# Why there is no evidence. The only words about it that leave the trust domain.
EVIDENCE_CODES: Final = ("request", "busy", "config", "device", "unavailable")
# Why a run-time configuration was not taken.
CONFIG_REASONS: Final = (
    *("absent", "ambiguous", "unreadable", "answer", "encoding"),
    *("size", "length", "padding", "spelling", "schema"),
)


class EvidenceError(SourceError):
    """There is no evidence; `code` is one of EVIDENCE_CODES."""

    def __init__(self, code: str, problem: str) -> None:
        assert code in EVIDENCE_CODES
        self.code, self.problem = code, problem
        super().__init__(f"no evidence ({code}): {problem}")


class TpmError(SourceError):
    """The TPM answered a command with an error; `response_code` as in TPM 2.0 Library, part 2, section 6.6."""

    def __init__(self, command: str, response_code: int) -> None:
        self.command, self.response_code = command, response_code
        super().__init__(f"{command} failed with response code {response_code:#x}")


class ConfigError(FormatError):
    """The run-time configuration does not follow its format; `reason` is one of CONFIG_REASONS."""

    def __init__(self, reason: str, problem: str) -> None:
        assert reason in CONFIG_REASONS
        self.reason = reason
        super().__init__("run-time configuration", problem)


class PeerError(FormatError):
    """A client broke the rules of HTTP or of our interface; `status` and `code` go into the answer."""

    def __init__(self, status: int, code: str, problem: str) -> None:
        self.status, self.code = status, code
        super().__init__("request", problem)
