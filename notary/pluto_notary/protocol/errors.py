"""What goes wrong in a channel: one error with a code of a closed list, fit for an error frame."""

from __future__ import annotations

from pluto_measure.errors import PlutoError

TYPE_CHECKING = False  # `typing` is not imported for the sake of annotations
if TYPE_CHECKING:
    from typing import Final

# What an error frame can say. docs/protocol.md has a line about each.
CODES: Final = (
    "frame", "version", "order", "size", "json", "nonce", "manifest", "manifest-digest", "target", "fresh", "evidence",
    "rate", "busy", "time", "egress", "resolve", "connect", "certificate", "tls", "http", "redirect", "violation",
    "secret", "clock", "unsupported", "internal",
)  # fmt: skip


class ChannelError(PlutoError):
    """The other side broke the rules. `problem` is our own words and quotes nothing that the other side sent.

    `path` names the member that is wrong, if one is.
    """

    exit_code = 3

    def __init__(self, code: str, problem: str, *, path: str | None = None) -> None:
        assert code in CODES
        self.code, self.problem, self.path = code, problem, path
        super().__init__(f"channel ({code}): {problem}")


class NotAuthenticError(ChannelError):
    """What the notary showed is not about this session: signature, key or keying material do not fit."""

    exit_code = 4
