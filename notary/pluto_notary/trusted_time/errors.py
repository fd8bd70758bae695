"""Why there is no time, or no sample of it. Codes of closed lists; no text of others in any of them."""

from __future__ import annotations

from pluto_measure.errors import SourceError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import ClassVar, Final

# Why one operator gave no sample.
SAMPLE_CODES: Final = (
    "resolve",  # its name has no address
    "egress",  # no address that we may speak to
    "connect",  # no connection to its NTS-KE server
    "tls",  # no TLS 1.3 with ALPN ntske/1
    "key-exchange",  # its NTS-KE server answered with an error, a warning or nonsense
    "lost",  # no authentic answer to any request in time
    "kiss",  # an authentic kiss-o'-death
    "unsynchronised",  # its server says that its own time is worth nothing
    "width",  # the answer took too long, or is too vague, to say anything
    "epoch",  # it claims a time before the image was built
    "certificate",  # its certificate does not hold at the time that it claims
)
# Why there is no time.
CLOCK_REASONS: Final = (
    "few",  # too few operators have answered lately
    "disagree",  # no time that enough of them could mean
    "wide",  # they agree on too wide an interval
    "contradiction",  # what they agree on now cannot follow what they agreed on before
)


class SampleError(SourceError):
    """One operator gave no sample; `code` is one of SAMPLE_CODES."""

    def __init__(self, code: str, problem: str) -> None:
        assert code in SAMPLE_CODES
        self.code, self.problem = code, problem
        super().__init__(f"no sample of time ({code}): {problem}")


class ClockError(SourceError):
    """The time is not known; `reason` is one of CLOCK_REASONS. `code` is what a client gets to see."""

    code: ClassVar[str] = "clock"

    def __init__(self, reason: str, problem: str) -> None:
        assert reason in CLOCK_REASONS
        self.reason, self.problem = reason, problem
        super().__init__(f"the time is not known ({reason}): {problem}")
